"""Checks what happened against the guarantees: reads Airflow's runs, the results and dead-letter topics, what was sent.

Nothing of the worker's own memory is asked: only what Airflow dates and what stands on the topics counts.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from typing import Any

from streamapp.core.model import DeadLetter, Outcome, Reason, Source, Status

BURIED = {Status.REJECTED, Status.FAILED}
"""Endings that leave a dead letter."""
ANSWERS = {Status.INSTRUCTION_APPLIED, Status.INSTRUCTION_REFUSED}
"""About a control record, not about a command's way."""


@dataclass(frozen=True, kw_only=True)
class Sent:
    """A record of the commands topic."""

    partition: int
    offset: int
    key: bytes | None
    id: str | None = None
    """The command id; None where the record gave none that a test could foresee."""
    topic: str = "commands"
    ordered: bool = True
    """Whether its runs must keep the order of its key; null keys never do."""

    @property
    def source(self) -> Source:
        return Source(self.topic, self.partition, self.offset)


@dataclass(frozen=True, kw_only=True)
class Run:
    """A run as Airflow has it."""

    run_id: str
    dag_id: str = ""
    conf: Mapping[str, Any]
    """With the `_command` that the worker put there; runs without it are somebody else's."""
    start: datetime | None
    end: datetime | None
    state: str

    @property
    def mark(self) -> Mapping[str, Any]:
        return self.conf["_command"]

    @property
    def source(self) -> Source:
        return Source(self.mark["topic"], self.mark["partition"], self.mark["offset"])

    @property
    def turn(self) -> tuple[int, int]:
        """Round and attempt."""
        return self.mark["round"], self.mark["attempt"]

    def __str__(self) -> str:
        return f"run {self.run_id} of {self.source} ({self.start} to {self.end}, {self.state})"


@dataclass(frozen=True)
class _Told:
    """What matters of an outcome."""

    id: str
    source: Source
    command_id: str
    round: int
    attempt: int
    status: Status
    reason: str | None
    duplicate_of: str | None


def violations(
    *,
    sent: Iterable[Sent],
    runs: Iterable[Run],
    outcomes: Iterable[Outcome | Mapping[str, Any]],
    dead_letters: Iterable[DeadLetter] | None = None,
    complete: bool = True,
) -> list[str]:
    """Every breach of G1, G2 and G3, as a sentence.

    Args:
        sent: All records of the commands topic.
        runs: All runs that Airflow has; those without `_command` are passed over.
        outcomes: The results topic, as values or as decoded JSON; repetitions are fine.
        dead_letters: The dead-letter topic; None: it is not checked.
        complete: Whether every command must have ended.
    """
    known = {record.source: record for record in sent}
    ours = [run for run in runs if "_command" in run.conf]
    told = [_told(outcome) for outcome in outcomes]
    return [
        *_one_run(known, ours),
        *_order(known, ours),
        *_one_ending(known, told, complete=complete),
        *_duplicates(known, told),
        *_runs_fit_endings(ours, told),
        *(_letters(told, list(dead_letters)) if dead_letters is not None else ()),
    ]


def _told(outcome: Outcome | Mapping[str, Any]) -> _Told:
    if isinstance(outcome, Outcome):
        names = "id", "command_id", "round", "attempt", "status", "reason", "duplicate_of"
        return _Told(source=outcome.source, **{name: getattr(outcome, name) for name in names})
    source = outcome["source"]
    return _Told(
        id=outcome["id"],
        source=Source(source["topic"], source["partition"], source["offset"]),
        command_id=outcome["command_id"],
        round=outcome["round"],
        attempt=outcome["attempt"],
        status=Status(outcome["status"]),
        reason=outcome.get("reason"),
        duplicate_of=outcome.get("duplicate_of"),
    )


# G1


def _one_run(known: Mapping[Source, Sent], runs: list[Run]) -> Iterator[str]:
    by_turn = defaultdict(set)
    by_id = defaultdict(set)
    for run in runs:
        if run.source not in known:
            yield f"G1: {run} was made for a command that nobody sent"
        by_turn[run.source, run.turn].add(run.run_id)
        by_id[run.mark["id"], run.turn[0]].add(run.source)
    for (source, (round_, attempt)), ids in by_turn.items():
        if len(ids) > 1:
            yield f"G1: {source} has {len(ids)} runs for round {round_}, attempt {attempt}: {', '.join(sorted(ids))}"
    for (id_, round_), sources in by_id.items():
        if len(sources) > 1:
            places = ", ".join(map(str, _sorted(sources)))
            yield f"G1: round {round_} of the command id {id_} was run from {len(sources)} positions: {places}"
    for (_, run_id), count in Counter((run.dag_id, run.run_id) for run in runs).items():
        if count > 1:
            yield f"G1: Airflow shows {count} runs under the id {run_id}"


# G2


def _order(known: Mapping[Source, Sent], runs: list[Run]) -> Iterator[str]:
    by_key = defaultdict(list)
    for run in runs:
        record = known.get(run.source)
        if record is not None and record.key is not None and record.ordered:
            by_key[record.topic, record.partition, record.key].append(run)
    for (_, _, key), of_key in by_key.items():
        started = sorted(
            (run for run in of_key if run.start is not None), key=lambda run: (run.start, run.source.offset, run.turn)
        )
        yield from _overlaps(key, started)
        for before, after in pairwise(started):
            if (after.source.offset, after.turn) < (before.source.offset, before.turn):
                yield f"G2: key {key!r}: {before} started before {after}, which was sent first"


def _overlaps(key: bytes, started: list[Run]) -> Iterator[str]:
    longest: Run | None = None
    for run in started:
        assert run.start is not None
        if longest is not None and (longest.end is None or run.start < longest.end):
            yield f"G2: key {key!r}: {run} started before the end of {longest}"
        if longest is None or (longest.end is not None and (run.end is None or run.end > longest.end)):
            longest = run


# G3


def _one_ending(known: Mapping[Source, Sent], told: list[_Told], *, complete: bool) -> Iterator[str]:
    about = [one for one in told if one.status not in ANSWERS]
    yield from _names(known, about)
    endings: defaultdict[Source, dict[str, _Told]] = defaultdict(dict)
    for one in about:
        if one.status.terminal:
            first = endings[one.source].setdefault(one.id, one)
            if first != one:
                yield f"G3: {one.id} was told twice with different content: {first} and {one}"
    for source in known:
        ids = sorted(endings[source])
        if len(ids) > 1:
            yield f"G3: {source} has {len(ids)} endings: {', '.join(ids)}"
        if not ids and complete:
            yield f"G3: {source} has no ending"


def _names(known: Mapping[Source, Sent], told: list[_Told]) -> Iterator[str]:
    """What is told is told of a record, which is one round of its command."""
    rounds: dict[Source, int] = {}
    for one in told:
        record = known.get(one.source)
        if record is None:
            yield f"G3: {one.id} was told of a command that nobody sent"
        elif record.id is not None and record.id != one.command_id:
            yield f"G3: {one.id} names the command {one.command_id}, but {record.id} was sent"
        elif rounds.setdefault(one.source, one.round) != one.round:
            yield f"G3: {one.source} was told of in the rounds {rounds[one.source]} and {one.round}"


def _duplicates(known: Mapping[Source, Sent], told: list[_Told]) -> Iterator[str]:
    """A duplicate is one of another record with its id; the first of them all is no duplicate."""
    names = {str(source): source for source in known}
    of = {one.source: names.get(one.duplicate_of or "") for one in told if one.status is Status.DUPLICATE}
    for source, named in of.items():
        first, passed = named, {source}
        while first in of and first not in passed:
            passed.add(first)
            first = of[first]
        if first is None or first in passed:
            yield f"G3: {source} was passed over as a duplicate of {named}, and none of them was taken in"
        elif source in known and None not in (ids := {known[source].id, known[first].id}) and len(ids) > 1:
            yield f"G3: {source} was passed over as a duplicate of {first}, which has another id"


def _runs_fit_endings(runs: list[Run], told: list[_Told]) -> Iterator[str]:
    """An ending says which runs there were, and how the last one ended; Airflow must agree."""
    by_round = defaultdict(list)
    for run in runs:
        by_round[run.source, run.turn[0]].append(run)
    endings = {one.id: one for one in told if one.status.terminal}
    for one in endings.values():
        theirs = by_round[one.source, one.round]
        more = [run for run in theirs if run.turn[1] > one.attempt]
        if more:
            said = f"{one.attempt} attempts were all" if one.attempt else "nothing was run"
            yield f"G1: {one.id} says that {said}, but Airflow has {more[0]}"
        if (one.status, one.reason == Reason.RUN_DELETED) == (Status.FAILED, False) and any(
            run.turn[1] == one.attempt and run.state == "success" for run in theirs
        ):
            yield f"G3: {one.id} says that the run failed, but in Airflow it has succeeded"
        if one.status is Status.SUCCEEDED and not any(
            run.turn[1] == one.attempt and run.state == "success" for run in theirs
        ):
            yield f"G3: {one.id} says that the run succeeded, but Airflow has no such run"


def _letters(told: list[_Told], letters: list[DeadLetter]) -> Iterator[str]:
    ids: defaultdict[tuple[Source, int], set[str]] = defaultdict(set)
    reasons: defaultdict[tuple[Source, int], set[str]] = defaultdict(set)
    for letter in letters:
        ids[letter.source, letter.round].add(letter.id)
        reasons[letter.source, letter.round].add(letter.reason)
    buried = {(one.source, one.round): one for one in told if one.status in BURIED}
    for place, one in buried.items():
        if len(ids[place]) != 1:
            yield f"G3: {one.id} has {len(ids[place])} dead letters"
        elif one.reason not in reasons[place]:
            yield f"G3: {one.id} ended as {one.reason}, but its dead letter says {', '.join(reasons[place])}"
    for (source, round_), found in ids.items():
        if found and (source, round_) not in buried:
            yield f"G3: {source} has a dead letter in round {round_}, but was neither rejected nor failed"


def _sorted(sources: Iterable[Source]) -> list[Source]:
    return sorted(sources, key=lambda source: (source.topic, source.partition, source.offset))
