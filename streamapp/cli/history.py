"""Reads: the results topic, and any worker's answer. Writes: what happened, to stdout or as lines of JSON to a file."""

import json
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any, TextIO

import click

from streamapp.cli.asking import key_options, utf8
from streamapp.cli.choosing import MomentType
from streamapp.cli.control import partition_in, partitions_in
from streamapp.cli.options import with_settings
from streamapp.cli.output import coloured, print_json, printable, say
from streamapp.cli.parts import outcomes_of
from streamapp.cli.results import as_json_object
from streamapp.cli.running import run_work
from streamapp.cli.scan import Topic
from streamapp.cli.tail import outcome_line
from streamapp.cli.timeline import Step, Timeline
from streamapp.cli.workers import command_at, key_at
from streamapp.core.errors import Unavailable
from streamapp.core.model import Outcome
from streamapp.settings import Settings
from streamapp.wire.times import to_text

REMEMBERED = 100_000
"""Outcomes of which it is remembered that they were shown: one that comes again, comes again soon."""


@click.command()
@click.argument("command_id", required=False)
@key_options(multiple=False, meaning="Everything of this key.")
@click.option("--all", "every", is_flag=True, help="Everything.")
@click.option("--since", type=MomentType(), help="Not what was said earlier: a time, or such as 2h. [default: all]")
@click.option("--until", type=MomentType(), help="Not what was said later. [default: now]")
@click.option("--partition", type=click.IntRange(min=0), help="Look through this partition only.")
@click.option(
    "--export",
    "file",
    type=click.File("w", encoding="ascii", lazy=True),
    help="Write the outcomes to this file, as lines of JSON; - is stdout.",
)
@click.option("--worker", metavar="URL", help="Any worker's address. [default: STREAMAPP_WORKER_URL]")
@with_settings
def history(
    *,
    settings: Settings,
    as_json: bool,
    command_id: str | None,
    keys: tuple[bytes, ...],
    every: bool,
    since: datetime | None,
    until: datetime | None,
    partition: int | None,
    file: TextIO | None,
    worker: str | None,
) -> None:
    """Show what has happened to a command, to a key, or to all.

    Of a command: when it was accepted, what came before it, its runs and attempts, how it ended, and who has touched
    it, its key or its DAG. Reads the results topic up to its present end, as far back as Kafka has it; where a worker
    answers, only the partition that it names. Exit code 1 when there is nothing.

    \b
    Examples:
      streamapp history order-17
      streamapp history --key customer-17 --since 2d
      streamapp history --all --since 2026-01-31T00:00:00Z --export january.jsonl
      streamapp history --key customer-17 --export customer-17.jsonl
    """  # noqa: D301
    if (command_id is not None) + bool(keys) + every != 1 or len(keys) > 1:
        raise click.UsageError("give one of COMMAND_ID, --key, --key-base64 and --all")
    if command_id is not None:
        utf8(command_id, "COMMAND_ID")
    key = keys[0] if keys else None
    found, now = _known(settings, worker or settings.worker_url, command_id, key)
    within = {partition} if partition is not None else found
    reader = _Reader(settings, within, since, until)
    if command_id is not None and file is None:
        steps = run_work(_timeline(reader, command_id))
        _print_steps(steps, now, as_json=as_json)
        count = len(steps)
    else:
        count = run_work(_outcomes(reader, command_id, key, file, as_json=as_json))
    if reader.unreadable:
        say(f"{reader.unreadable} records were passed over: they are no outcomes, or their schema is not known")
    if not count:
        raise click.ClickException("the results topic says nothing of it, or Kafka has it no more")


def _known(
    settings: Settings, worker: str, command_id: str | None, key: bytes | None
) -> tuple[set[int] | None, dict[str, Any] | None]:
    """The partitions to look through, None for all; and how the command now stands."""
    place = partition_in(command_id, settings) if command_id is not None else None
    try:
        if command_id is not None:
            now = command_at(worker, command_id)
            return (partitions_in(now) if now else None), now
        if key is not None:
            return partitions_in(key_at(worker, key) or {}) or None, None
    except Unavailable as error:
        say(f"{error}: looking through {settings.results_topic} alone")
    return ({place} if place is not None else None), None


class _Reader:
    """Outcomes of some partitions and times, without those that were said again."""

    def __init__(
        self, settings: Settings, within: set[int] | None, since: datetime | None, until: datetime | None
    ) -> None:
        self._settings = settings
        self._within = within
        self._since = since
        self._until = until
        self.unreadable = 0

    async def read(self) -> AsyncIterator[Outcome]:
        """In order within each partition."""
        codec = outcomes_of(self._settings)
        said: dict[str, None] = {}
        async with Topic(self._settings, "results") as topic:
            starts = topic.starts if self._since is None else await topic.at(self._since)
            ends = topic.ends if self._until is None else await topic.at(self._until)
            chosen = {
                number: start for number, start in starts.items() if self._within is None or number in self._within
            }
            async for record in topic.read(chosen, ends, label="reading"):
                outcome = await codec.decode(record.key, record.value)
                if outcome is None:
                    self.unreadable += 1
                elif outcome.id not in said:
                    said[outcome.id] = None
                    if len(said) > REMEMBERED:
                        del said[next(iter(said))]
                    yield outcome


async def _timeline(reader: _Reader, command_id: str) -> list[Step]:
    timeline = Timeline(command_id)
    async for outcome in reader.read():
        timeline.note(outcome)
    return timeline.steps


def _print_steps(steps: list[Step], now: dict[str, Any] | None, *, as_json: bool) -> None:
    for step in steps:
        if as_json:
            said = as_json_object(step.outcome)
            print_json({"at": to_text(step.at), "what": step.what, "text": step.text, "outcome": said})
        else:
            what = coloured(step.what) + " " * (14 - len(step.what))
            click.echo(f"{to_text(step.at)}  {what}  {printable(step.text)}".rstrip())
    waits = (now or {}).get("waiting_for")
    if waits and as_json:
        print_json({"at": None, "what": "now", "text": f"waits for {waits}", "outcome": None})
    elif waits:
        click.echo(f"{'now':24}  {(now or {})['status']:14}  waits for {printable(waits)}")


async def _outcomes(
    reader: _Reader, command_id: str | None, key: bytes | None, file: TextIO | None, *, as_json: bool
) -> int:
    count = 0
    async for outcome in reader.read():
        if command_id not in {None, outcome.command_id} or key not in {None, outcome.key}:
            continue
        count += 1
        if file is not None:
            file.write(json.dumps(as_json_object(outcome)) + "\n")
        elif as_json:
            print_json(as_json_object(outcome))
        else:
            click.echo(outcome_line(outcome))
    if file is not None:
        say(f"{count} outcomes written")
    return count
