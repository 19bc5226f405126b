"""Reads: the dead-letter topic; commands and results for what became of the letters. Writes: nothing."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from streamapp.cli.choosing import Chosen
from streamapp.cli.parts import outcomes_of, registry_of
from streamapp.cli.rounds import Followed, Follower, Place, Rounds, Told
from streamapp.cli.scan import Topic
from streamapp.cli.values import Shown, Values
from streamapp.core.errors import Unprocessable
from streamapp.core.key import show_key
from streamapp.core.model import DeadLetter, Original, Reopens, Source
from streamapp.settings import Settings
from streamapp.wire.dead_letter import decode_dead_letter
from streamapp.wire.discards import Discard, decode_discard
from streamapp.wire.reopens import decode_reopens
from streamapp.wire.times import EPOCH, to_text

CLOCKS_DIFFER = timedelta(hours=1)
"""Between two workers, or a worker and whoever dates Kafka's records: a search by time starts that much earlier."""


class State(StrEnum):
    """What has been done about a letter."""

    OPEN = "open"
    REDRIVEN = "redriven"
    DISCARDED = "discarded"


@dataclass(frozen=True, slots=True, kw_only=True)
class Letter:
    """A dead letter, and what became of it."""

    letter: DeadLetter
    place: Place
    """Of the letter, on its own topic."""
    shown: Shown
    """Of letters that were not named, the command's name alone."""
    told: Told | None = None
    """What the outcomes say of its command; None: nothing any more."""
    follower: tuple[Follower, Followed] | None = None
    follower_told: Told | None = None
    discard: Discard | None = None

    @property
    def state(self) -> State:
        """What has been done about it; a letter that was discarded and redriven is redriven."""
        if self.follower is not None:
            return State.REDRIVEN
        return State.DISCARDED if self.discard is not None else State.OPEN

    @property
    def command(self) -> str | None:
        """The command's name."""
        return (self.told.last.command if self.told else None) or self.shown.command

    @property
    def dag(self) -> str | None:
        """The DAG that it was routed to."""
        return self.told.last.dag_id if self.told else None

    @property
    def became(self) -> str | None:
        """How the record stands that it was redriven with."""
        if self.follower is None:
            return None
        return "not yet read" if self.follower_told is None else str(self.follower_told.last.status)

    def as_json(self) -> dict[str, Any]:
        """The line of --json."""
        letter, source = self.letter, self.letter.source
        fields: dict[str, Any] = {
            "id": letter.id,
            "state": self.state,
            "reason": letter.reason,
            "detail": letter.detail,
            "at": to_text(letter.at),
            "source": {"topic": source.topic, "partition": source.partition, "offset": source.offset},
            "round": letter.round,
            "key": show_key(letter.key),
            "command": self.command,
            "dag_id": self.dag,
            "command_id": self.told.last.command_id if self.told else None,
            "partition": self.place[0],
            "offset": self.place[1],
        }
        if self.follower is not None:
            where = self.follower[0].place
            fields["redriven"] = {"partition": where[0], "offset": where[1], "status": self.became}
        if self.discard is not None:
            fields["discarded"] = {"by": self.discard.by, "note": self.discard.note, "at": to_text(self.discard.at)}
        return fields


@dataclass(slots=True)
class Search:
    """Dead letters that were asked for, and what else was seen on the way."""

    letters: list[Letter]
    """Each once, in the order of their commands' partitions and offsets."""
    rounds: Rounds
    commands_ends: dict[int, int]
    foreign: int = 0
    """Letters of other commands topics."""
    unreadable: int = 0


@dataclass(slots=True)
class _Raw:
    letter: DeadLetter
    place: Place
    shown: Shown


async def search(
    settings: Settings, chosen: Chosen, *, blocked: bool = False, newest: int | None = None, records: bool = True
) -> Search:
    """Look for dead letters, and for what became of each.

    Args:
        settings: How to reach everything.
        chosen: Which; its limit is the caller's business.
        blocked: Note also what the outcomes say of commands that have not ended.
        newest: Look at no more than the newest so many, where that is known before their commands are.
        records: Keep the records' values and headers: of many letters they may be more than fits into memory.

    Raises:
        Unavailable: Kafka or the registry does not answer.
    """
    found = Search([], Rounds(settings.commands_topic), {})
    kept = newest if chosen.dag is None and chosen.command is None else None
    raw, discards = await _letters(settings, chosen, found, kept, records=records)
    await _records(settings, raw, found)
    await _outcomes(settings, chosen, raw, found, everything=blocked)
    letters = [_known(one, found.rounds, discards) for one in raw]
    letters = [one for one in letters if chosen.names(command=one.command, dag=one.dag)]
    found.letters = sorted(letters, key=lambda one: (one.letter.source.partition, one.letter.source.offset))
    return found


async def _letters(
    settings: Settings, chosen: Chosen, found: Search, newest: int | None, *, records: bool
) -> tuple[list[_Raw], dict[str, Discard]]:
    values = Values(registry_of(settings))
    raw: dict[str, _Raw] = {}
    discards: dict[str, Discard] = {}
    async with Topic(settings, "dead letters") as topic:
        starts = topic.starts if chosen.since is None else await topic.at(earlier(chosen.since))
        async for record in topic.read(starts, label="reading dead letters"):
            discard = decode_discard(record.value, record.headers)
            if discard is not None:
                discards[discard.dlq_id] = discard
                continue
            letter = decode_dead_letter(record.key, record.value, record.headers)
            if letter is None:
                found.unreadable += 1
            elif letter.source.topic != settings.commands_topic:
                found.foreign += 1
            elif letter.id not in raw and chosen.takes(
                id=letter.id,
                reason=letter.reason,
                key=letter.key,
                partition=letter.source.partition,
                at=letter.at,
            ):
                shown = await values.show(letter.original.value)
                if not chosen.ids:  # of letters that nobody has named, there may be many
                    shown = Shown(shown.wire, {"command": shown.command})
                if not records:
                    letter = replace(letter, original=Original(None))
                raw[letter.id] = _Raw(letter, (record.partition, record.offset), shown)
                if newest is not None and len(raw) > 2 * newest:
                    raw = _newest(raw, newest)
    return list((raw if newest is None else _newest(raw, newest)).values()), discards


def _newest(raw: dict[str, _Raw], count: int) -> dict[str, _Raw]:
    return dict(sorted(raw.items(), key=lambda item: item[1].letter.at, reverse=True)[:count])


async def _records(settings: Settings, raw: Iterable[_Raw], found: Search) -> None:
    """Every record that was to follow one of the letters stands behind its command."""
    places = {(one.letter.source.partition, one.letter.source.offset) for one in raw}
    async with Topic(settings, "commands") as topic:
        found.commands_ends = dict(topic.ends)
        starts: dict[int, int] = {}
        for partition, offset in places:
            if partition in topic.ends:
                starts[partition] = min(starts.get(partition, offset + 1), offset + 1)
        async for record in topic.read(starts, label="looking for redrives"):
            reopens = reopens_of(record)
            if reopens is not None and (reopens.source.partition, reopens.source.offset) in places:
                found.rounds.note_record((record.partition, record.offset), reopens)


async def _outcomes(
    settings: Settings, chosen: Chosen, raw: Iterable[_Raw], found: Search, *, everything: bool
) -> None:
    letters = [one.letter for one in raw]
    places = {(letter.source.partition, letter.source.offset) for letter in letters}
    for letter in letters:
        where = letter.source.partition, letter.source.offset
        places |= {one.place for one, _ in found.rounds.followers(where, letter.round)}
    if not places and not everything:
        return
    since = min((letter.at for letter in letters), default=None)
    if everything:
        since = chosen.since
    codec = outcomes_of(settings)
    async with Topic(settings, "results") as topic:
        starts = topic.starts if since is None else await topic.at(earlier(since))
        numbers = {partition for partition, _ in places}
        if everything:
            numbers = set(starts) if chosen.partition is None else {chosen.partition}
        starts = {number: start for number, start in starts.items() if number in numbers}
        async for record in topic.read(starts, label="reading results"):
            outcome = await codec.decode(record.key, record.value)
            if outcome is None:
                continue
            wanted = (outcome.source.partition, outcome.source.offset) in places
            if wanted or everything:
                found.rounds.note_outcome(outcome)
            if not wanted and outcome.status.terminal:  # only its way to here was of interest
                found.rounds.forget((outcome.source.partition, outcome.source.offset))


def _known(one: _Raw, rounds: Rounds, discards: dict[str, Discard]) -> Letter:
    where = one.letter.source.partition, one.letter.source.offset
    follower = rounds.follower(where, one.letter.round)
    return Letter(
        letter=one.letter,
        place=one.place,
        shown=one.shown,
        told=rounds.told(where),
        follower=follower,
        follower_told=rounds.told(follower[0].place) if follower else None,
        discard=discards.get(one.letter.id),
    )


def earlier(since: datetime) -> datetime:
    """Where a search from a time on has to start in Kafka, which has no time before 1970."""
    return max(since, EPOCH + CLOCKS_DIFFER) - CLOCKS_DIFFER


def reopens_of(record: Any) -> Reopens | None:
    """Which round a record of the commands topic names; None where it names none that it may open."""
    try:
        return decode_reopens(Source(record.topic, record.partition, record.offset), record.headers)
    except Unprocessable:
        return None
