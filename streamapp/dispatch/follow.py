"""Follows runs in flight: reads Airflow in one list for all of them, reports those that have ended. Writes no table.

A list of ended runs goes back to the last end seen, by Airflow's own dates, and to the creation of runs that are new
here: its cost grows with the runs that end, not with those that run. It is asked for often while a command waits for a
young run, rarely else (`pace`), and at once where Airflow hints that a run ends. What a list can't show is found by
reconciliation (`reconcile`). What takes a request for each run (the tasks of a failed one, the stop of one that is to
end) is an errand beside the lists, one at a time, DAG after DAG: a broken DAG costs others one request at most.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from streamapp.airflow.port import AirflowPort, AirflowUnavailable, DagRun, DagRunState
from streamapp.clock import Clock
from streamapp.core.key import show_key
from streamapp.core.model import Entry, Outcome, Reason, RunState, Source, Status
from streamapp.core.run_id import run_id
from streamapp.dispatch.pace import LONGEST, Durations, pause_seconds, shortest_seconds, smoothed

_log = logging.getLogger(__name__)

OVERLAP = timedelta(seconds=7)
"""How far a list reaches back behind the last end seen: Airflow dates a run's end before it commits it."""

SHORT_OVERLAP = timedelta(seconds=1)
"""The same for the lists between two of those: each lists again what ended so lately."""

OVERLAP_EVERY = timedelta(seconds=2)
"""How often a list reaches back the whole overlap; so an end may be committed 5 s late."""

LOOK_BACK = timedelta(minutes=2)
"""How far back the first list may go. Ends before are looked up one by one."""

STOP_AGAIN = timedelta(seconds=2)
"""After a stop that failed: Airflow answers 500 when its scheduler has the run in hand at that moment."""

TASKS_AGAIN = timedelta(seconds=1)
"""After tasks that could not be asked for."""


HINT_PAUSES = tuple(timedelta(milliseconds=pause) for pause in (2, 8, 20, 40, 80, 160, 320, 640))
"""Before each look that follows a hint: Airflow gives hints before it commits the end."""


NOTICE = timedelta(milliseconds=200)
"""How late it is noticed that a look is due earlier than it was: there is a new run, or a command waits for one."""


@dataclass(slots=True, eq=False)
class Run:
    """A run in flight."""

    entry: Entry
    dag_id: str
    run_id: str
    since: float
    """When it was first known here, on the monotonic clock."""
    waited_for: bool = False
    """Whether a command is known to wait for its end."""
    hints: int = 0
    """Looks that still follow from a hint."""
    foretold: bool = False
    """Whether Airflow has hinted at its end."""
    listed: bool = False
    """Whether a list has reached back to its creation."""
    unknown: bool = False
    """Whether it may have ended before the first list that could have shown it."""
    missed_at: float | None = None
    """When Airflow first did not have it."""
    deleted: bool = False
    """Airflow did not have it for a whole reconciliation interval."""
    failures: int = 0
    stop_failed: bool = False
    errand_at: float = 0.0
    """When to ask again for its stop, if its command has a verdict that waits for its end; or for its tasks."""
    end: DagRun | None = None
    """How it ended, once seen; a person may clear it afterwards, but the end was seen."""
    seen_at: float = 0.0
    outcome: Outcome | None = None
    reported_at: float = 0.0

    @property
    def name(self) -> tuple[str, str]:
        """What Airflow knows it by."""
        return self.dag_id, self.run_id

    def ids(self, action: str) -> dict[str, object]:
        """For the log."""
        return {
            "action": action,
            "command_id": self.entry.id,
            "key": show_key(self.entry.key),
            "dag_id": self.dag_id,
            "dag_run_id": self.run_id,
            "attempt": self.entry.attempt,
            "source": str(self.entry.source),
        }


class Follower:
    """The runs in flight of one worker.

    Args:
        airflow: What is asked.
        clock: For waiting, and for the times of outcomes; never for what is asked of Airflow, except as a bound.
        report: Takes each outcome; what it raises ends the follower.
        app_id: The first part of run ids.
        poll_interval: Between two lists of ended runs, at least.
        reconcile_interval: Between two reconciliations, and until an outcome that led to nothing is reported again.
        is_waited_for: Whether another command waits for the end of an entry's run.
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
        is_waited_for: Callable[[Entry], bool] = lambda _: True,
    ) -> None:
        self.reconcile_interval = reconcile_interval
        self.asked: Counter[str] = Counter()
        """Requests by what they were for, since the start."""
        self.hints: Counter[str] = Counter()
        """Hints by what they were good for, since the start."""
        self._airflow = airflow
        self._clock = clock
        self._report = report
        self._app_id = app_id
        self._poll_interval = poll_interval
        self._is_waited_for = is_waited_for
        self._runs: dict[Source, Run] = {}
        self._names: dict[tuple[str, str], Run] = {}
        self._watermark: datetime | None = None
        self._whole_at = 0.0
        """When a list is to reach back the whole overlap again."""
        self._polled_at = float("-inf")
        self._poll_took = 0.0
        self._durations = Durations()
        self._foretelling: dict[str, bool] = {}
        """Of each DAG, whether Airflow had hinted at the end that was seen last."""
        self._errand_of: dict[str, float] = {}
        """From when on each DAG may have its next turn before others."""
        self._outage = False
        self._something = asyncio.Event()
        self._hinted = asyncio.Event()
        self._errands = asyncio.Event()
        self.has_unknown = asyncio.Event()
        """Set while a run may have ended before any list could have shown it."""

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
        if known is not None:
            self._drop(known)
        run = Run(entry, entry.policy.dag_id, id_, self._clock.monotonic())
        self._runs[entry.source] = self._names[run.name] = run
        self._something.set()

    def forget(self, source: Source) -> None:
        """Stop following the run of an entry."""
        if source in self._runs:
            self._drop(self._runs[source])
        self._rest_if_empty()

    def drop(self, partitions: Collection[int]) -> None:
        """Stop following the runs of partitions that were taken away."""
        for run in [run for source, run in self._runs.items() if source.partition in partitions]:
            self._drop(run)
        self._rest_if_empty()

    def hint(self, dag_id: str, run_id: str) -> None:
        """Look for the end of a run soon. Whatever the hint is worth, only what Airflow then shows counts."""
        run = self._names.get((dag_id, run_id))
        if run is None or run.end is not None or run.outcome is not None:
            self.hints["of others"] += 1
            return
        self.hints["taken"] += 1
        run.hints, run.foretold = len(HINT_PAUSES), True
        self._hinted.set()

    def refuse_hint(self) -> None:
        """Count what came as a hint and is none."""
        self.hints["refused"] += 1

    # What is asked

    @property
    def following(self) -> Counter[str]:
        """How many runs are followed, for each DAG."""
        return Counter(run.dag_id for run in self._runs.values())

    @property
    def missing(self) -> int:
        """How many of them Airflow did not have when it was last asked."""
        return sum(run.missed_at is not None for run in self._runs.values())

    @property
    def open(self) -> list[Run]:
        """Runs whose end is still to be seen."""
        return [run for run in self._runs.values() if run.end is None and run.outcome is None]

    def follows(self, dag_id: str, run_id: str) -> bool:
        """Whether a run is followed."""
        return (dag_id, run_id) in self._names

    def is_open(self, run: Run) -> bool:
        """Whether the end of a run is still to be seen, after a wait."""
        return self._runs.get(run.entry.source) is run and run.end is None and run.outcome is None

    # What is done

    async def run(self) -> None:
        """Follow for ever; with nothing to follow, ask nothing."""
        while True:
            if not self._runs:
                await self._something.wait()
            left = self._polled_at + self._pause_seconds() - self._clock.monotonic()
            if left <= 0:
                await self.tick()
                left = self._poll_interval.total_seconds()
            await self._clock.sleep(min(timedelta(seconds=left), max(NOTICE, self._poll_interval)))

    async def watch_hints(self) -> None:
        """Look as soon as Airflow hints at an end, and again shortly after: it may not be committed yet."""
        while True:
            await self._hinted.wait()
            self._hinted.clear()
            while hinted := [run for run in self.open if run.hints]:
                looks = len(HINT_PAUSES) - max(run.hints for run in hinted)
                again = timedelta(seconds=self._poll_took if looks else 0.0)
                await self._clock.sleep(max(HINT_PAUSES[looks], again))
                for run in hinted:
                    run.hints -= 1
                await self.tick("hint")

    async def tick(self, why: str = "poll") -> None:
        """Look for runs that have ended, and report them."""
        try:
            await self._poll(why)
        except AirflowUnavailable as error:
            self.note_outage(error)
        else:
            self.report_ends()
            self._note_answers()

    async def run_errands(self) -> None:
        """Ask what takes a request for each run, for ever."""
        while True:
            run = self._next_errand()
            if run is None:
                await self._errands.wait()
                self._errands.clear()
                continue
            began = self._clock.monotonic()
            await (self._ask_for_tasks(run) if run.end is not None else self._stop(run))
            ended = self._clock.monotonic()
            self._errand_of[run.dag_id] = ended + (ended - began)  # who takes long lets others go first for as long

    def report_again(self) -> None:
        """Report again what led to nothing."""
        now = self._clock.monotonic()
        for run in list(self._runs.values()):
            if run.outcome is not None and now - run.reported_at >= self.reconcile_interval.total_seconds():
                self._send(run, run.outcome)

    def see(self, run: Run, end: DagRun) -> None:
        """Note how a run has ended."""
        if run.end is None:
            run.end, run.seen_at, run.errand_at = end, self._clock.monotonic(), 0.0
            self._foretelling[run.dag_id] = run.foretold
            if end.created_at is not None and end.ended_at is not None:
                self._durations.note(run.dag_id, end.ended_at - end.created_at)

    def report_ends(self) -> None:
        """Report what has ended; a failure takes an errand first."""
        for run in list(self._runs.values()):
            if run.outcome is not None:
                continue
            if run.end is not None and run.end.state is DagRunState.SUCCESS:
                self._send(run, self._outcome(run, RunState.SUCCESS))
            elif run.end is None and run.deleted:
                detail = "Airflow no longer has the run"
                self._send(run, self._outcome(run, RunState.DELETED, Reason.RUN_DELETED, detail))
        if self._next_errand() is not None:
            self._errands.set()

    def note_outage(self, error: AirflowUnavailable) -> None:
        """Airflow does not answer."""
        if not self._outage:
            self._outage = True
            _log.warning("runs can't be followed: %s", error, extra={"action": "follow_outage"})

    # Inside

    def _drop(self, run: Run) -> None:
        del self._runs[run.entry.source]
        if self._names.get(run.name) is run:
            del self._names[run.name]

    def _rest_if_empty(self) -> None:
        if not self._runs:
            self._watermark = None  # the next run's creation is where to begin
            self._something.clear()

    def _pause_seconds(self) -> float:
        """How long to wait after the last poll: as short as any of the runs wants it."""
        now = self._clock.monotonic()
        shortest = max(self._poll_interval.total_seconds(), shortest_seconds(self._poll_took))
        pause = LONGEST.total_seconds()
        for run in self._runs.values():
            if run.end is not None or run.outcome is not None:
                if run.outcome is None:
                    pause = min(pause, TASKS_AGAIN.total_seconds())
                continue
            age = now - run.since
            if not run.waited_for:
                run.waited_for = self._is_waited_for(run.entry)
            wanted = pause_seconds(
                age,
                now - self._polled_at,
                waited_for=run.waited_for,
                foretold=self._foretelling.get(run.dag_id, False),
                soonest=self._durations.soonest(run.dag_id),
            )
            pause = min(pause, wanted)
            if run.entry.ending is not None:
                pause = min(pause, max(run.errand_at - self._polled_at, 0.0))
            if pause <= shortest:
                break
        return max(shortest, pause)

    async def _poll(self, why: str) -> None:
        runs = self.open
        begun = self._polled_at = self._clock.monotonic()
        if not runs:
            return
        whole = begun >= self._whole_at
        since = self._since(runs, OVERLAP if whole else SHORT_OVERLAP)
        self.asked[why] += 1
        ended: Sequence[DagRun] = await self._airflow.list_ended({run.dag_id for run in runs}, since)
        self._poll_took = smoothed(self._clock.monotonic() - begun, self._poll_took)
        if whole:
            self._whole_at = begun + OVERLAP_EVERY.total_seconds()
        for run in runs:
            run.listed = True
        dates = [run.ended_at for run in ended if run.ended_at is not None]
        if self._runs:
            latest = max([*dates, self._watermark or since + OVERLAP])
            # One of several schedulers may date ends ahead: those of the others would be passed over until then.
            self._watermark = min(latest, max(self._clock.now(), self._airflows_now(runs)))
        by_id = {(run.dag_id, run.run_id): run for run in ended}
        for run in runs:
            end = by_id.get(run.name)
            if end is not None and self.is_open(run):
                self.see(run, end)

    def _since(self, runs: list[Run], overlap: timedelta) -> datetime:
        bounds = [self._watermark - overlap] if self._watermark is not None else []
        floor = min(self._clock.now(), self._airflows_now(runs)) - LOOK_BACK
        for run in runs:
            if not run.listed:
                created = (run.entry.timings.triggered_at or run.entry.at) - OVERLAP
                if created < floor:
                    run.unknown = True
                    self.has_unknown.set()
                bounds.append(max(created, floor))
        assert bounds, "a run is new, or a list was asked for before"
        return min(bounds)

    def _airflows_now(self, runs: list[Run]) -> datetime:
        """What Airflow's clock shows, at most: runs are told at once by who creates them, and later if adopted."""
        now = self._clock.now()
        return max((run.entry.timings.triggered_at or run.entry.at) + (now - run.entry.at) for run in runs)

    def _next_errand(self) -> Run | None:
        """Of runs that failed or are to be stopped, one of the DAG whose turn it is."""
        now = self._clock.monotonic()
        due = (
            run
            for run in self._runs.values()
            if run.outcome is None
            and run.errand_at <= now
            and (run.entry.ending is not None if run.end is None else run.end.state is not DagRunState.SUCCESS)
        )
        return min(due, key=lambda run: (self._errand_of.get(run.dag_id, 0.0), run.errand_at), default=None)

    async def _ask_for_tasks(self, run: Run) -> None:
        """Tell a failed run in which no task ever started from one that did something; report it."""
        run.errand_at = self._clock.monotonic() + TASKS_AGAIN.total_seconds()
        self.asked["tasks"] += 1
        try:
            started = await self._airflow.any_task_started(run.dag_id, run.run_id)
        except AirflowUnavailable as error:
            if self._clock.monotonic() - run.seen_at < self.reconcile_interval.total_seconds():
                _log.debug("tasks of a failed run unknown: %s", error, extra=run.ids("tasks_unknown"))
                return
            started = True  # a key can't wait for ever for this detail; a run that may have done something has failed
        if self._runs.get(run.entry.source) is not run:
            return
        reason = Reason.RUN_FAILED if started else Reason.RUN_NOT_STARTED
        detail = "the run failed" if started else "the run failed before any of its tasks had started"
        self._send(run, self._outcome(run, RunState.FAILED, reason, detail))

    async def _stop(self, run: Run) -> None:
        """Stop a run whose command has a verdict that waits for its end; again later, should somebody clear it."""
        now = self._clock.monotonic()
        run.errand_at = now + STOP_AGAIN.total_seconds()
        self.asked["stop"] += 1
        try:
            await self._airflow.cancel(run.dag_id, run.run_id)
        except AirflowUnavailable as error:
            level = logging.DEBUG if run.stop_failed else logging.WARNING  # a missing permission must not fill the log
            _log.log(level, "run not stopped: %s", error, extra=run.ids("run_not_stopped"))
            run.stop_failed = True
        else:
            if run.end is None:
                run.errand_at = now + self.reconcile_interval.total_seconds()
            _log.info("run stopped", extra=run.ids("run_stopped"))

    def _send(self, run: Run, outcome: Outcome) -> None:
        if run.outcome is None:
            _log.info("run ended: %s", outcome.result, extra=run.ids("run_ended"))
        self._report(outcome)
        run.outcome, run.reported_at = outcome, self._clock.monotonic()

    def _outcome(self, run: Run, result: RunState, reason: Reason | None = None, detail: str | None = None) -> Outcome:
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

    def _note_answers(self) -> None:
        if self._outage:
            self._outage = False
            _log.info("runs can be followed again", extra={"action": "follow_outage_over"})
