"""Reads: ids of commands. Writes: an instruction for each to the control topic; what became of it, to stdout."""

import click

from streamapp.cli.asking import Asking, asking, ids_argument, key_options
from streamapp.cli.instructing import about_commands
from streamapp.core.model import Action


@click.command()
@ids_argument
@key_options(multiple=False, meaning="The commands' key: tells the partition where no worker can be asked.")
@asking
def skip(*, asked: Asking, ids: tuple[str, ...], keys: tuple[bytes, ...]) -> None:
    """End commands without a run; their keys go on.

    For commands that wait or are blocked; they end as `skipped`. A run that is under way is stopped by `streamapp
    cancel`.

    The id - stands for the lines of standard input. Exit codes: 1 when one was refused or isn't known, 3 when there is
    no answer in time.

    \b
    Examples:
      streamapp skip order-17 --reason 'was done by hand'
      streamapp skip order-17 --key customer-17
    """  # noqa: D301
    about_commands(asked, Action.SKIP, ids, keys)
