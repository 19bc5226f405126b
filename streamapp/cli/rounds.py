"""Reads: records of the commands topic and outcomes, as they come. Writes: nothing. Which round follows which."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from enum import StrEnum

from streamapp.core.model import Outcome, Reopens, RunState, Status, Timings

Place = tuple[int, int]
"""Partition and offset of a record of the commands topic."""

_STAGES = {
    Status.ACCEPTED: 0,
    Status.TRIGGERED: 1,
    Status.RUN_ENDED: 2,
    Status.ATTEMPT_FAILED: 3,
    Status.BLOCKED: 4,
}
_TERMINAL = 5
_NO_TIMES = Timings()


@dataclass(slots=True)
class Told:
    """What the outcomes have said of one record."""

    last: Outcome
    """The furthest one; outcomes may come again, and then late."""
    retried: bool = False
    """An instruction was followed since it was blocked."""

    @property
    def blocked(self) -> bool:
        """Whether it holds its key until an operator acts."""
        return self.last.status is Status.BLOCKED and not self.retried


class Followed(StrEnum):
    """What became of a record that was to open the next round."""

    OPENED = "opened"
    WAITS = "waits"
    """No worker has said anything of it yet."""
    REFUSED = "refused"
    """It was a duplicate, or it was rejected: the round that it names is as open as before."""


@dataclass(frozen=True, slots=True)
class Follower:
    """A record that was written to open the next round of another."""

    place: Place
    reopens: Reopens


@dataclass
class Rounds:
    """All rounds of some commands."""

    topic: str
    """The commands topic."""
    _told: dict[Place, Told] = field(default_factory=dict)
    _followers: dict[Place, list[Follower]] = field(default_factory=dict)

    def note_record(self, place: Place, reopens: Reopens) -> None:
        """A record of the commands topic that names an earlier one."""
        before = reopens.source.partition, reopens.source.offset
        self._followers.setdefault(before, []).append(Follower(place, reopens))

    def note_outcome(self, outcome: Outcome) -> None:
        """An outcome, in the order of its partition."""
        if outcome.source.topic != self.topic or outcome.status is Status.INSTRUCTION_REFUSED:
            return  # what is said of a key or a DAG names the control topic
        place = outcome.source.partition, outcome.source.offset
        told = self._told.get(place)
        if outcome.status is Status.INSTRUCTION_APPLIED:
            if told is not None:
                told.retried = True
        elif told is None or stage(outcome) > stage(told.last):
            self._told[place] = Told(_slim(outcome))

    def forget(self, place: Place) -> None:
        """Keep nothing of what was said of a record."""
        self._told.pop(place, None)

    def told(self, place: Place) -> Told | None:
        """What is known of a record."""
        return self._told.get(place)

    def all_told(self) -> Iterator[tuple[Place, Told]]:
        """Everything that is known, in the order of partitions and offsets."""
        yield from sorted(self._told.items(), key=lambda item: item[0])

    def followers(self, place: Place, round_: int) -> list[tuple[Follower, Followed]]:
        """The records that were to open the round after this one."""
        named = [one for one in self._followers.get(place, ()) if one.reopens.round == round_]
        return [(one, self._became(one)) for one in named]

    def follower(self, place: Place, round_: int) -> tuple[Follower, Followed] | None:
        """The record that has opened the next round; else one that may yet do so; else None."""
        found = {became: one for one, became in reversed(self.followers(place, round_))}
        return next(((found[one], one) for one in (Followed.OPENED, Followed.WAITS) if one in found), None)

    def _became(self, follower: Follower) -> Followed:
        told = self._told.get(follower.place)
        if told is None:
            return Followed.WAITS
        return Followed.OPENED if told.last.round == follower.reopens.round + 1 else Followed.REFUSED


def _slim(outcome: Outcome) -> Outcome:
    """Without what nobody here asks for: there may be a million of them."""
    return replace(outcome, dag_run_id=None, detail=None, timings=_NO_TIMES, correlation_id=None, causation_id=None)


def stage(outcome: Outcome) -> tuple[bool, int, int]:
    """How far a record has come by one of its outcomes."""
    # An attempt that came to no run is not counted: the verdict on it names the attempt before.
    attempt = outcome.attempt - (outcome.result is RunState.NOT_CREATED)
    return outcome.status.terminal, attempt, _STAGES.get(outcome.status, _TERMINAL)
