"""Reads: a worker's answer about one command, else the results topic. Writes: stdout, where the command stands."""

import asyncio
from collections.abc import Mapping
from typing import Any

import click

from streamapp.cli.options import with_settings
from streamapp.cli.output import print_fields, print_json, say
from streamapp.cli.results import Results, as_json_object
from streamapp.cli.workers import command_at
from streamapp.core.errors import Unavailable
from streamapp.settings import Settings


@click.command()
@click.argument("command_id", metavar="ID")
@click.option("--worker", metavar="URL", help="Any worker's address. [default: STREAMAPP_WORKER_URL]")
@with_settings
def status(*, settings: Settings, as_json: bool, command_id: str, worker: str | None) -> None:
    """Show where one command stands.

    Asks a worker; where none answers, looks through the results topic for the last thing that was said of the command.
    Exit code 1 when the command isn't known.

    \b
    Examples:
      streamapp status order-17
      streamapp status commands-3-1042-1767225600000 --worker http://worker-2:6066 --json
    """  # noqa: D301
    try:
        found = command_at(worker or settings.worker_url, command_id)
    except Unavailable as error:
        say(f"{error}: looking through {settings.results_topic} instead")
        found = asyncio.run(_last_outcome(settings, command_id))
    if found is None:
        raise click.ClickException(f"no command with the id {command_id} is known")
    if as_json:
        print_json(found)
    else:
        print_fields(dict(_flat(found)))


async def _last_outcome(settings: Settings, command_id: str) -> dict[str, Any] | None:
    last = None
    async with Results(settings, from_beginning=True) as results:
        while not await results.caught_up():
            last = next((one for one in reversed(await results.read()) if one.command_id == command_id), last)
    return as_json_object(last) if last else None


def _flat(fields: Mapping[str, Any], prefix: str = "") -> list[tuple[str, object]]:
    pairs: list[tuple[str, object]] = []
    for name, value in fields.items():
        pairs += _flat(value, f"{prefix}{name}.") if isinstance(value, Mapping) else [(f"{prefix}{name}", value)]
    return pairs
