"""Reads: commands, and results for how they ended. Writes: the commands again to their topic, as new rounds."""

import re
import secrets
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from typing import Any

import click

from streamapp.cli.choosing import MomentType
from streamapp.cli.deliver import Parcel, deliver
from streamapp.cli.letters import earlier, reopens_of
from streamapp.cli.options import with_settings
from streamapp.cli.output import print_json, say
from streamapp.cli.parts import outcomes_of
from streamapp.cli.replaying import Seen, Step, Why, plan
from streamapp.cli.rounds import Place, Rounds
from streamapp.cli.running import run_work
from streamapp.cli.scan import Topic
from streamapp.clock import SystemClock
from streamapp.core.key import show_key
from streamapp.core.model import TERMINAL, Original, Status
from streamapp.settings import Settings
from streamapp.wire.reopens import REPLAY_ID_FORM, is_replay_id, reopening
from streamapp.wire.times import from_millis

CHUNK = 1000
"""Commands that are read, sent and acknowledged together: as many are in memory."""
CONFIRMED_OVER = 20
"""Commands that are replayed without a question."""
REPLAYABLE = sorted(TERMINAL - {Status.DUPLICATE})


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """Which records of the commands topic are meant."""

    key: str | None
    since: datetime | None
    until: datetime | None
    partition: int | None
    offsets: tuple[int, int] | None
    """The first and the last."""

    def takes(self, record: Any) -> bool:
        """Whether a record is one of them."""
        if self.key is not None and show_key(record.key) != self.key:
            return False
        if self.offsets is not None and not self.offsets[0] <= record.offset <= self.offsets[1]:
            return False
        if self.since is None and self.until is None:
            return True
        at = from_millis(min(max(record.timestamp, 0), _LAST_MILLIS))
        return (self.since is None or at >= self.since) and (self.until is None or at < self.until)


_LAST_MILLIS = 253402300799999


class OffsetsType(click.ParamType):
    """A..B, both of them meant."""

    name = "offsets"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, int]:
        """Read it, or say how it is written."""
        found = re.fullmatch(r"([0-9]{1,18})\.\.([0-9]{1,18})", str(value))
        if found is None or int(found[1]) > int(found[2]):
            self.fail(f"{value!r} is not like 100..250, the first and the last offset", param, ctx)
        return int(found[1]), int(found[2])


@click.command()
@click.option("--key", help="Commands of this key, as it is shown.")
@click.option(
    "--since", type=MomentType(), help="Commands that were sent from this time on: ISO 8601, or 2h ago as 2h."
)
@click.option("--until", type=MomentType(), help="Commands that were sent before this time.")
@click.option("--partition", type=click.IntRange(min=0), help="Commands of this partition.")
@click.option("--offsets", type=OffsetsType(), metavar="A..B", help="With --partition: from offset A to offset B.")
@click.option("--only-status", metavar="STATUS,…", help=f"Only what has ended so: {', '.join(REPLAYABLE)}.")
@click.option("--replay-id", metavar="ID", help="Its name; the same one again goes on where that replay has stopped.")
@click.option("--dry-run", is_flag=True, help="Show what would run again, and what not and why; write nothing.")
@click.option("--yes", is_flag=True, help=f"Don't ask, also for more than {CONFIRMED_OVER} commands.")
@with_settings
def replay(
    *,
    settings: Settings,
    as_json: bool,
    only_status: str | None,
    replay_id: str | None,
    dry_run: bool,
    yes: bool,
    **chosen: Any,
) -> None:
    """Run commands again that have ended.

    Chooses by a key, a time span or an offset span of the commands topic, and writes each command there again, in the
    order in which they arrived: it opens the next round of the command and stands at the end of its key. What has
    more than one round is run again once, as in its newest. Duplicates, tombstones and what has not ended are passed
    over; --dry-run says which and why.

    Reads the commands topic from the span to its end, and the results since then.

    \b
    Examples:
      streamapp replay --key customer-17 --dry-run
      streamapp replay --since 2026-01-31T08:00:00Z --until 2026-01-31T09:00:00Z --only-status failed --yes
      streamapp replay --partition 3 --offsets 1000..1200 --replay-id after-the-outage
    """  # noqa: D301
    if all(part is None for part in chosen.values()):
        raise click.UsageError("say what is meant: --key, --since, --until, or --partition")
    if chosen["offsets"] is not None and chosen["partition"] is None:
        raise click.UsageError("--offsets goes with --partition")
    if replay_id is not None and not is_replay_id(replay_id):
        raise click.BadParameter(f"must be {REPLAY_ID_FORM}", param_hint="--replay-id")
    name = replay_id or f"{SystemClock().now():%Y%m%dT%H%M%S}-{secrets.token_hex(3)}"
    steps = run_work(_plan(settings, Span(**chosen), name, _statuses(only_status)))
    again = [step for step in steps if step.why is None]
    _say_skipped(steps)
    if dry_run:
        for step in steps:
            _tell(settings, step, as_json=as_json)
        say(f"would be replayed: {len(again)} of {len(steps)}")
        return
    say(f"replay {name}: {len(again)} of {len(steps)} commands")
    if len(again) > CONFIRMED_OVER and not yes:
        click.confirm(f"Run {len(again)} commands again?", abort=True, err=True)
    sent = run_work(_send(settings, again, name, as_json=as_json))
    say(f"replayed {sent}; interrupted or not, --replay-id {name} goes on where it stopped")


def _statuses(given: str | None) -> frozenset[Status]:
    names = [] if given is None else [name.strip() for name in given.split(",")]
    for name in names:
        if name not in REPLAYABLE:
            raise click.BadParameter(f"{name!r} is none of {', '.join(REPLAYABLE)}", param_hint="--only-status")
    return frozenset(map(Status, names))


async def _plan(settings: Settings, span: Span, replay_id: str, only: frozenset[Status]) -> list[Step]:
    rounds = Rounds(settings.commands_topic)
    seen: list[Seen] = []
    places: set[Place] = set()
    first: int | None = None
    async with Topic(settings, "commands") as topic:
        async for record in topic.read(await _starts(topic, span), label="reading commands"):
            place, reopens = (record.partition, record.offset), reopens_of(record)
            if reopens is not None:
                rounds.note_record(place, reopens)
                places.add(place)
            if span.takes(record):
                seen.append(Seen(place, record.value is None, reopens is not None))
                places.add(place)
                first = record.timestamp if first is None else min(first, record.timestamp)
    if first is not None:
        await _note_outcomes(settings, rounds, places, from_millis(min(max(first, 0), _LAST_MILLIS)))
    return list(plan(seen, rounds, replay_id, only))


async def _starts(topic: Topic, span: Span) -> dict[int, int]:
    if span.partition is not None and span.partition not in topic.ends:
        raise click.BadParameter(f"{topic.name} has no partition {span.partition}", param_hint="--partition")
    starts = dict(topic.starts if span.since is None else await topic.at(span.since))
    if span.offsets is not None:
        starts = {number: max(start, span.offsets[0]) for number, start in starts.items()}
    return {number: start for number, start in starts.items() if span.partition in {None, number}}


async def _note_outcomes(settings: Settings, rounds: Rounds, places: set[Place], since: datetime) -> None:
    codec = outcomes_of(settings)
    async with Topic(settings, "results") as topic:
        starts = await topic.at(earlier(since))
        wanted = {partition for partition, _ in places}
        starts = {number: start for number, start in starts.items() if number in wanted}
        async for record in topic.read(starts, label="reading results"):
            outcome = await codec.decode(record.key, record.value)
            if outcome is not None and (outcome.source.partition, outcome.source.offset) in places:
                rounds.note_outcome(outcome)


async def _send(settings: Settings, steps: Sequence[Step], replay_id: str, *, as_json: bool) -> int:
    sent = 0
    async with Topic(settings, "commands") as topic:
        for start in range(0, len(steps), CHUNK):
            chunk = steps[start : start + CHUNK]
            parcels = [parcel async for parcel in _parcels(topic, chunk, settings.max_command_bytes)]
            async for parcel, offset in deliver(settings, parcels, label="replaying"):
                _tell(settings, parcel.what, as_json=as_json, replay_id=replay_id, offset=offset)
                sent += 1
    return sent


async def _parcels(topic: Topic, steps: Sequence[Step], max_bytes: int) -> AsyncIterator[Parcel[Step]]:
    """The records again, with the bytes of the newest round."""
    for number, group in groupby(steps, key=lambda step: step.place[0]):
        of_partition = list(group)
        records = await topic.pick(number, [step.newest.source.offset for step in of_partition if step.newest])
        for step in of_partition:
            assert step.newest is not None
            record = records.get(step.newest.source.offset)
            if record is None or record.value is None:
                say(f"{step.newest.source}: Kafka does not have it any more; passed over")
                continue
            original = Original(record.value, tuple(record.headers))
            again = reopening(record.key, original, step.newest)
            if again.size > max_bytes:
                say(f"{step.newest.source}: it would be too large with the headers of a replay; passed over")
                continue
            yield Parcel(step, topic.name, number, again)


# What is said


def _tell(
    settings: Settings, step: Step, *, as_json: bool, replay_id: str | None = None, offset: int | None = None
) -> None:
    partition, first = step.place
    if as_json:
        fields: dict[str, Any] = {
            "partition": partition,
            "offset": first,
            "round": step.newest.round + 1 if step.newest and step.why is None else None,
            "status": step.status,
            "why_not": step.why,
            "replay_id": replay_id,
            "replayed_at_offset": offset,
        }
        print_json({name: content for name, content in fields.items() if content is not None})
        return
    what = f"{settings.commands_topic}-{partition}-{first}"
    if step.why is not None:
        status = f" ({step.status})" if step.why in {Why.NOT_ENDED, Why.STATUS} else ""
        click.echo(f"{what}  not replayed: {step.why}{status}")
        return
    assert step.newest is not None
    where = f", offset {offset}" if offset is not None else ""
    would = "" if offset is not None else "would be "
    click.echo(f"{what}  {would}replayed: round {step.newest.round + 1}{where} (before: {step.status})")


def _say_skipped(steps: Sequence[Step]) -> None:
    for why, count in Counter(step.why for step in steps if step.why is not None).most_common():
        say(f"passed over {count}: {why}")
