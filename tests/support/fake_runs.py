"""The runs inside the fake Airflow: reads conf, writes states and honest times. Knows nothing of HTTP.

A DAG behaves as `dags/probe.py` does: `{"seconds": 0.2, "fail": true}` in the conf.
"""

import asyncio
import re
import uuid
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

ACTIVE = ("queued", "running")
ENDED = ("success", "failed")
RESERVED = ("scheduled", "backfill", "asset_triggered", "asset_materialization")
RUN_ID = re.compile(r"[A-Za-z0-9_.~:+-]+")
ORDERS = (
    "id",
    "state",
    "dag_id",
    "run_after",
    "execution_date",
    "logical_date",
    "run_id",
    "start_date",
    "end_date",
    "updated_at",
    "conf",
)


class Problem(Exception):
    """An answer that isn't the thing asked for."""

    def __init__(self, status: int, detail: object, title: str | None = None) -> None:
        super().__init__(f"{status}: {detail}")
        self.status = status
        self.detail = detail
        self.title = title


@dataclass
class FakeDag:
    """A DAG of one task."""

    dag_id: str
    required: dict[str, type] = field(default_factory=dict)
    """Params without a default; a conf that lacks one, or has another type, is refused."""
    paused: bool = False
    import_errors: bool = False
    tasks_start: bool = True
    """With False its runs fail, and no task was ever started."""
    max_active_runs: int = 16

    def document(self) -> dict[str, Any]:
        """What both versions of the API show of it, and is asked for."""
        return {"dag_id": self.dag_id, "is_paused": self.paused, "max_active_runs": self.max_active_runs}


@dataclass
class FakeRun:
    """A run, with the dates that Airflow shows."""

    id: int
    dag_id: str
    run_id: str
    conf: dict[str, Any]
    created_at: datetime
    queued_at: datetime
    state: str = "queued"
    started_at: datetime | None = None
    ended_at: datetime | None = None
    tries: int = 0
    task_started: bool = False
    timer: asyncio.TimerHandle | None = None

    def document(self) -> dict[str, Any]:
        """The run as API v2 shows it."""
        duration = (self.ended_at - self.started_at).total_seconds() if self.started_at and self.ended_at else None
        return {
            "dag_run_id": self.run_id, "dag_id": self.dag_id, "logical_date": None,
            "queued_at": show(self.queued_at), "start_date": show(self.started_at), "end_date": show(self.ended_at),
            "duration": duration, "data_interval_start": None, "data_interval_end": None,
            "run_after": show(self.created_at), "last_scheduling_decision": show(self.ended_at or self.started_at),
            "run_type": "manual", "state": self.state, "triggered_by": "rest_api", "triggering_user_name": "admin",
            "conf": self.conf, "note": None, "dag_versions": [], "bundle_version": None,
            "dag_display_name": self.dag_id, "partition_key": None, "partition_date": None,
        }  # fmt: skip

    def task(self) -> dict[str, Any]:
        """Its one task instance as API v2 shows it."""
        state = {"queued": None, "running": "running"}.get(self.state, self.state)
        if self.state == "failed" and not self.task_started:
            state = "skipped"  # what Airflow makes of tasks that wait when their run is stopped; it dates them, too
        began = self.started_at or self.ended_at
        return {
            "id": str(uuid.UUID(int=self.id)), "task_id": "work", "dag_id": self.dag_id, "dag_run_id": self.run_id,
            "map_index": -1, "run_after": show(self.created_at), "start_date": show(began),
            "end_date": show(self.ended_at), "duration": self.document()["duration"] if self.task_started else 0.0,
            "state": state, "try_number": self.tries, "max_tries": 0, "hostname": "fake" if self.task_started else "",
            "pid": 4711 if self.task_started else None, "operator": "_PythonDecoratedOperator",
        }  # fmt: skip


class FakeRuns:
    """Creates, runs, stops, clears and lists runs.

    Attributes:
        parallelism: Runs that may run at a time, over all DAGs.
        default_seconds: How long a run takes whose conf doesn't say.
        start_delay_seconds: From queued to running.
        peak: The most runs that ever ran at a time.
    """

    def __init__(self) -> None:
        self.parallelism = 32
        self.default_seconds = 0.05
        self.start_delay_seconds = 0.0
        self.peak = 0
        self.dags = {
            dag.dag_id: dag
            for dag in (FakeDag("probe"), FakeDag("send_email_alert"), FakeDag("strict", required={"email": str}))
        }
        self.by_id: dict[tuple[str, str], FakeRun] = {}
        self._created = 0
        self._waiting: dict[int, FakeRun] = {}
        self._running: Counter[str] = Counter()

    def of(self, dag_id: str) -> list[FakeRun]:
        """All runs of a DAG, oldest first."""
        return [run for run in list(self.by_id.values()) if run.dag_id == dag_id]

    def find(self, dag_id: str, run_id: str) -> FakeRun:
        """A run, or Airflow's 404."""
        run = self.by_id.get((dag_id, run_id))
        if run is None:
            raise Problem(404, f"The DagRun with dag_id: `{dag_id}` and run_id: `{run_id}` was not found")
        return run

    def create(self, dag_id: str, run_id: str | None, conf: dict[str, Any]) -> FakeRun:
        """Queue a run, or refuse it as Airflow does."""
        dag = self.dags.get(dag_id)
        if dag is None:
            raise Problem(404, f"Dag with dag_id: '{dag_id}' not found")
        if dag.import_errors:
            raise Problem(400, f"Dag with dag_id: '{dag_id}' has import errors and cannot be triggered")
        run_id = run_id or f"manual__{datetime.now(UTC).isoformat()}"
        _check_run_id(run_id)
        for name, kind in dag.required.items():
            if name not in conf:
                raise Problem(400, f"Invalid input for param {name}: No value passed")
            if not isinstance(conf[name], kind):
                raise Problem(400, f"Invalid input for param {name}: {conf[name]!r} is not of type '{kind.__name__}'")
        if (dag_id, run_id) in self.by_id:
            message = "Serious error when handling your request. Check logs for more details"
            hidden = {"statement": "hidden", "orig_error": "hidden", "message": message}
            raise Problem(409, {"reason": "Unique constraint violation", **hidden})
        self._created += 1
        now = datetime.now(UTC)
        run = FakeRun(self._created, dag_id, run_id, conf, created_at=now, queued_at=now)
        self.by_id[dag_id, run_id] = run
        self._queue(run)
        return run

    def pump(self) -> None:
        """Start what waits, oldest first, where there is room."""
        for run in list(self._waiting.values()):
            if self._running.total() >= self.parallelism:
                return
            dag = self.dags.get(run.dag_id)
            if dag is not None and not dag.paused and self._running[run.dag_id] < dag.max_active_runs:
                del self._waiting[run.id]
                self._start(run, dag)

    def set_state(self, run: FakeRun, state: str) -> None:
        """Do what PATCH does: the state is set, also on a run that has ended."""
        self._halt(run)
        run.state = state
        if state == "queued":
            self._queue(run)
        else:
            run.ended_at = datetime.now(UTC)
        self.pump()

    def delete(self, run: FakeRun) -> None:
        """Remove a run; its id is free again."""
        self._halt(run)
        del self.by_id[run.dag_id, run.run_id]
        self.pump()

    def clear(self, run: FakeRun) -> None:
        """Do what a person's "clear" does: an ended run waits again."""
        self._halt(run)
        run.state, run.started_at, run.ended_at, run.queued_at = "queued", None, None, datetime.now(UTC)
        self._queue(run)

    def select(self, body: dict[str, Any]) -> list[FakeRun]:
        """All runs that a list's filters let through, in its order."""
        runs: list[FakeRun] = list(self.by_id.values())
        if body.get("dag_ids"):
            runs = [run for run in runs if run.dag_id in body["dag_ids"]]
        if body.get("states"):
            runs = [run for run in runs if run.state in body["states"]]
        for name, attribute in _DATE_FIELDS.items():
            for end, holds in _COMPARISONS.items():
                if bound := body.get(f"{name}_{end}"):
                    limit = datetime.fromisoformat(bound)
                    runs = [r for r in runs if (date := getattr(r, attribute)) is not None and holds(date, limit)]
        order = body.get("order_by") or "id"
        name = order.removeprefix("-")
        if name not in ORDERS:
            raise Problem(400, f"Ordering with '{name}' is disallowed or the attribute does not exist on the model")
        attribute = _DATE_FIELDS.get(name, name)
        never = datetime.max.replace(tzinfo=UTC)
        key = (
            (lambda r: (getattr(r, attribute) or never, r.id))
            if attribute in _DATE_FIELDS.values()
            else (lambda r: r.id)
        )
        return sorted(runs, key=key, reverse=order.startswith("-"))

    def stop(self) -> None:
        """Let nothing happen any more."""
        for run in self.by_id.values():
            self._halt(run)

    def _queue(self, run: FakeRun) -> None:
        run.timer = asyncio.get_running_loop().call_later(self.start_delay_seconds, self._wait, run)

    def _wait(self, run: FakeRun) -> None:
        run.timer = None
        self._waiting[run.id] = run
        self.pump()

    def _start(self, run: FakeRun, dag: FakeDag) -> None:
        run.state, run.started_at, run.tries = "running", datetime.now(UTC), run.tries + 1
        run.task_started = run.task_started or dag.tasks_start
        self._running[run.dag_id] += 1
        self.peak = max(self.peak, self._running.total())
        seconds = float(run.conf.get("seconds", self.default_seconds)) if dag.tasks_start else 0.0
        early = run.conf.get("_command", {}).get("attempt", 0) <= run.conf.get("fail_first", -1)
        failed = bool(run.conf.get("fail")) or early or not dag.tasks_start
        run.timer = asyncio.get_running_loop().call_later(seconds, self._end, run, "failed" if failed else "success")

    def _end(self, run: FakeRun, state: str) -> None:
        self._halt(run)
        run.state, run.ended_at = state, datetime.now(UTC)
        self.pump()

    def _halt(self, run: FakeRun) -> None:
        """Take a run from wherever it waits or runs."""
        if run.timer is not None:
            run.timer.cancel()
            run.timer = None
        self._waiting.pop(run.id, None)
        if run.state == "running":
            self._running[run.dag_id] -= 1


_COMPARISONS = {
    "gte": lambda a, b: a >= b,
    "gt": lambda a, b: a > b,
    "lte": lambda a, b: a <= b,
    "lt": lambda a, b: a < b,
}
_DATE_FIELDS = {
    "end_date": "ended_at",
    "start_date": "started_at",
    "run_after": "created_at",
    "execution_date": "created_at",  # API v1's name for it
}


def show(date: datetime | None) -> str | None:
    """A date as API v2 writes it."""
    return date.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z") if date else None


def _check_run_id(run_id: str) -> None:
    if not RUN_ID.fullmatch(run_id):
        raise Problem(400, f"The run_id provided '{run_id}' does not match regex pattern '^{RUN_ID.pattern}$'")
    if ".." in run_id:
        raise Problem(400, f"The run_id '{run_id}' must not contain '..' to prevent path traversal")
    kind = next((kind for kind in RESERVED if run_id.startswith(f"{kind}__")), None)
    if kind:
        raise Problem(
            400, f"A manual DAG run cannot use ID '{run_id}' since it is reserved for {kind.split('_')[0]} runs"
        )
    if len(run_id) > 250:
        raise Problem(422, {"reason": "Value rejected by database", "message": "Serious error"})
