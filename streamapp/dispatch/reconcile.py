"""Compares the runs that are followed with those that Airflow has. Reads Airflow page by page, writes no table.

Polls show runs that end. What they can't show is found here: runs that were deleted, that ended long before this worker
knew of them, or that a late commit kept out of the lists. And the other way round: runs of ours that are active in
Airflow although no command waits for them, because a person has cleared them after their end was told, say. Those are
counted and named, and left alone.
"""

import logging
from collections.abc import Callable, Collection, Mapping
from datetime import datetime, timedelta
from typing import Any

from streamapp.airflow.port import AirflowPort, AirflowUnavailable, DagRun, Page
from streamapp.clock import Clock
from streamapp.core.run_id import run_prefix
from streamapp.dispatch.follow import OVERLAP, Follower, Run

_log = logging.getLogger(__name__)

STEPS = 150
"""Requests that a reconciliation may make in one interval: five a second, with the default of 30 s."""

FAILURES_ALLOWED = 3
"""Look-ups of runs that may fail in one reconciliation before it is given up: each may take a whole time-out."""

ONE_TICK = timedelta(microseconds=1)


class Reconciler:
    """Walks through the active runs, oldest first, and looks up those that it did not meet.

    Args:
        follower: Whose runs are looked for.
        airflow: What is asked.
        clock: For waiting.
        app_id: The first part of run ids.
        may_run: Whether a run with this `_command` may be active: it is another worker's, or its command is on its way.
    """

    def __init__(
        self,
        follower: Follower,
        airflow: AirflowPort,
        clock: Clock,
        *,
        app_id: str,
        may_run: Callable[[Mapping[str, Any]], bool] = lambda _: True,
    ) -> None:
        self.strays: frozenset[tuple[str, str]] = frozenset()
        """DAG and id of the runs of ours that no command waits for, as of the last two walks that read all pages."""
        self._suspects: frozenset[tuple[str, str]] = frozenset()
        """As of the last walk: an end may have been folded while the list was on its way. Only `walk` knows of them."""
        self._follower = follower
        self._airflow = airflow
        self._clock = clock
        self._prefix = run_prefix(app_id)
        self._may_run = may_run
        self._interval = follower.reconcile_interval

    async def run(self) -> None:
        """Walk for ever, an interval apart."""
        while True:
            await self._clock.sleep(self._interval)
            await self.walk()

    async def look_up_unknown(self) -> None:
        """Find out about runs that may have ended before this worker knew of them, for ever."""
        while True:
            await self._follower.has_unknown.wait()
            self._follower.has_unknown.clear()
            while unknown := [run for run in self._follower.open if run.unknown]:
                await self._walk(unknown)
                if any(run.unknown and self._follower.is_open(run) for run in unknown):
                    await self._clock.sleep(self._interval / STEPS * 5)

    async def walk(self) -> None:
        """Compare everything once."""
        self._follower.report_again()
        met = await self._walk(self._follower.open)
        if met is not None:
            before, self._suspects = self._suspects, met
            self._name(met & before)

    # Inside

    async def _walk(self, runs: list[Run]) -> frozenset[tuple[str, str]] | None:
        """Find out about these runs; answers the strays that were met, None where not all pages could be read."""
        strays: frozenset[tuple[str, str]] | None = None
        if not runs:
            return frozenset()
        met: set[tuple[str, str]] = set()
        try:
            strays = await self._meet(runs, met)
        except AirflowUnavailable as error:  # one run with a defect, of anybody's, is enough for that
            self._follower.note_outage(error)
        try:
            await self._look_up([run for run in runs if run.name not in met])
            self._follower.report_ends()
        except AirflowUnavailable as error:
            self._follower.note_outage(error)
        return strays

    async def _meet(self, runs: list[Run], met: set[tuple[str, str]]) -> frozenset[tuple[str, str]]:
        """Read all pages of active runs; add whom they show to `met`, and answer the strays among them."""
        dags = {run.dag_id for run in runs}
        since: datetime | None = min(run.entry.timings.triggered_at or run.entry.at for run in runs) - OVERLAP
        followed = {run.name: run for run in runs}
        strays: set[tuple[str, str]] = set()
        while since is not None:
            page = await self._ask(dags, since)
            for shown in page.runs:
                name = shown.dag_id, shown.run_id
                met.add(name)
                if name in followed:
                    followed[name].missed_at, followed[name].unknown = None, False
                elif self._is_stray(shown):
                    strays.add(name)
            since = _after(page.runs, since) if page.more else None
        return frozenset(strays)

    def _name(self, strays: frozenset[tuple[str, str]]) -> None:
        for dag_id, run_id in strays - self.strays:
            _log.warning(
                "this run is active, but no command waits for it: was it cleared?",
                extra={"action": "run_unfollowed", "dag_id": dag_id, "dag_run_id": run_id},
            )
        self.strays = strays

    async def _ask(self, dags: Collection[str], since: datetime) -> Page:
        await self._step()
        return await self._airflow.list_active(dags, since)

    def _is_stray(self, shown: DagRun) -> bool:
        if not shown.run_id.startswith(self._prefix) or self._follower.follows(shown.dag_id, shown.run_id):
            return False
        mark = shown.conf.get("_command")
        return isinstance(mark, Mapping) and not self._may_run(mark)

    async def _look_up(self, runs: list[Run]) -> None:
        """Ask one by one for runs that are not active."""
        failures: list[AirflowUnavailable] = []
        for run in sorted(runs, key=lambda run: run.failures):  # one that can't be read never keeps others waiting
            if not self._follower.is_open(run):
                continue
            await self._step()
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
                self._miss(run)
            else:
                run.missed_at = None
                if found.state.ended and self._follower.is_open(run):
                    self._follower.see(run, found)
        if failures:
            self._follower.report_ends()
            raise failures[-1]

    def _miss(self, run: Run) -> None:
        """Airflow does not have a run: it counts as deleted when it is missed again, half an interval later or more."""
        now = self._clock.monotonic()
        if run.missed_at is None:
            run.missed_at = now
        elif now - run.missed_at >= self._interval.total_seconds() / 2:
            run.deleted = True

    async def _step(self) -> None:
        self._follower.asked["reconcile"] += 1
        await self._clock.sleep(self._interval / STEPS)


def _after(runs: Collection[DagRun], since: datetime) -> datetime | None:
    """Where the next page begins; None where Airflow does not say when runs were created."""
    last = max((run.created_at for run in runs if run.created_at is not None), default=None)
    return last if last is None or last > since else since + ONE_TICK
