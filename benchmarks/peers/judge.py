"""Reads and writes nothing. What a way has done, from the start and end that Airflow's database gives for each run."""

import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations, pairwise
from typing import Any


@dataclass(frozen=True)
class Execution:
    """A run that Airflow has for a command. Times are seconds since 1970."""

    number: int
    """Which command, in the order in which they were sent."""
    start: float | None
    end: float | None
    task_started: bool
    state: str

    @property
    def done(self) -> bool:
        """Whether its task was started and the run has ended."""
        return self.task_started and self.start is not None and self.end is not None


@dataclass(frozen=True)
class Sent:
    """A command on its topic."""

    key: str
    at: float
    """The record's timestamp."""


@dataclass(frozen=True)
class Verdict:
    """Counts are exact; speeds are of this one run."""

    commands: int
    runs: int
    lost: int
    """Commands without a run whose task was started."""
    repeated: int
    """Runs whose task was started, beyond the first of each command."""
    never_started: int
    """Ended runs whose task was never started: nothing was executed."""
    overlaps: int
    """Pairs of runs of one key that ran at the same time."""
    inversions: int
    """Pairs of runs of one key that started in the other order than their commands were sent."""
    seconds: float | None
    """From the first command's timestamp to the end of the last command's first completed run."""
    per_minute: float | None
    """Commands completed."""
    wait_p50: float | None
    """Seconds from a command's timestamp to the start of its first run."""
    wait_p99: float | None

    @property
    def fields(self) -> dict[str, Any]:
        """For a line of results."""
        return asdict(self)


def judge(sent: Sequence[Sent], executions: Sequence[Execution]) -> Verdict:
    """Judge one run of the benchmark."""
    executed = [one for one in executions if one.task_started]
    of_command: defaultdict[int, list[Execution]] = defaultdict(list)
    of_key: defaultdict[str, list[Execution]] = defaultdict(list)
    for one in executed:
        of_command[one.number].append(one)
        of_key[sent[one.number].key].append(one)
    ends = [_first_end(runs) for runs in of_command.values() if _any_done(runs)]
    waits = [_first_start(runs) - sent[number].at for number, runs in of_command.items() if _any_started(runs)]
    seconds = max(ends) - min(one.at for one in sent) if ends else None
    return Verdict(
        commands=len(sent),
        runs=len(executions),
        lost=len(sent) - len(of_command),
        repeated=len(executed) - len(of_command),
        never_started=sum(not one.task_started and one.end is not None for one in executions),
        overlaps=sum(overlaps(runs) for runs in of_key.values()),
        inversions=sum(inversions(runs) for runs in of_key.values()),
        seconds=seconds,
        per_minute=60 * len(ends) / seconds if seconds else None,
        wait_p50=percentile(waits, 50),
        wait_p99=percentile(waits, 99),
    )


def overlaps(runs: Sequence[Execution]) -> int:
    """Pairs that ran at the same time; one that has not ended still runs."""
    return sum(
        one.start < (other.end or float("inf")) and other.start < (one.end or float("inf"))
        for one, other in combinations(runs, 2)
        if one.start is not None and other.start is not None
    )


def inversions(runs: Sequence[Execution]) -> int:
    """Pairs that started in the other order than their commands were sent."""
    return sum(
        (one.number - other.number) * (one.start - other.start) < 0
        for one, other in combinations(runs, 2)
        if one.start is not None and other.start is not None
    )


def bound_seconds(commands: int, hottest: int, *, ceiling_per_minute: float, own_seconds: float) -> float:
    """The least time that an ordered way can need: all at Airflow's pace, or the hottest key one after another."""
    return max(60 * commands / ceiling_per_minute, hottest * own_seconds)


def percentile(values: Sequence[float], percent: int) -> float | None:
    """The value that so many per cent do not exceed; None of none."""
    if not values:
        return None
    ordered = sorted(values)
    return ordered[max(0, -(-percent * len(ordered) // 100) - 1)]


def spread(values: Sequence[float]) -> tuple[float, float, float]:
    """Median, smallest and largest."""
    return statistics.median(values), min(values), max(values)


def start_to_start(runs: Sequence[Execution]) -> float:
    """The median time from one run's start to the next one's, of runs that Airflow itself does one after another."""
    starts = sorted(one.start for one in runs if one.start is not None)
    return statistics.median(later - earlier for earlier, later in pairwise(starts))


def pace(runs: Sequence[Execution]) -> float:
    """Runs per minute, from the first one's start to the last one's end."""
    done = [(one.start, one.end) for one in runs if one.start is not None and one.end is not None]
    return 60 * len(done) / (max(end for _, end in done) - min(start for start, _ in done))


def unanswered(statuses: Mapping[str, int]) -> int:
    """How many requests got another answer than 2xx, or none."""
    return sum(count for status, count in statuses.items() if not status.startswith("2"))


def _any_done(runs: Sequence[Execution]) -> bool:
    return any(one.done for one in runs)


def _any_started(runs: Sequence[Execution]) -> bool:
    return any(one.start is not None for one in runs)


def _first_end(runs: Sequence[Execution]) -> float:
    return min(one.end for one in runs if one.done and one.end is not None)


def _first_start(runs: Sequence[Execution]) -> float:
    return min(one.start for one in runs if one.start is not None)
