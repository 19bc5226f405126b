"""Reads: ids of commands. Writes: an instruction for each to the control topic; what became of it, to stdout."""

import click

from streamapp.cli.asking import Asking, asking, ids_argument, key_options
from streamapp.cli.instructing import about_commands
from streamapp.core.model import Action


@click.command()
@ids_argument
@key_options(multiple=False, meaning="The commands' key: tells the partition where no worker can be asked.")
@asking
def retry(*, asked: Asking, ids: tuple[str, ...], keys: tuple[bytes, ...]) -> None:
    """Try failed commands again, in their place in the order.

    A command that is blocked, or that waits for its next attempt, gets another attempt now. What has ended is not tried
    again: its key has moved on. `streamapp redrive` and `streamapp replay` begin a new round of it.

    The id - stands for the lines of standard input. Exit codes: 1 when one was refused or isn't known, 3 when there is
    no answer in time.

    \b
    Examples:
      streamapp retry order-17 --reason 'the mail server is back'
      streamapp retry order-17 order-18 --by ann --json
      streamapp retry - < blocked.txt
    """  # noqa: D301
    about_commands(asked, Action.RETRY, ids, keys)
