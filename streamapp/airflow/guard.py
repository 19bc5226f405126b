"""Stands between the worker and Airflow: permits, latencies, the breaker. Reads every answer, sends only what may go.

Two ways lead through it. Who starts runs holds a permit already, for a whole try; everybody else takes one for each
request, and waits for it. Both tell the limit and the breaker how requests end.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from datetime import datetime
from typing import Any, TypeVar

from streamapp.airflow.breaker import Breaker, BreakerState
from streamapp.airflow.limit import Limit
from streamapp.airflow.port import (
    AirflowPort,
    AirflowUnavailable,
    Created,
    Dag,
    DagRun,
    Page,
    TriggerAnswer,
    TurnedAway,
    Uncertain,
    Withdrawn,
    always,
)
from streamapp.clock import Clock

T = TypeVar("T")

_log = logging.getLogger(__name__)

LISTS = "lists of runs"


class Starts:
    """How starts ended: tells a DAG with a defect of its own from one that suffers because too much is in flight."""

    def __init__(self) -> None:
        self._created = 0
        self._failing: dict[str, int] = {}
        """DAGs whose last start failed, and how many runs had been created by then."""

    def answered(self, dag_id: str, *, created: bool) -> None:
        """A start was answered, if only with a refusal."""
        self._failing.pop(dag_id, None)
        self._created += created

    def leaves(self, dag_id: str) -> int:
        """A start is sent: how many runs had been created when the last one of its DAG failed, or have been by now."""
        return self._failing.get(dag_id, self._created)

    def failed(self, dag_id: str, mark: int) -> tuple[bool, bool]:
        """A start failed.

        Looks at Airflow in between say nothing: they work where starts lock each other out, too.

        Args:
            dag_id: Its DAG.
            mark: What `leaves` said of it: starts of a broken DAG fail together, and each counts by itself.

        Returns:
            Whether the last one of the same DAG did, and whether runs of other DAGs were created since.
        """
        again = dag_id in self._failing
        self._failing[dag_id] = self._created
        return again, again and mark < self._created


class Guard:
    """What all requests of a worker have in common.

    Args:
        airflow: Where they go.
        limit: Permits.
        breaker: Whether Airflow is down.
        clock: For latencies, and for pauses between questions how Airflow is.
        wake: Called when runs may be started again.
    """

    def __init__(
        self,
        airflow: AirflowPort,
        limit: Limit,
        breaker: Breaker,
        clock: Clock,
        wake: Callable[[], None] = lambda: None,
    ) -> None:
        self.airflow = airflow
        self.limit = limit
        self.breaker = breaker
        self.clock = clock
        self.starts = Starts()
        self._wake = wake
        self._down_since: datetime | None = None
        self._doubt = asyncio.Event()

    @property
    def starting(self) -> "GuardedAirflow":
        """For who holds a permit."""
        return GuardedAirflow(self, nullcontext)

    @property
    def reading(self) -> "GuardedAirflow":
        """For who holds none."""
        return GuardedAirflow(self, self.limit.reading)

    @property
    def down_since(self) -> datetime | None:
        """When Airflow was found to be down; None while it isn't."""
        return self._down_since if self.breaker.state in {BreakerState.OPEN, BreakerState.HALF_OPEN} else None

    async def watch(self) -> None:
        """Ask how Airflow is while it may be down; for ever."""
        while True:
            await self._doubt.wait()
            self._doubt.clear()
            while not self.breaker.passes:
                await self._ask_health()

    def note_answer(self, subject: str) -> None:
        """A request was answered."""
        self.breaker.answered(subject)

    def note_failure(self, subject: str, why: str) -> None:
        """A request failed."""
        if self.breaker.failed(subject, why, self.clock.monotonic()):
            self._doubt.set()

    async def _ask_health(self) -> None:
        breaker = self.breaker
        if breaker.pause:
            await self.clock.sleep(breaker.pause)
        suspected = breaker.state is BreakerState.SUSPECTED
        why = breaker.why
        try:
            async with self.limit.reading():
                await self.airflow.health()
        except AirflowUnavailable as error:
            breaker.is_not_well(str(error))
            if suspected:
                self._down_since = self.clock.now()
                _log.warning(
                    "Airflow is down, nothing is sent until it is well again: %s",
                    breaker.why,
                    extra={"action": "airflow_down"},
                )
            return
        breaker.is_well(self.clock.monotonic())
        if suspected:
            _log.warning("Airflow is well, but not all it was asked for: %s", why, extra={"action": "airflow_blamed"})
        else:
            self.limit.source.restart()
            _log.warning("Airflow is well again", extra={"action": "airflow_back"})
        self._wake()


class GuardedAirflow:
    """The port to Airflow, guarded.

    Args:
        guard: What all have in common.
        permit: Takes a permit, and gives it back.
    """

    def __init__(self, guard: Guard, permit: Callable[[], AbstractAsyncContextManager[None]]) -> None:
        self._guard = guard
        self._permit = permit
        self._airflow = guard.airflow

    async def trigger(
        self, dag_id: str, run_id: str, conf: Mapping[str, Any], still_due: Callable[[], bool] = always
    ) -> TriggerAnswer:
        """Ask for a run; never raises for what Airflow or the network does."""
        guard, limit, clock = self._guard, self._guard.limit, self._guard.clock
        if not guard.breaker.passes:
            return TurnedAway(f"Airflow is down: {guard.breaker.why}")
        async with self._permit():
            source = limit.source
            began, era, full, mark = clock.monotonic(), source.era, source.full, guard.starts.leaves(dag_id)
            answer = await self._airflow.trigger(dag_id, run_id, conf, still_due)
            now = clock.monotonic()
        if isinstance(answer, Withdrawn):  # Airflow has neither answered nor failed
            return answer
        if isinstance(answer, Uncertain | TurnedAway):
            guard.note_failure(dag_id, answer.detail)
            again, others_run = guard.starts.failed(dag_id, mark)
            if not others_run:  # else it fails however few are in flight
                source.failed(now - began, again=again)
            return answer
        guard.note_answer(dag_id)
        guard.starts.answered(dag_id, created=isinstance(answer, Created))
        if full and isinstance(answer, Created):
            source.sample(now - began, era)
        return answer

    async def get(self, dag_id: str, run_id: str) -> DagRun | None:
        """A run, or None when Airflow surely has none of this id."""
        return await self._read(dag_id, lambda: self._airflow.get(dag_id, run_id))

    async def list_ended(self, dag_ids: Collection[str], since: datetime) -> Sequence[DagRun]:
        """All runs of these DAGs that ended at `since` or later, oldest end first."""
        return await self._read(LISTS, lambda: self._airflow.list_ended(dag_ids, since))

    async def list_active(self, dag_ids: Collection[str] | None, since: datetime | None) -> Page:
        """Queued and running runs, a page of them."""
        return await self._read(LISTS, lambda: self._airflow.list_active(dag_ids, since))

    async def any_task_started(self, dag_id: str, run_id: str) -> bool:
        """Whether at least one task of the run was ever started; True when Airflow can no longer tell."""
        return await self._read(dag_id, lambda: self._airflow.any_task_started(dag_id, run_id))

    async def cancel(self, dag_id: str, run_id: str) -> None:
        """Set a run to failed, so that Airflow stops its tasks; a run that has ended or is gone stays as it is."""
        await self._read(dag_id, lambda: self._airflow.cancel(dag_id, run_id))

    async def dag(self, dag_id: str) -> Dag | None:
        """What Airflow says of a DAG, or None when it says that there is none."""
        return await self._read(dag_id, lambda: self._airflow.dag(dag_id))

    async def health(self) -> str:
        """Airflow's version, once its database is healthy and the log-in works."""
        return await self._read("health", self._airflow.health)

    async def close(self) -> None:
        """Close connections."""
        await self._airflow.close()

    async def _read(self, subject: str, ask: Callable[[], Awaitable[T]]) -> T:
        guard = self._guard
        async with self._permit():
            if not guard.breaker.passes:
                raise AirflowUnavailable(f"Airflow is down: {guard.breaker.why}")
            try:
                answer = await ask()
            except AirflowUnavailable as error:
                guard.note_failure(subject, str(error))
                raise
        guard.note_answer(subject)
        return answer
