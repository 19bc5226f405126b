"""Reads: a worker's answer about one command, else the results topic. Writes: stdout, where the command stands."""

import asyncio
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import click
import httpx

from streamapp.cli.options import with_settings
from streamapp.cli.output import print_fields, print_json, say
from streamapp.cli.results import Results, as_json_object
from streamapp.core.errors import Unavailable
from streamapp.settings import Settings

HTTP_SECONDS = 10.0


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
        found = _ask(worker or settings.worker_url, command_id)
    except Unavailable as error:
        say(f"{error}: looking through {settings.results_topic} instead")
        found = asyncio.run(_last_outcome(settings, command_id))
    if found is None:
        raise click.ClickException(f"no command with the id {command_id} is known")
    if as_json:
        print_json(found)
    else:
        print_fields(dict(_flat(found)))


def _ask(worker: str, command_id: str) -> dict[str, Any] | None:
    url = f"{worker.rstrip('/')}/api/v1/commands/{quote(command_id, safe='')}"
    try:
        answer = httpx.get(url, timeout=HTTP_SECONDS, follow_redirects=True)
        content = answer.json()
    except httpx.InvalidURL as error:
        raise click.UsageError(f"--worker {worker}: {error}") from None
    except (httpx.HTTPError, ValueError) as error:
        raise Unavailable(f"no worker answers at {worker} ({error or type(error).__name__})") from None
    if answer.status_code == httpx.codes.OK and isinstance(content, dict):
        return content
    # A 404 in JSON is a worker's; in anything else it would be somebody else's server.
    if answer.status_code == httpx.codes.NOT_FOUND:
        return None
    raise Unavailable(f"the worker at {worker} answers {answer.status_code}")


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
