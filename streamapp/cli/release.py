"""Reads: keys. Writes: an instruction for each to the control topic; what became of it, to stdout."""

import click

from streamapp.cli.asking import Asking, asking, key_options
from streamapp.cli.instructing import about_keys
from streamapp.core.model import Action


@click.command()
@key_options(multiple=True, meaning="The key; repeatable.")
@asking
def release(*, asked: Asking, keys: tuple[bytes, ...]) -> None:
    """Let a key go on.

    Takes a hold away. Of a key that is blocked and not on hold, the command that blocks it ends as `failed` or
    `rejected`, with a dead letter, and the next one starts; to try it again instead: `streamapp retry`.

    Exit codes: 1 when it was refused, 3 when there is no answer in time.

    \b
    Examples:
      streamapp release --key customer-17
      streamapp release --key customer-17 --key customer-18 --no-wait
    """  # noqa: D301
    about_keys(asked, Action.RELEASE, keys)
