"""One try of one dispatch: reads an entry, asks Airflow for its run, answers what was seen. Writes no table.

A run's id follows from the command, so asking twice gives one run; what an answer leaves open is settled by looking.
"""

import json
import logging
import math
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from streamapp.airflow.port import (
    AirflowPort,
    AirflowUnavailable,
    Created,
    DagMissing,
    DagRun,
    Exists,
    Refused,
    TurnedAway,
    Uncertain,
    Withdrawn,
)
from streamapp.clock import Clock
from streamapp.core.key import show_key
from streamapp.core.model import Entry, Outcome, Paused, Reason, RunState, Source, Status, Timings
from streamapp.core.run_id import params_digest, run_id

_log = logging.getLogger(__name__)

FIRST_DELAY = timedelta(seconds=1)
"""Before the second try; it doubles from there."""

MAX_DELAY = timedelta(seconds=30)
"""How late a dispatch may notice that Airflow is back."""

DOUBT = timedelta(seconds=30)
"""How long, at least, a request without an answer may still create its run: an overloaded server works through its
queue. As long as a request may take if that is longer: whoever allows so much has an Airflow that needs it."""

_PLACE = re.compile(r"[\w.-]{1,249}-[0-9]{1,10}-[0-9]{1,19}", re.ASCII)
"""A record's: a person may write anything into a run's conf, and what is no place can't be told."""


@dataclass(frozen=True, slots=True)
class Postponed:
    """Nothing is settled; try again after the delay. The next try is safe: it asks for a run of the same id."""

    delay: timedelta
    why: str


@dataclass(slots=True)
class _Memory:
    """What earlier tries of the same attempt met."""

    attempt: tuple[int, int]
    tries: int = 0
    missing_since: float | None = None
    """When Airflow first said that it has no such DAG, on the monotonic clock."""
    outages: int = 0
    """How many there had been then."""
    existed: bool = False
    """Airflow said that the run exists, then that it doesn't: it is never asked for again."""
    doubtful_until: float = 0.0
    """Until then a run that is not there may still be created: by a request that got no answer, or that another worker
    sent before its partition came here."""


class Trigger:
    """Tries dispatches.

    Args:
        airflow: Where runs are asked for.
        clock: For the times of outcomes, and the grace.
        app_id: The first part of run ids.
        dag_missing_grace: How long a DAG may be unknown to Airflow before its commands are refused: right after a
            deploy Airflow has not parsed it yet.
        lease: How long a worker that has lost its partitions may still send requests.
        request_timeout: How long an answer of Airflow is waited for.
        outages: How often Airflow was found to be down so far. Nothing is tried meanwhile.
    """

    def __init__(
        self,
        airflow: AirflowPort,
        clock: Clock,
        *,
        app_id: str,
        dag_missing_grace: timedelta,
        lease: timedelta,
        request_timeout: timedelta,
        outages: Callable[[], int] = lambda: 0,
    ) -> None:
        self.airflow = airflow
        self.clock = clock
        self.app_id = app_id
        self.dag_missing_grace = dag_missing_grace
        self.outages = outages
        doubt = max(DOUBT, request_timeout)
        self.doubt = doubt.total_seconds()
        self.takeover_doubt = (lease + doubt).total_seconds()
        self.seen: dict[str, float] = {}
        """When Airflow last had each DAG, on the monotonic clock."""
        self._memories: dict[Source, _Memory] = {}

    async def run(self, entry: Entry, still_due: Callable[[], bool] = lambda: True) -> Outcome | Postponed:
        """Try once. An entry with a verdict that waits is not asked for, only looked up.

        An error that nobody foresaw propagates; the entry is as it was.

        Args:
            entry: Whose run is to be.
            still_due: Whether the run may still be asked for: asked last of all, before the request leaves.
        """
        attempt = entry.round, entry.run_attempt
        memory = self._memories.get(entry.source)
        if memory is None or memory.attempt != attempt:
            memory = self._memories[entry.source] = _Memory(attempt)
        memory.tries += 1
        try_ = _Try(self, entry, memory)
        answer = await (try_.settle() if entry.settling else try_.begin(still_due))
        if isinstance(answer, Outcome) and self._memories.get(entry.source) is memory:  # not what was inherited since
            self.forget(entry.source)
        return answer

    def inherit(self, entry: Entry) -> None:
        """Take over an entry from another worker, which may have a request for its run under way."""
        if entry.dispatchable or entry.settling:
            attempt = entry.round, entry.run_attempt
            self._memories[entry.source] = _Memory(attempt, doubtful_until=self.clock.monotonic() + self.takeover_doubt)

    def wait_anew(self, source: Source) -> None:
        """Give an entry's DAG the whole grace again: nobody has looked for it for a while."""
        if (memory := self._memories.get(source)) is not None:
            memory.missing_since = None

    def forget(self, source: Source) -> None:
        """Drop what earlier tries of an entry met."""
        self._memories.pop(source, None)

    def drop(self, partitions: Collection[int]) -> None:
        """The same for all entries of partitions that were taken away."""
        self._memories = {s: memory for s, memory in self._memories.items() if s.partition not in partitions}


class _Try:
    """One entry at Airflow's door."""

    def __init__(self, trigger: Trigger, entry: Entry, memory: _Memory) -> None:
        assert entry.policy is not None
        assert entry.params is not None
        self._airflow = trigger.airflow
        self._clock = trigger.clock
        self._doubt_seconds = trigger.doubt
        self._grace = trigger.dag_missing_grace
        self._outages = trigger.outages
        self._seen = trigger.seen
        self._entry = entry
        self._memory = memory
        self._dag_id = entry.policy.dag_id
        self._rejects_paused = entry.policy.paused is Paused.REJECT
        self._params = entry.params
        self._run_id = run_id(trigger.app_id, entry.id, entry.round, entry.run_attempt)
        self._mark = {
            "app_id": trigger.app_id,
            "id": entry.id,
            "key": show_key(entry.key),
            "topic": entry.source.topic,
            "partition": entry.source.partition,
            "offset": entry.source.offset,
            "timestamp": entry.recorded_at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "round": entry.round,
            "attempt": entry.run_attempt,
            "correlation_id": entry.correlation_id,
            "digest": params_digest(entry.params),
        }

    async def begin(self, still_due: Callable[[], bool]) -> Outcome | Postponed:
        """Ask for the run, unless the DAG is paused and the command must not wait for it."""
        if self._rejects_paused and not self._memory.existed:
            try:
                dag = await self._airflow.dag(self._dag_id)
            except AirflowUnavailable as error:
                return self._postponed(str(error))
            if dag is not None and dag.paused:
                detail = f"the DAG {self._dag_id} is paused, and its commands are not to wait"
                return await self._refused(Reason.REFUSED_BY_AIRFLOW, detail)
        return await self.ask(still_due)

    async def ask(self, still_due: Callable[[], bool]) -> Outcome | Postponed:
        """Ask Airflow for the run, and settle what its answer leaves open."""
        if self._memory.existed:
            return await self._look("Airflow said that the run exists")
        conf = {**json.loads(self._params), "_command": self._mark}
        answer = await self._airflow.trigger(self._dag_id, self._run_id, conf, still_due)
        if isinstance(answer, Withdrawn):
            return self._postponed("it was no longer due when it was to be sent")
        if isinstance(answer, DagMissing):
            return await self._dag_missing(answer.detail)
        self._memory.missing_since = None  # Airflow was away since it said so: a deploy is still going on
        if isinstance(answer, Created | Exists):
            self._seen[self._dag_id] = self._clock.monotonic()
        match answer:
            case Created(run):
                return self._triggered(run, adopted=False)
            case Exists():
                return await self._look("Airflow says that the run exists, but does not show it", existed=True)
            case Refused(reason, detail):
                return await self._refused(reason, detail)
            case Uncertain(detail):
                memory = self._memory
                memory.doubtful_until = max(memory.doubtful_until, self._clock.monotonic() + self._doubt_seconds)
                return await self._look(detail)
            case TurnedAway(detail):
                return self._postponed(detail)

    async def settle(self) -> Outcome | Postponed:
        """Find out whether the run exists, without asking for it."""
        try:
            run = await self._airflow.get(self._dag_id, self._run_id)
        except AirflowUnavailable as error:
            return self._postponed(str(error))
        if run is not None and run.conf.get("_command") == self._mark:
            return self._triggered(run, adopted=True)
        if run is None and self._doubt > timedelta():
            return Postponed(self._doubt, "a request without an answer may still create the run")
        return self._deleted() if run is None and self._memory.existed else self._ended(RunState.NOT_CREATED)

    @property
    def _doubt(self) -> timedelta:
        """For how long a request that was sent before may still create the run."""
        return timedelta(seconds=self._memory.doubtful_until - self._clock.monotonic())

    async def _refused(self, reason: Reason, detail: str) -> Outcome | Postponed:
        """A refusal counts once no earlier request has created the run, or can: Airflow may have been in order then.

        Airflow refuses a DAG that is gone or broken before it looks whether the run exists.
        """
        if self._memory.doubtful_until:
            try:
                run = await self._airflow.get(self._dag_id, self._run_id)
            except AirflowUnavailable as error:
                return self._postponed(f"{detail}; {error}")
            if run is not None:
                return self._found(run)
            if self._doubt > timedelta():
                return Postponed(self._doubt, detail)
        return self._ended(RunState.NOT_CREATED, reason, detail)

    async def _look(self, why: str, *, existed: bool = False) -> Outcome | Postponed:
        try:
            run = await self._airflow.get(self._dag_id, self._run_id)
        except AirflowUnavailable as error:
            self._memory.existed |= existed
            return self._postponed(f"{why}; {error}")
        if run is not None:
            self._memory.existed = False
            return self._found(run)
        if self._memory.existed:
            return self._deleted()
        self._memory.existed = existed
        return self._postponed(why)

    def _deleted(self) -> Outcome:
        return self._ended(RunState.DELETED, Reason.RUN_DELETED, "the run was deleted before it could be followed")

    def _found(self, run: DagRun) -> Outcome:
        theirs = run.conf.get("_command")
        if theirs == self._mark:
            return self._triggered(run, adopted=True)
        first = self._first_of(theirs) if isinstance(theirs, Mapping) else None
        if first is not None:
            return self._ended(
                RunState.DUPLICATE, detail=f"the run {self._run_id} was made for {first}", duplicate_of=first
            )
        return self._ended(
            RunState.NOT_CREATED,
            Reason.RUN_ID_CONFLICT,
            f"the run {self._run_id} exists and was not made for this command",
        )

    def _first_of(self, theirs: Mapping[str, Any]) -> str | None:
        """The record of the same command that a run was made for; None where it was made for anything else."""
        same = all(theirs.get(name) == self._mark[name] for name in ("app_id", "id", "digest"))
        position = ("topic", "partition", "offset", "timestamp")
        if not same or all(theirs.get(name) == self._mark[name] for name in position):
            return None
        first = f"{theirs.get('topic')}-{theirs.get('partition')}-{theirs.get('offset')}"
        return first if _PLACE.fullmatch(first) else None

    async def _dag_missing(self, detail: str) -> Outcome | Postponed:
        now, memory, outages = self._clock.monotonic(), self._memory, self._outages()
        since = memory.missing_since
        if since is None or memory.outages != outages or since <= self._seen.get(self._dag_id, -math.inf):
            since, memory.outages = now, outages
        memory.missing_since = since
        left = self._grace - timedelta(seconds=now - since)
        if left <= timedelta():
            return await self._refused(Reason.DAG_NOT_FOUND, detail)
        return Postponed(min(self._delay(), left), detail)

    def _postponed(self, why: str) -> Postponed:
        level = logging.INFO if self._memory.tries == 1 else logging.DEBUG  # an outage must not fill the log
        _log.log(level, "run postponed: %s", why, extra=self._ids("run_postponed"))
        return Postponed(self._delay(), why)

    def _delay(self) -> timedelta:
        return min(FIRST_DELAY * (1 << min(self._memory.tries - 1, 16)), MAX_DELAY)

    def _triggered(self, run: DagRun, *, adopted: bool) -> Outcome:
        _log.info(
            "run adopted" if adopted else "run created", extra=self._ids("run_adopted" if adopted else "run_created")
        )
        # Airflow's time of the creation: the follower asks Airflow for runs that ended since.
        return self._outcome(Status.TRIGGERED, triggered_at=run.created_at or self._clock.now())

    def _ended(
        self, result: RunState, reason: Reason | None = None, detail: str | None = None, duplicate_of: str | None = None
    ) -> Outcome:
        _log.info("no run: %s", detail or result, extra=self._ids("run_not_created"))
        return self._outcome(Status.RUN_ENDED, result=result, reason=reason, detail=detail, duplicate_of=duplicate_of)

    def _outcome(self, status: Status, *, triggered_at: datetime | None = None, **fields: Any) -> Outcome:
        entry = self._entry
        return Outcome(
            command_id=entry.id,
            key=entry.key,
            command=entry.command,
            dag_id=self._dag_id,
            dag_run_id=self._run_id,
            round=entry.round,
            attempt=entry.run_attempt,
            status=status,
            at=self._clock.now(),
            source=entry.source,
            timings=Timings(accepted_at=entry.timings.accepted_at, triggered_at=triggered_at),
            correlation_id=entry.correlation_id,
            causation_id=entry.causation_id,
            **fields,
        )

    def _ids(self, action: str) -> dict[str, object]:
        return {
            "action": action,
            "command_id": self._entry.id,
            "key": show_key(self._entry.key),
            "dag_id": self._dag_id,
            "dag_run_id": self._run_id,
            "attempt": self._entry.run_attempt,
            "source": str(self._entry.source),
        }
