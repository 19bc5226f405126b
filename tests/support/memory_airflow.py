"""The port to Airflow in memory, on a manual clock: reads what a test says, writes down what it was asked.

For unit tests; what HTTP and the real Airflow do is for the fake and the contract tests.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from streamapp.airflow.port import (
    AirflowUnavailable,
    Created,
    Dag,
    DagRun,
    DagRunState,
    Exists,
    Page,
    TriggerAnswer,
    Withdrawn,
    always,
)
from streamapp.clock import Clock


class MemoryAirflow:
    """Runs that stand still until a test moves them.

    Attributes:
        runs: What Airflow has.
        calls: Every call: its verb and its arguments.
        answers: What the next triggers answer, instead of creating a run.
        down: Why nothing answers; a verb's name in `broken` breaks that one alone.
        unstarted: Ids of runs in which no task ever started.
        page: Active runs in one answer.
        dags: What it says of DAGs.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.runs: dict[tuple[str, str], DagRun] = {}
        self.calls: list[tuple[Any, ...]] = []
        self.answers: list[TriggerAnswer] = []
        self.down: str | None = None
        self.broken: set[str] = set()
        self.unstarted: set[str] = set()
        self.page = 100
        self.dags: dict[str, Dag] = {}

    # What tests do

    def add(self, dag_id: str, run_id: str, conf: Mapping[str, Any] | None = None) -> DagRun:
        """Create a run."""
        now = self._clock.now()
        run = DagRun(dag_id=dag_id, run_id=run_id, state=DagRunState.QUEUED, conf=conf or {}, created_at=now)
        self.runs[dag_id, run_id] = run
        return run

    def start(self, dag_id: str, run_id: str) -> None:
        """Let a run begin."""
        self._change(dag_id, run_id, state=DagRunState.RUNNING, started_at=self._clock.now())

    def end(self, dag_id: str, run_id: str, state: DagRunState = DagRunState.SUCCESS) -> None:
        """Let a run end."""
        self._change(dag_id, run_id, state=state, ended_at=self._clock.now())

    def delete(self, dag_id: str, run_id: str) -> None:
        """Delete a run; its id is free again."""
        del self.runs[dag_id, run_id]

    def count(self, verb: str) -> int:
        """How often a verb was called."""
        return sum(call[0] == verb for call in self.calls)

    # The port

    async def trigger(
        self, dag_id: str, run_id: str, conf: Mapping[str, Any], still_due: Callable[[], bool] = always
    ) -> TriggerAnswer:
        if not still_due():
            return Withdrawn()
        self.calls.append(("trigger", dag_id, run_id, conf))
        if self.answers:
            return self.answers.pop(0)
        if (dag_id, run_id) in self.runs:
            return Exists()
        return Created(self.add(dag_id, run_id, conf))

    async def get(self, dag_id: str, run_id: str) -> DagRun | None:
        self._called("get", dag_id, run_id)
        return self.runs.get((dag_id, run_id))

    async def list_ended(self, dag_ids: Collection[str], since: datetime) -> Sequence[DagRun]:
        self._called("list_ended", frozenset(dag_ids), since)
        runs = [run for run in self.runs.values() if run.dag_id in dag_ids and run.state.ended]
        return sorted((run for run in runs if run.ended_at >= since), key=lambda run: run.ended_at)

    async def list_active(self, dag_ids: Collection[str] | None, since: datetime | None) -> Page:
        self._called("list_active", dag_ids and frozenset(dag_ids), since)
        runs = [run for run in self.runs.values() if (dag_ids is None or run.dag_id in dag_ids) and not run.state.ended]
        runs = sorted((run for run in runs if since is None or run.created_at >= since), key=lambda run: run.created_at)
        return Page(runs[: self.page], more=len(runs) > self.page)

    async def any_task_started(self, dag_id: str, run_id: str) -> bool:
        self._called("any_task_started", dag_id, run_id)
        return run_id not in self.unstarted

    async def cancel(self, dag_id: str, run_id: str) -> None:
        self._called("cancel", dag_id, run_id)
        run = self.runs.get((dag_id, run_id))
        if run is not None and not run.state.ended:
            self.end(dag_id, run_id, DagRunState.FAILED)

    async def dag(self, dag_id: str) -> Dag | None:
        self._called("dag", dag_id)
        return self.dags.get(dag_id)

    async def health(self) -> str:
        self._called("health")
        return "memory"

    async def close(self) -> None:
        self.calls.append(("close",))

    def _called(self, verb: str, *arguments: Any) -> None:
        self.calls.append((verb, *arguments))
        if self.down is not None:
            raise AirflowUnavailable(self.down)
        if verb in self.broken:
            raise AirflowUnavailable(f"{verb} is broken")

    def _change(self, dag_id: str, run_id: str, **fields: Any) -> None:
        self.runs[dag_id, run_id] = replace(self.runs[dag_id, run_id], **fields)
