"""Reads: keys. Writes: an instruction for each to the control topic; what became of it, to stdout."""

import click

from streamapp.cli.asking import Asking, asking, key_options
from streamapp.cli.instructing import about_keys
from streamapp.core.model import Action


@click.command()
@key_options(multiple=True, meaning="The key; repeatable.")
@asking
def hold(*, asked: Asking, keys: tuple[bytes, ...]) -> None:
    """Start nothing more of a key.

    What runs goes on; what follows waits, in its order, until `streamapp release`. Other keys go on.

    Exit codes: 1 when it was refused, 3 when there is no answer in time.

    \b
    Examples:
      streamapp hold --key customer-17 --reason 'asked by the customer'
      streamapp hold --key-base64 AAECAw==
    """  # noqa: D301
    about_keys(asked, Action.HOLD, keys)
