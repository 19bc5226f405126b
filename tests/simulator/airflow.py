"""Airflow, modelled behind the port: reads requests of workers, keeps runs, answers late, wrongly or not at all.

A request leaves, lands and is answered at three moments; each of the last two may be lost or late. Runs end by
themselves, as their fate wants it; persons delete them, clear them and mend DAGs.
"""

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

from streamapp.airflow.port import (
    AirflowUnavailable,
    Created,
    Dag,
    DagMissing,
    DagRun,
    DagRunState,
    Exists,
    Page,
    Refused,
    TriggerAnswer,
    TurnedAway,
    Uncertain,
    Withdrawn,
    always,
)
from streamapp.core.model import Reason
from tests.simulator.plan import DELETED_AT_409, READ_FAULTS, TRIGGER_FAULTS
from tests.simulator.scheduler import Future
from tests.support.history import Run
from tests.support.manual_clock import START

if TYPE_CHECKING:
    from tests.simulator.worker import Worker
    from tests.simulator.world import World

LATEST_MS = 28_000
"""How late a request may still land; the trigger counts on 30 s at most."""
PAGE = 2
"""Active runs in one answer."""
LAG_MS = 4000
"""How long after its date the end of a run may become visible; the follower counts on 5 s at most."""


@dataclass(eq=False)
class SimRun:
    """A run in Airflow."""

    dag_id: str
    run_id: str
    conf: Mapping[str, Any]
    fate: str
    created_at: datetime
    state: DagRunState = DagRunState.QUEUED
    started_at: datetime | None = None
    ended_at: datetime | None = None
    visible_at: int = 0
    first: tuple[datetime, datetime, str] | None = None
    """When it ran and how it ended, before a person cleared it: an end that was seen counts."""
    cleared: bool = False

    def shown(self) -> DagRun:
        return DagRun(
            dag_id=self.dag_id,
            run_id=self.run_id,
            state=self.state,
            conf=self.conf,
            created_at=self.created_at,
            started_at=self.started_at,
            ended_at=self.ended_at,
        )

    def judged(self) -> Run:
        start, end, state = self.first or (self.started_at, self.ended_at, self.state.value)
        if self.state is DagRunState.SUCCESS:  # cleared before its first end was seen, it is followed to this one
            state = self.state.value
        return Run(run_id=self.run_id, dag_id=self.dag_id, conf=self.conf, start=start, end=end, state=state)


class Airflow:
    """The server, and the persons at it."""

    def __init__(self, world: "World", skew: timedelta) -> None:
        self._world = world
        self._skew = skew
        self.runs: dict[tuple[str, str], SimRun] = {}
        self.gone: list[SimRun] = []
        self.unknown_deletions: dict[str, tuple[Worker, int]] = {}
        """Runs that a person deleted before the table knew them, and who was told that they exist."""
        self.under_way: Counter[str] = Counter()
        """POSTs that have left and not landed, for each run id."""
        self.outage_until = 0
        self.missing_until: dict[str, int] = {}
        self.paused_until: dict[str, int] = {}
        self.broken_until: dict[str, int] = {}
        """A deploy with an error in it: every request for a run is refused, also for one that exists."""
        self.mended_at = 0

    def now(self) -> datetime:
        return START + timedelta(milliseconds=self._world.now) + self._skew

    # What a request does

    def create(
        self, dag_id: str, run_id: str, conf: Mapping[str, Any], by: "tuple[Worker, int]", *, answered: bool
    ) -> TriggerAnswer:
        world = self._world
        mark = conf["_command"]
        if self.missing_until.get(dag_id, 0) > world.now:
            world.counts["dag_missing"] += 1
            return DagMissing(f"404: no {dag_id}")
        if self.broken_until.get(dag_id, 0) > world.now:
            return Refused(Reason.DAG_NOT_FOUND, f"400: {dag_id} has import errors")
        if (dag_id, run_id) in self.runs:
            world.counts["conflicts"] += 1
            if (
                answered
                and DELETED_AT_409 in world.plan.rates
                and self._delete(self.runs[dag_id, run_id], count=DELETED_AT_409)
            ):
                self.unknown_deletions[run_id] = by
            return Exists()
        fate = world.fate(mark["id"], mark["attempt"])
        if fate == "refused" or (fate == "mended" and world.now < self.mended_at):
            world.counts[fate] += 1
            return Refused(Reason.REFUSED_BY_AIRFLOW, "400: the params are wrong")
        told = self.unknown_deletions.get(run_id)
        if told is not None and told != by:
            # Nobody who lives knows that it existed: nothing tells this from a request that never came.
            self.gone = [run for run in self.gone if run.run_id != run_id]
        run = SimRun(dag_id, run_id, conf, fate, self.now())
        self.runs[dag_id, run_id] = run
        world.counts["runs"] += 1
        world.say("airflow", f"creates {run_id} ({fate})")
        world.after(world.random.randint(0, 400), None, partial(self._start, run))
        return Created(run.shown())

    def get(self, dag_id: str, run_id: str) -> DagRun | None:
        run = self.runs.get((dag_id, run_id))
        return None if run is None else run.shown()

    def list_ended(self, dag_ids: Collection[str], since: datetime) -> Sequence[DagRun]:
        ended = [run for run in self.runs.values() if run.dag_id in dag_ids and run.ended_at is not None]
        seen = [run.shown() for run in ended if run.visible_at <= self._world.now and run.ended_at >= since]  # type: ignore[operator]
        return sorted(seen, key=lambda run: (run.ended_at, run.run_id))

    def list_active(self, dag_ids: Collection[str], since: datetime | None) -> Page:
        active = [run for run in self.runs.values() if run.dag_id in dag_ids and not run.state.ended]
        found = sorted((run for run in active if since is None or run.created_at >= since), key=lambda r: r.created_at)
        return Page([run.shown() for run in found[:PAGE]], more=len(found) > PAGE)

    def dag(self, dag_id: str) -> Dag | None:
        if self.missing_until.get(dag_id, 0) > self._world.now:
            return None
        return Dag(max_active_runs=2, paused=self.paused_until.get(dag_id, 0) > self._world.now)

    def any_task_started(self, dag_id: str, run_id: str) -> bool:
        run = self.runs.get((dag_id, run_id))
        return run is None or run.fate != "unstarted"

    def cancel(self, dag_id: str, run_id: str) -> None:
        run = self.runs.get((dag_id, run_id))
        if run is not None and not run.state.ended:
            self._end(run, DagRunState.FAILED)

    # The way of a run

    def _start(self, run: SimRun) -> None:
        if self.runs.get((run.dag_id, run.run_id)) is not run or run.state.ended:
            return
        if self.paused_until.get(run.dag_id, 0) > self._world.now:
            self._world.after(500, None, partial(self._start, run))
            return
        run.state, run.started_at, run.ended_at = DagRunState.RUNNING, self.now(), None
        world = self._world
        lasts = world.random.choice([world.random.randint(10, 300), world.random.randint(500, 5000)])
        if run.fate == "deleted" and not run.cleared:
            world.after(lasts, None, partial(self._delete_once_known, run, 20))
        if world.chance("false_hint"):
            world.after(world.random.randint(0, lasts), None, partial(self._hint, run))
        state = DagRunState.FAILED if run.fate in {"fail", "unstarted"} else DagRunState.SUCCESS
        lasts += 12_000 if run.fate == "deleted" else 0
        world.after(lasts, None, partial(self._end, run, state))

    def _end(self, run: SimRun, state: DagRunState) -> None:
        if self.runs.get((run.dag_id, run.run_id)) is not run or run.state.ended:
            return
        world = self._world
        run.state, run.ended_at, run.visible_at = state, self.now(), world.now
        if world.chance("late_commit"):
            run.visible_at += world.random.randint(100, LAG_MS)
        world.say("airflow", f"{run.run_id} ends: {state.value}")
        self._hint_end(run)
        if run.fate == "cleared" and not run.cleared:
            world.after(world.random.randint(200, 8000), None, partial(self._clear, run))

    def _hint_end(self, run: SimRun) -> None:
        """What the plugin does: it tells all workers before the end is committed."""
        world = self._world
        if world.chance("hint"):
            self._hint(run)
        if world.chance("late_hint"):
            world.after(world.random.randint(500, 20_000), None, partial(self._hint, run))
        if world.chance("doubled_hint"):
            world.after(world.random.randint(0, 30), None, partial(self._hint, run))
            world.after(world.random.randint(0, 30), None, partial(self._hint, run))

    def _hint(self, run: SimRun) -> None:
        world = self._world
        for worker in world.workers.values():
            world.after(world.delay(3), worker, partial(worker.parts.follower.hint, run.dag_id, run.run_id))

    def _clear(self, run: SimRun) -> None:
        if self.runs.get((run.dag_id, run.run_id)) is not run:
            return
        assert run.ended_at is not None
        started_at = run.started_at or run.ended_at  # stopped before it had started
        run.first, run.cleared = (started_at, run.ended_at, run.state.value), True
        run.state, run.started_at, run.ended_at = DagRunState.QUEUED, None, None
        self._world.counts["cleared"] += 1
        self._world.say("a person", f"clears {run.run_id}")
        self._world.after(self._world.random.randint(100, 1000), None, partial(self._start, run))

    def _delete_once_known(self, run: SimRun, tries: int) -> None:
        """A person sees a run and deletes it; before the table knows it, its command would run again."""
        if run.run_id in self._world.known_runs:
            self._delete(run, count="deleted")
        elif tries:
            self._world.after(500, None, partial(self._delete_once_known, run, tries - 1))

    def _delete(self, run: SimRun, count: str) -> bool:
        if self.runs.get((run.dag_id, run.run_id)) is not run or self.under_way[run.run_id]:
            return False  # a request that is still on its way would make it again
        known = run.run_id in self._world.known_runs or self._world.shared_id(run.run_id)
        if known if count == DELETED_AT_409 else run.state.ended:
            return False
        del self.runs[run.dag_id, run.run_id]
        run.ended_at = run.ended_at or self.now()
        run.started_at = run.started_at or run.ended_at
        run.state = DagRunState.FAILED
        self.gone.append(run)
        self._world.counts[count] += 1
        self._world.say("a person", f"deletes {run.run_id}")
        return True


class Port:
    """One worker's way to the server. Implements `airflow.port.AirflowPort`."""

    def __init__(self, airflow: Airflow, worker: "Worker", world: "World") -> None:
        self._airflow = airflow
        self._worker = worker
        self._world = world

    async def trigger(
        self, dag_id: str, run_id: str, conf: Mapping[str, Any], still_due: Callable[[], bool] = always
    ) -> TriggerAnswer:
        world, airflow = self._world, self._airflow
        if world.happens("slow_login"):
            world.counts["slow_login"] += 1
            await self._pause(world.random.randint(1000, 25_000))
        if not still_due():
            return Withdrawn()
        world.judge_request(self._worker, run_id, conf["_command"])
        by = self._worker, self._worker.generation
        fault = self._fault(tuple(TRIGGER_FAULTS))
        if airflow.outage_until > world.now:
            fault = "outage"
        if fault is not None:
            world.counts[fault] += 1
        world.say(self._worker.name, f"POST {run_id}{f': {fault}' if fault else ''}")
        create = partial(airflow.create, dag_id, run_id, conf, by, answered=fault in {None, "slow_post"})
        match fault:
            case None | "slow_post":
                landing = world.random.randint(1000, 25_000) if fault else world.delay(40)
                return await self._answer(landing, create, run_id)
            case "outage" | "turned_away":
                return await self._answer(world.delay(40), lambda: TurnedAway("429"))
            case "lost_request" | "error_before":
                return await self._answer(self._patience(fault), lambda: Uncertain("no answer"))
            case "lost_answer" | "error_after":
                self._land(world.delay(40), create, run_id)
                return await self._answer(100 + self._patience(fault), lambda: Uncertain("no answer"))
            case "late_post":
                self._land(world.random.randint(1000, LATEST_MS), create, run_id)
                return await self._answer(world.random.randint(10, 900), lambda: Uncertain("no answer"))
        raise AssertionError(fault)

    async def get(self, dag_id: str, run_id: str) -> DagRun | None:
        return await self._read(partial(self._airflow.get, dag_id, run_id))

    async def list_ended(self, dag_ids: Collection[str], since: datetime) -> Sequence[DagRun]:
        self._world.idle(3)
        return await self._read(partial(self._airflow.list_ended, dag_ids, since))

    async def list_active(self, dag_ids: Collection[str], since: datetime | None) -> Page:
        self._world.idle(3)
        return await self._read(partial(self._airflow.list_active, dag_ids, since))

    async def any_task_started(self, dag_id: str, run_id: str) -> bool:
        return await self._read(partial(self._airflow.any_task_started, dag_id, run_id))

    async def cancel(self, dag_id: str, run_id: str) -> None:
        await self._read(partial(self._airflow.cancel, dag_id, run_id))

    async def dag(self, dag_id: str) -> Dag | None:
        self._world.idle(3)
        return await self._read(partial(self._airflow.dag, dag_id))

    async def health(self) -> str:
        return await self._read(lambda: "simulated")

    async def close(self) -> None:
        """Nothing to close."""

    # Inside

    async def _pause(self, milliseconds: int) -> None:
        future = Future()
        self._world.after(milliseconds, self._worker, partial(future.set_result, None))
        await future

    def _fault(self, names: tuple[str, ...]) -> str | None:
        return next((name for name in names if self._world.happens(name)), None)

    def _patience(self, fault: str) -> int:
        """How long it takes until the client knows that there is no answer."""
        if fault.startswith("error"):
            return self._world.delay(200)
        return self._world.random.choice([self._world.random.randint(1, 500), 5000])

    def _land(self, delay: int, serve: Callable[[], Any], run_id: str | None = None) -> None:
        """Reach the server, whatever becomes of the worker meanwhile."""
        if run_id is not None:
            self._airflow.under_way[run_id] += 1

        def land() -> None:
            if run_id is not None:
                self._airflow.under_way[run_id] -= 1
            serve()

        self._world.after(delay, None, land)

    async def _answer(self, landing: int, serve: Callable[[], Any], run_id: str | None = None) -> Any:
        """Reach the server, and be answered, if the worker still is there."""
        future, world = Future(), self._world

        def answered() -> None:
            answer = serve()
            world.after(world.delay(40), self._worker, partial(future.set_result, answer))

        self._land(landing, answered, run_id)
        return await future

    async def _read(self, serve: Callable[[], Any]) -> Any:
        future, world = Future(), self._world
        fault = self._fault(tuple(READ_FAULTS))
        if self._airflow.outage_until > world.now:
            fault = "failed_read"
        if fault is not None:
            world.counts[fault] += 1

        def land() -> None:
            if fault == "failed_read":
                answer = partial(future.set_exception, AirflowUnavailable("no answer"))
            else:
                answer = partial(future.set_result, serve())
            world.after(world.delay(40), self._worker, answer)

        world.after(world.random.randint(500, 6000) if fault == "slow_read" else world.delay(40), None, land)
        return await future
