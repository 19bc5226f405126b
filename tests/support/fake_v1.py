"""API v1 of the fake Airflow: reads and writes its runs, with the answers of 2.11.2. Basic auth."""

import base64
import re
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from aiohttp import web

from tests.support.fake_runs import FakeRun, FakeRuns, Problem

if TYPE_CHECKING:
    from tests.support.fake_airflow import FakeAirflow

VERSION = "2.11.2"
TITLES = {400: "Bad Request", 403: "Forbidden", 404: "Not Found", 409: "Conflict"}
RUN_ID = re.compile(r"[A-Za-z0-9_.~:+-]+")
ORDERS = {"id", "state", "dag_id", "execution_date", "dag_run_id", "start_date", "end_date", "updated_at", "conf"}
TRIGGER = {"dag_run_id", "logical_date", "execution_date", "data_interval_start", "data_interval_end", "conf", "note"}

Handler = Callable[[web.Request], Awaitable[web.Response]]


class FakeV1:
    """The handlers; operations are named as those of API v2."""

    def __init__(self, airflow: "FakeAirflow") -> None:
        self._airflow = airflow

    @property
    def _runs(self) -> FakeRuns:
        return self._airflow.runs

    def routes(self) -> list[tuple[str, str, str, Handler]]:
        """Method, path, operation and handler."""
        run = "/api/v1/dags/{dag_id}/dagRuns/{run_id}"
        return [
            ("GET", "/api/v1/health", "health", self._health),
            ("GET", "/api/v1/dags/{dag_id}", "dag", self._dag),
            ("POST", "/api/v1/dags/~/dagRuns/list", "list", self._list),
            ("POST", "/api/v1/dags/{dag_id}/dagRuns", "trigger", self._trigger),
            ("GET", run, "get", self._get),
            ("PATCH", run, "patch", self._patch),
            ("DELETE", run, "delete", self._delete),
            ("POST", run + "/clear", "clear", self._clear),
            ("GET", run + "/taskInstances", "tasks", self._tasks),
        ]

    def check_login(self, request: web.Request) -> None:
        """A wrong password is answered as a missing role is: the session back-end lets nobody in, without a role."""
        user = f"{self._airflow.username}:{self._airflow.password}"
        if request.headers.get("Authorization") != "Basic " + base64.b64encode(user.encode()).decode():
            raise Problem(403, None)

    @staticmethod
    def refusal(problem: Problem) -> web.Response:
        """A problem as API v1 writes it."""
        title = problem.title or TITLES.get(problem.status, "Error")
        body = {"detail": problem.detail, "status": problem.status, "title": title, "type": "about:blank"}
        return web.json_response(body, status=problem.status, content_type="application/problem+json")

    async def _health(self, _: web.Request) -> web.Response:
        parts: dict[str, dict[str, str | None]] = {
            name: {"status": "healthy"} for name in ("metadatabase", "scheduler", "triggerer")
        }
        return web.json_response(parts | {"dag_processor": {"status": None}})

    async def _dag(self, request: web.Request) -> web.Response:
        dag = self._runs.dags.get(request.match_info["dag_id"])
        if dag is None:
            name = request.match_info["dag_id"]
            raise Problem(404, f"The DAG with dag_id: {name} was not found", "DAG not found")
        return web.json_response(dag.document())

    async def _trigger(self, request: web.Request) -> web.Response:
        body, dag_id = await request.json(), request.match_info["dag_id"]
        if dag_id not in self._runs.dags:
            raise Problem(404, f"DAG with dag_id: '{dag_id}' not found", "DAG not found")
        if self._runs.dags[dag_id].import_errors:
            raise Problem(400, f"DAG with dag_id: '{dag_id}' has import errors", "DAG cannot be triggered")
        for name in body.keys() - TRIGGER:
            raise Problem(400, f"{{'{name}': ['Unknown field.']}}")
        if body.get("logical_date", "") is None:
            raise Problem(400, "None is not of type 'string' - 'logical_date'")
        conf, run_id = body.get("conf", {}), body.get("dag_run_id") or f"manual__{datetime.now(UTC).isoformat()}"
        if not isinstance(conf, dict):
            raise Problem(400, f"{conf!r} is not of type 'object' - 'conf'")
        if len(run_id) > 250:
            raise Problem(400, "{'dag_run_id': ['Longer than maximum length 250.']}")
        if (dag_id, run_id) in self._runs.by_id:
            self._airflow.note_post(dag_id, run_id, conf)
            raise Problem(409, f"DAGRun with DAG ID: '{dag_id}' and DAGRun ID: '{run_id}' already exists")
        if not RUN_ID.fullmatch(run_id):
            return web.Response(status=500, text="<h1> Ooops! </h1>", content_type="text/html")
        post = self._airflow.note_post(dag_id, run_id, conf)
        run = self._runs.create(dag_id, run_id, conf)
        post.created = True
        return web.json_response(document(run))

    async def _get(self, request: web.Request) -> web.Response:
        return web.json_response(document(self._run(request)))

    async def _patch(self, request: web.Request) -> web.Response:
        dag_id, run_id = request.match_info["dag_id"], request.match_info["run_id"]
        run = self._runs.by_id.get((dag_id, run_id))
        if run is None:
            raise Problem(404, None, f"Dag Run id {run_id} not found in dag {dag_id}")
        self._runs.set_state(run, (await request.json())["state"])
        return web.json_response(document(run))

    async def _delete(self, request: web.Request) -> web.Response:
        self._runs.delete(self._run(request))
        return web.Response(status=204)

    async def _clear(self, request: web.Request) -> web.Response:
        run = self._run(request)
        if not (await request.json()).get("dry_run", True):
            self._runs.clear(run)
        return web.json_response(document(run))

    async def _tasks(self, request: web.Request) -> web.Response:
        run = self._runs.by_id.get((request.match_info["dag_id"], request.match_info["run_id"]))
        tasks = [run.task()] if run is not None else []
        page = tasks[int(request.query.get("offset", "0")) :]
        return web.json_response({"task_instances": page, "total_entries": len(tasks)})

    async def _list(self, request: web.Request) -> web.Response:
        body = await request.json()
        order = body.get("order_by", "id")
        if order.lstrip("-") not in ORDERS:
            raise Problem(400, f"Ordering with '{order}' is disallowed or the attribute does not exist on the model")
        runs = self._runs.select(body)
        offset = body.get("page_offset", 0)
        page = runs[offset : offset + body.get("page_limit", 100)]
        return web.json_response({"dag_runs": [document(run) for run in page], "total_entries": len(runs)})

    def _run(self, request: web.Request) -> FakeRun:
        dag_id, run_id = request.match_info["dag_id"], request.match_info["run_id"]
        run = self._runs.by_id.get((dag_id, run_id))
        if run is None:
            text = f"DAGRun with DAG ID: '{dag_id}' and DagRun ID: '{run_id}' not found"
            raise Problem(404, text, "DAGRun not found")
        return run


def document(run: FakeRun) -> dict[str, Any]:
    """A run as API v1 shows it: dated by the moment of its POST."""
    v2 = run.document()
    same = ("dag_run_id", "dag_id", "start_date", "end_date", "last_scheduling_decision", "run_type", "state", "note")
    date = v2["run_after"]
    dates = dict.fromkeys(("logical_date", "execution_date", "data_interval_start", "data_interval_end"), date)
    return {name: v2[name] for name in same} | dates | {"conf": run.conf, "external_trigger": True}
