"""One look at a worker, as numbers. Reads and writes nothing; health, metrics and the status page show it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from streamapp.core.model import Status


@dataclass(frozen=True, slots=True, kw_only=True)
class Following:
    """What the follower of runs knows."""

    runs: Mapping[str, int] = field(default_factory=dict)
    """Runs that it watches, by DAG."""
    missing: int = 0
    """How many of them Airflow did not have when it was last asked."""
    unfollowed: int = 0
    """Runs of this worker's partitions that are active in Airflow although no command waits for them."""
    asked: Mapping[str, int] = field(default_factory=dict)
    """Requests to Airflow since the worker's start, by what they were for."""
    hints: Mapping[str, int] = field(default_factory=dict)
    """Hints since the worker's start, by what they were good for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AirflowFigures:
    """How the way to Airflow stands."""

    in_flight: int = 0
    """Requests of this worker that hold a permit."""
    limit: int = 0
    """Permits just now, of all workers that share them."""
    bound: int = 0
    """The most there may be."""
    lender: str | None = None
    """The worker whose permits this one borrows; None while it has its own."""
    latency: float | None = None
    """How long triggers usually take, in seconds: a mean without the slowest and the fastest tenth."""
    latency_before: float | None = None
    """The same under the limit that it was compared with."""
    breaker: str = "closed"
    breaker_why: str = ""
    """What failed, or why Airflow is not well."""
    breaker_since: datetime | None = None
    """Since when Airflow is down."""
    outages: int = 0
    """How often it was found to be down."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DagFigures:
    """How a DAG stands on this worker."""

    queued: int
    """Commands that could start if there were room."""
    outstanding: int
    """Runs that are asked for or have not ended."""
    cap: int
    """How many of them there may be: this worker's share."""
    known: bool = False
    """Whether Airflow has it, or has runs of it: not so for any name that a producer can make up."""
    paused: bool = False
    missing: bool = False
    """Whether Airflow does not have it; False also while it has not been asked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What a worker knows of itself at one moment."""

    failed: str | None = None
    """Why folding has stopped for good; None while it hasn't."""
    lease_remaining: timedelta
    """How long Kafka surely still counts this worker as a member."""
    joined: bool
    """Whether the group has given it an assignment, if only an empty one."""
    rebalancing: bool
    restoring: bool
    """Whether the table is being restored from its changelog."""
    accepting: bool
    """Whether the index is rebuilt, so that events are folded and runs started."""
    stalled: timedelta = timedelta(0)
    """For how long folds have been under way without one of them ending."""
    untaken: Mapping[str, timedelta] = field(default_factory=dict)
    """Topics with records that may be taken in, by name: for how long none of them has been."""
    partitions: tuple[int, ...] = ()
    """The partitions it owns."""
    standbys: Mapping[int, int] = field(default_factory=dict)
    """The partitions whose table it only keeps a copy of, each with the records that the copy lacks."""
    folds_open: int = 0
    folds_acked: int = 0
    """Since the worker's start."""
    phases: Mapping[str, int] = field(default_factory=dict)
    """Commands in the index of what may run, by phase."""
    airflow: AirflowFigures = AirflowFigures()
    following: Following = field(default_factory=Following)
    held: tuple[str, ...] = ()
    """Why the commands topic is not read just now; empty while it is."""
    passed_over: int = 0
    """Records of the results and control topics that could not be read, since the worker's start."""
    pruned: int = 0
    """Commands that were forgotten at the end of their retention, since the worker's start."""
    routes: int = 0
    """Routes in force."""
    routes_broken: bool = False
    """Whether the routes file, as it now is, does not fit, so that earlier ones are in force."""
    routes_reloaded: int = 0
    """How often a changed file was taken since the worker's start."""
    outcomes: Mapping[Status, int] = field(default_factory=dict)
    """Outcomes sent since the worker's start; one that is sent again after a crash counts again."""
