"""Reads: a worker's answer about one command, else the topics. Writes: stdout, where the command stands."""

from collections.abc import Mapping
from typing import Any

import click

from streamapp.cli.asking import key_options, utf8
from streamapp.cli.options import with_settings
from streamapp.cli.output import print_fields, print_json, say
from streamapp.cli.parts import outcomes_of
from streamapp.cli.results import as_json_object
from streamapp.cli.running import run_work
from streamapp.cli.scan import Topic
from streamapp.cli.standing import Standings
from streamapp.cli.unread import look
from streamapp.cli.workers import command_at
from streamapp.core.errors import Unavailable
from streamapp.settings import Settings


@click.command()
@click.argument("command_id", metavar="ID")
@click.option("--worker", metavar="URL", help="Any worker's address. [default: STREAMAPP_WORKER_URL]")
@key_options(multiple=False, meaning="Its key: makes it quicker to find a command that isn't read yet.")
@click.option("--partition", type=click.IntRange(min=0), help="Its partition: the same.")
@with_settings
def status(
    *,
    settings: Settings,
    as_json: bool,
    command_id: str,
    worker: str | None,
    keys: tuple[bytes, ...],
    partition: int | None,
) -> None:
    """Show where one command stands, and what it waits for.

    Asks a worker; where none answers, looks through the results topic for the last thing that was said of the command:
    a duplicate only where nothing is said of the command that it repeats. A command of which nothing is known is looked
    for among those that no worker has read yet. Exit code 1 when it isn't there either.

    \b
    Examples:
      streamapp status order-17
      streamapp status order-17 --key customer-17
      streamapp status commands-3-1042-1767225600000 --worker http://worker-2:6066 --json
    """  # noqa: D301
    utf8(command_id, "ID")
    try:
        found = command_at(worker or settings.worker_url, command_id)
    except Unavailable as error:
        say(f"{error}: looking through {settings.results_topic} instead")
        standings = run_work(_standings(settings, command_id))
        last = standings.of(command_id)
        found = as_json_object(last) if last else None
        if found is not None and not standings.ended(command_id):
            found["waiting_for"] = f"what can't be told just now: {error}"
    if found is None:
        found = _unread(settings, command_id, partition, keys[0] if keys else None)
    if as_json:
        print_json(found)
    else:
        print_fields(dict(_flat(found)))


def _unread(settings: Settings, command_id: str, partition: int | None, key: bytes | None) -> dict[str, Any]:
    unknown = f"no command with the id {command_id} is known"
    try:
        unread = run_work(look(settings, command_id, partition, key))
    except Unavailable as error:
        raise click.ClickException(f"{unknown}; what is not read yet can't be looked through: {error}") from None
    if unread.found is not None:
        return unread.found
    if unread.passed_by:
        unknown += f"; {unread.records} records are not read yet, and not all of them were looked through"
    elif unread.records:
        unknown += f", nor is it one of the {unread.records} that are not read yet"
    raise click.ClickException(unknown)


async def _standings(settings: Settings, command_id: str) -> Standings:
    standings = Standings()
    codec = outcomes_of(settings)
    async with Topic(settings, "results") as topic:
        async for record in topic.read(topic.starts, label="looking through what was said"):
            outcome = await codec.decode(record.key, record.value)
            if outcome is not None and outcome.command_id == command_id:
                standings.note(outcome)
    return standings


def _flat(fields: Mapping[str, Any], prefix: str = "") -> list[tuple[str, object]]:
    pairs: list[tuple[str, object]] = []
    for name, value in fields.items():
        pairs += _flat(value, f"{prefix}{name}.") if isinstance(value, Mapping) else [(f"{prefix}{name}", value)]
    return pairs
