"""A worker whose Airflow answers at once, inside its own process. Writes: what it counted, when it is ended.

    python -m benchmarks.instant_worker --datadir … worker …     as faust -A streamapp

The variable COUNTS_FILE names the file for the counts.
"""

import atexit
import json
import os
from collections import Counter, deque
from collections.abc import Callable, Collection, Generator, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import streamapp
from streamapp import application
from streamapp.airflow.port import Created, Dag, DagRun, DagRunState, Page, TriggerAnswer, Withdrawn, always
from streamapp.clock import Clock
from streamapp.kafka.store import Rows

LISTED = timedelta(seconds=20)
"""Ended runs older than this are asked for by nobody."""


class InstantAirflow:
    """Runs that have succeeded as soon as they are asked for. Implements `airflow.port.AirflowPort`."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._ended: deque[DagRun] = deque()

    async def trigger(
        self, dag_id: str, run_id: str, conf: Mapping[str, Any], still_due: Callable[[], bool] = always
    ) -> TriggerAnswer:
        if not still_due():
            return Withdrawn()
        now = self._clock.now()
        run = DagRun(dag_id=dag_id, run_id=run_id, state=DagRunState.QUEUED, conf=conf, created_at=now)
        ended = DagRun(
            dag_id=dag_id,
            run_id=run_id,
            state=DagRunState.SUCCESS,
            conf={},
            created_at=now,
            started_at=now,
            ended_at=now,
        )
        self._ended.append(ended)
        while _end(self._ended[0]) < now - LISTED:
            self._ended.popleft()
        return Created(run)

    async def list_ended(self, dag_ids: Collection[str], since: datetime) -> Sequence[DagRun]:  # noqa: ARG002
        found: deque[DagRun] = deque()
        for run in reversed(self._ended):
            if _end(run) < since:
                break
            found.appendleft(run)
        return found

    async def list_active(self, dag_ids: Collection[str] | None, since: datetime | None) -> Page:  # noqa: ARG002
        return Page((), more=False)

    async def get(self, dag_id: str, run_id: str) -> DagRun | None:
        return next((run for run in self._ended if (run.dag_id, run.run_id) == (dag_id, run_id)), None)

    async def any_task_started(self, dag_id: str, run_id: str) -> bool:  # noqa: ARG002
        return True

    async def cancel(self, dag_id: str, run_id: str) -> None:
        """There is nothing to stop."""

    async def dag(self, dag_id: str) -> Dag | None:  # noqa: ARG002
        return Dag(paused=False, max_active_runs=16)

    async def health(self) -> str:
        return "instant"

    async def close(self) -> None:
        """There is nothing to close."""


def _end(run: DagRun) -> datetime:
    assert run.ended_at is not None
    return run.ended_at


def count_operations(path: Path) -> None:
    """Count what the worker's table is asked for; write it down at the end, however orderly."""
    counts: Counter[str] = Counter()

    def counted(name: str, stock: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            counts[name] += 1
            return stock(*arguments)

        return call

    def scan(self: Rows, partition: int, start: bytes) -> Generator[tuple[bytes, bytes], None, None]:
        counts["seeks"] += 1
        for row in stock_scan(self, partition, start):
            counts["steps"] += 1
            yield row

    stock_scan = Rows.scan
    for name, method in {"gets": "get", "changelog records": "append", "atomic writes": "enter"}.items():
        setattr(Rows, method, counted(name, getattr(Rows, method)))
    Rows.scan = scan  # type: ignore[method-assign]
    atexit.register(lambda: path.write_text(json.dumps(counts)))


def main() -> None:
    """Run Faust."""
    application.connect = lambda _, clock: InstantAirflow(clock)
    if path := os.environ.get("COUNTS_FILE"):
        count_operations(Path(path))
    streamapp.app.main()


if __name__ == "__main__":
    main()
