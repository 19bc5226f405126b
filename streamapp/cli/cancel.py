"""Reads: ids of commands. Writes: an instruction for each to the control topic; what became of it, to stdout."""

import click

from streamapp.cli.asking import Asking, asking, ids_argument, key_options
from streamapp.cli.instructing import about_commands
from streamapp.core.model import Action


@click.command()
@ids_argument
@key_options(multiple=False, meaning="The commands' key: tells the partition where no worker can be asked.")
@asking
def cancel(*, asked: Asking, ids: tuple[str, ...], keys: tuple[bytes, ...]) -> None:
    """End commands, and stop their runs.

    They end as `cancelled`, and their keys go on: at once where there is no run, else once the run has been stopped in
    Airflow and has ended. Applied means that it is on its way; `streamapp tail --until-terminal ID` waits for the end.

    The id - stands for the lines of standard input. Exit codes: 1 when one was refused or isn't known, 3 when there is
    no answer in time.

    \b
    Examples:
      streamapp cancel order-17 --reason 'sent by mistake'
      streamapp cancel order-17 --timeout 2m
    """  # noqa: D301
    about_commands(asked, Action.CANCEL, ids, keys)
