"""Follows runs in flight: reads Airflow in one list for all of them, reports those that have ended. Writes no table.

A list of ended runs is asked for every poll interval. It goes back to the last end seen, by Airflow's own dates, and to
the creation of runs that are new here. What a list can't show is found by reconciliation: runs that were deleted, that
ended long before this worker knew of them, or that a late commit kept out of the list.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from streamapp.airflow.port import AirflowPort, AirflowUnavailable, DagRun, DagRunState
from streamapp.clock import Clock
from streamapp.core.key import show_key
from streamapp.core.model import Entry, Outcome, Reason, RunState, Source, Status
from streamapp.core.run_id import run_id

_log = logging.getLogger(__name__)

OVERLAP = timedelta(seconds=5)
"""How far a list reaches back behind the last end seen: Airflow dates a run's end before it commits it."""

LOOK_BACK = timedelta(minutes=2)
"""How far back the first list may go, and how far Airflow's clock may be off. Ends before are looked up one by one."""

DELETED_AFTER = 2
"""Reconciliations in a row that must miss a run before it counts as deleted."""

STOP_AGAIN = timedelta(seconds=2)
"""After a stop that failed: Airflow answers 500 when its scheduler has the run in hand at that moment."""

FAILURES_ALLOWED = 3
"""Look-ups of runs that may fail in one reconciliation before it is given up: each may take a whole time-out."""


@dataclass(slots=True, eq=False)
class _Run:
    """A run in flight."""

    entry: Entry
    dag_id: str
    run_id: str
    listed: bool = False
    """Whether a list has reached back to its creation."""
    unknown: bool = False
    """Whether it may have ended before the first list that could have shown it."""
    missed: int = 0
    failures: int = 0
    stop_at: float = 0.0
    """When to ask for its stop, if its command has a verdict that waits for its end."""
    end: DagRun | None = None
    """How it ended, once seen; a person may clear it afterwards, but the end was seen."""
    seen_at: float = 0.0
    outcome: Outcome | None = None
    reported_at: float = 0.0


class Follower:
    """The runs in flight of one worker.

    Args:
        airflow: What is asked.
        clock: For waiting, and for the times of outcomes; never for what is asked of Airflow, except as a bound.
        report: Takes each outcome; what it raises ends the follower.
        app_id: The first part of run ids.
        poll_interval: Between two lists of ended runs.
        reconcile_interval: Between two reconciliations, and until an outcome that led to nothing is reported again.
    """

    def __init__(
        self,
        airflow: AirflowPort,
        clock: Clock,
        *,
        report: Callable[[Outcome], None],
        app_id: str,
        poll_interval: timedelta,
        reconcile_interval: timedelta,
    ) -> None:
        self._airflow = airflow
        self._clock = clock
        self._report = report
        self._app_id = app_id
        self._poll_interval = poll_interval
        self._reconcile_interval = reconcile_interval
        self._runs: dict[Source, _Run] = {}
        self._watermark: datetime | None = None
        self._outage = False
        self._something = asyncio.Event()

    # What is told

    def track(self, entry: Entry) -> None:
        """Follow the run of an entry that has one; forget any other entry."""
        if entry.status is not Status.TRIGGERED:
            self.forget(entry.source)
            return
        assert entry.policy is not None
        id_ = entry.run_id or run_id(self._app_id, entry.id, entry.round, entry.run_attempt)
        known = self._runs.get(entry.source)
        if known is not None and known.run_id == id_:
            known.entry = entry
            return
        self._runs[entry.source] = _Run(entry, entry.policy.dag_id, id_)
        self._something.set()

    def forget(self, source: Source) -> None:
        """Stop following the run of an entry."""
        self._runs.pop(source, None)
        self._rest_if_empty()

    def drop(self, partitions: Collection[int]) -> None:
        """Stop following the runs of partitions that were taken away."""
        self._runs = {source: run for source, run in self._runs.items() if source.partition not in partitions}
        self._rest_if_empty()

    @property
    def following(self) -> Counter[str]:
        """How many runs are followed, for each DAG."""
        return Counter(run.dag_id for run in self._runs.values())

    # What is done

    async def run(self) -> None:
        """Follow for ever; with nothing to follow, ask nothing."""
        reconcile_at = self._clock.monotonic() + self._reconcile_interval.total_seconds()
        while True:
            if not self._runs:
                await self._something.wait()
                reconcile_at = self._clock.monotonic() + self._reconcile_interval.total_seconds()
            await self.tick()
            if self._clock.monotonic() >= reconcile_at:
                await self.reconcile()
                reconcile_at = self._clock.monotonic() + self._reconcile_interval.total_seconds()
            await self._clock.sleep(self._poll_interval)

    async def tick(self) -> None:
        """Look for runs that have ended, and report them."""
        try:
            await self._poll()
            await self._report_ends()
            await self._find_out([run for run in self._open() if run.unknown], count_missed=False)
            await self._stop_those_asked_for()
        except AirflowUnavailable as error:
            self._note_outage(error)
        else:
            self._note_answers()

    async def reconcile(self) -> None:
        """Look for runs that no list shows, and report again what nobody took."""
        now = self._clock.monotonic()
        for run in list(self._runs.values()):
            if run.outcome is not None and now - run.reported_at >= self._reconcile_interval.total_seconds():
                self._send(run, run.outcome)
        try:
            await self._find_out(self._open(), count_missed=True)
        except AirflowUnavailable as error:
            self._note_outage(error)

    # Inside

    def _rest_if_empty(self) -> None:
        if not self._runs:
            self._watermark = None  # the next run's creation is where to begin
            self._something.clear()

    def _open(self) -> list[_Run]:
        """Runs whose end is still to be seen."""
        return [run for run in self._runs.values() if run.end is None and run.outcome is None]

    def _is_followed(self, run: _Run) -> bool:
        return self._runs.get(run.entry.source) is run

    async def _poll(self) -> None:
        runs = self._open()
        if not runs:
            return
        since = self._since(runs)
        ended = await self._airflow.list_ended({run.dag_id for run in runs}, since)
        for run in runs:
            run.listed = True
        dates = [run.ended_at for run in ended if run.ended_at is not None]
        if self._runs:
            self._watermark = max([*dates, self._watermark or since + OVERLAP])
        by_id = {(run.dag_id, run.run_id): run for run in ended}
        for run in runs:
            end = by_id.get((run.dag_id, run.run_id))
            if end is not None:
                self._see(run, end)

    def _since(self, runs: list[_Run]) -> datetime:
        bounds = [self._watermark - OVERLAP] if self._watermark is not None else []
        floor = self._clock.now() - LOOK_BACK
        for run in runs:
            if not run.listed:
                created = (run.entry.timings.triggered_at or run.entry.at) - OVERLAP
                run.unknown = created < floor
                bounds.append(max(created, floor))
        assert bounds, "a run is new, or a list was asked for before"
        return min(bounds)

    def _see(self, run: _Run, end: DagRun) -> None:
        if run.end is None:
            run.end, run.seen_at = end, self._clock.monotonic()

    async def _find_out(self, runs: list[_Run], *, count_missed: bool) -> None:
        """Ask for all active runs, and one by one for those that are not among them."""
        if not runs:
            return
        active = {(run.dag_id, run.run_id) for run in await self._airflow.list_active({run.dag_id for run in runs})}
        failures: list[AirflowUnavailable] = []
        for run in sorted(runs, key=lambda run: run.failures):  # one that can't be read never keeps others waiting
            if (run.dag_id, run.run_id) in active:
                run.missed, run.unknown = 0, False
                continue
            if not self._is_followed(run):
                continue
            try:
                found = await self._airflow.get(run.dag_id, run.run_id)
            except AirflowUnavailable as error:
                run.failures += 1
                failures.append(error)
                if len(failures) == FAILURES_ALLOWED:
                    break
                continue
            run.unknown = False
            if found is None:
                run.missed += 1 if count_missed else 0
            else:
                run.missed = 0
                if found.state.ended:
                    self._see(run, found)
        await self._report_ends()
        if failures:
            raise failures[-1]

    async def _report_ends(self) -> None:
        for run in list(self._runs.values()):
            if run.outcome is not None:
                continue
            if run.end is not None and run.end.state is DagRunState.SUCCESS:
                self._send(run, self._outcome(run, RunState.SUCCESS))
            elif run.end is None and run.missed >= DELETED_AFTER:
                detail = "Airflow no longer has the run"
                self._send(run, self._outcome(run, RunState.DELETED, Reason.RUN_DELETED, detail))
        for run in list(self._runs.values()):
            if run.outcome is None and run.end is not None:
                await self._report_failure(run)

    async def _report_failure(self, run: _Run) -> None:
        """Tell a failed run in which no task ever started from one that did something."""
        try:
            started = await self._airflow.any_task_started(run.dag_id, run.run_id)
        except AirflowUnavailable as error:
            if self._clock.monotonic() - run.seen_at < self._reconcile_interval.total_seconds():
                _log.debug("tasks of a failed run unknown: %s", error, extra=_ids(run, "tasks_unknown"))
                return
            started = True  # a key can't wait for ever for this detail; a run that may have done something has failed
        if not self._is_followed(run):
            return
        reason = Reason.RUN_FAILED if started else Reason.RUN_NOT_STARTED
        detail = "the run failed" if started else "the run failed before any of its tasks had started"
        self._send(run, self._outcome(run, RunState.FAILED, reason, detail))

    async def _stop_those_asked_for(self) -> None:
        """Stop runs whose command has a verdict that waits for their end; again, should somebody clear them."""
        for run in self._open():
            now = self._clock.monotonic()
            if run.entry.ending is None or now < run.stop_at:
                continue
            try:
                await self._airflow.cancel(run.dag_id, run.run_id)
            except AirflowUnavailable as error:
                run.stop_at = now + STOP_AGAIN.total_seconds()
                _log.warning("run not stopped: %s", error, extra=_ids(run, "run_not_stopped"))
            else:
                run.stop_at = now + self._reconcile_interval.total_seconds()
                _log.info("run stopped", extra=_ids(run, "run_stopped"))

    def _send(self, run: _Run, outcome: Outcome) -> None:
        if run.outcome is None:
            _log.info("run ended: %s", outcome.result, extra=_ids(run, "run_ended"))
        self._report(outcome)
        run.outcome, run.reported_at = outcome, self._clock.monotonic()

    def _outcome(self, run: _Run, result: RunState, reason: Reason | None = None, detail: str | None = None) -> Outcome:
        entry = run.entry
        timings = entry.timings
        if run.end is not None:
            timings = replace(timings, started_at=run.end.started_at, ended_at=run.end.ended_at)
        return Outcome(
            command_id=entry.id,
            key=entry.key,
            command=entry.command,
            dag_id=run.dag_id,
            dag_run_id=run.run_id,
            round=entry.round,
            attempt=entry.attempt,
            status=Status.RUN_ENDED,
            reason=reason,
            detail=detail,
            at=self._clock.now(),
            source=entry.source,
            timings=timings,
            correlation_id=entry.correlation_id,
            causation_id=entry.causation_id,
            result=result,
        )

    def _note_outage(self, error: AirflowUnavailable) -> None:
        if not self._outage:
            self._outage = True
            _log.warning("runs can't be followed: %s", error, extra={"action": "follow_outage"})

    def _note_answers(self) -> None:
        if self._outage:
            self._outage = False
            _log.info("runs can be followed again", extra={"action": "follow_outage_over"})


def _ids(run: _Run, action: str) -> dict[str, object]:
    return {
        "action": action,
        "command_id": run.entry.id,
        "key": show_key(run.entry.key),
        "dag_id": run.dag_id,
        "dag_run_id": run.run_id,
        "attempt": run.entry.attempt,
        "source": str(run.entry.source),
    }
