"""Reads: records of the commands topic and their outcomes. Writes: nothing. Which commands a replay runs again."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from enum import StrEnum

from streamapp.cli.rounds import Followed, Place, Rounds
from streamapp.core.model import Reason, Reopens, Source, Status
from streamapp.core.reopen import FIRST_ROUND


class Why(StrEnum):
    """Why a record of the span is not replayed."""

    DONE = "this replay has sent it already"
    LATER_ROUND = "it is a later round of another record, which is replayed by its newest"
    TOMBSTONE = "it is a tombstone"
    TOO_LARGE = "it was too large"
    DUPLICATE = "it was a duplicate"
    NOT_ENDED = "it has not ended"
    ON_ITS_WAY = "its next round has been sent and not been read yet"
    UNKNOWN = "nothing is known any more of how it ended"
    STATUS = "it has ended otherwise than asked for"


_NEVER = {Reason.TOMBSTONE: Why.TOMBSTONE, Reason.TOO_LARGE: Why.TOO_LARGE}


@dataclass(frozen=True, slots=True)
class Step:
    """What is done about one record of the span."""

    place: Place
    """Of the command's first record."""
    why: Why | None = None
    """Why not; None: it is replayed."""
    newest: Reopens | None = None
    """The round that is followed by a new one, and that gives it its value."""
    status: Status | None = None
    """How that one stands."""


@dataclass(frozen=True, slots=True)
class Seen:
    """A record of the span."""

    place: Place
    empty: bool
    later_round: bool


def plan(seen: Collection[Seen], rounds: Rounds, replay_id: str, only: frozenset[Status]) -> Iterator[Step]:
    """A step for each record, in the order in which they arrived on their partition.

    Args:
        seen: The records of the span.
        rounds: What followed them, and how all of that ended.
        replay_id: Of this replay.
        only: How a command must have ended; empty: in any way.
    """
    for one in sorted(seen, key=lambda one: one.place):
        if one.later_round:
            yield Step(one.place, Why.LATER_ROUND)
        elif one.empty:
            yield Step(one.place, Why.TOMBSTONE)
        else:
            yield _step(one.place, rounds, replay_id, only)


def _step(first: Place, rounds: Rounds, replay_id: str, only: frozenset[Status]) -> Step:
    place, round_ = first, FIRST_ROUND
    while True:
        followers = rounds.followers(place, round_)
        if any(follower.reopens.replay_id == replay_id for follower, _ in followers):
            return Step(first, Why.DONE)
        opened = next((follower for follower, became in followers if became is Followed.OPENED), None)
        if opened is None:
            break
        place, round_ = opened.place, round_ + 1
    if any(became is Followed.WAITS for _, became in followers):
        return Step(first, Why.ON_ITS_WAY)
    told = rounds.told(place)
    if told is None:
        return Step(first, Why.UNKNOWN)
    return Step(
        first,
        _why_not(told.last.status, told.last.reason, only),
        Reopens(Source(rounds.topic, *place), round_, replay_id),
        told.last.status,
    )


def _why_not(status: Status, reason: Reason | None, only: frozenset[Status]) -> Why | None:
    if status is Status.DUPLICATE:
        return Why.DUPLICATE
    if not status.terminal:
        return Why.NOT_ENDED
    if reason in _NEVER:
        return _NEVER[reason]
    return Why.STATUS if only and status not in only else None
