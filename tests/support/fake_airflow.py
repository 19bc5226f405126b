"""A fake Airflow: reads and writes the parts of its API that streamapp uses, with the answers of 3.3.2 or 2.11.2.

In a test's own loop:        async with FakeAirflow() as fake: ... fake.url
In a thread of its own:      with FakeAirflow().in_thread() as fake: ...
As a process of its own:     python -m tests.support.fake_airflow --port 8080   (control under /_fake/…)

The contract tests run the same suite against it and against a real Airflow.
"""

import argparse
import asyncio
import base64
import hashlib
import hmac
import json
import secrets
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, Self, TypeVar

from aiohttp import web

from tests.support import fake_v1
from tests.support.fake_runs import ACTIVE, ENDED, FakeDag, FakeRun, FakeRuns, Problem, show

VERSION = "3.3.2"
HOST = "127.0.0.1"
T = TypeVar("T")
OPEN = ("login", "health", "version", "control")
BODIES = {
    "trigger": {"dag_run_id", "data_interval_start", "data_interval_end", "logical_date", "run_after", "conf", "note",
                "partition_key"},
    "list": {"order_by", "page_offset", "page_limit", "dag_ids", "states", "conf_contains"}
    | {f"{name}_{end}" for name in ("run_after", "logical_date", "start_date", "end_date", "duration")
       for end in ("gte", "gt", "lte", "lt")},
}  # fmt: skip


@dataclass
class Post:
    """A POST of a run, as it came in."""

    at: datetime
    dag_id: str
    run_id: str | None
    conf: dict[str, Any]
    created: bool = False


@dataclass
class Fault:
    """What goes wrong with the next requests of one operation.

    Kinds: a status such as `500` or `429` (nothing is done), `500_after` (done, but answered so), `lost` (done, then
    the connection breaks), `cut` (not done, the connection breaks), `garbled` (done, answered with something that
    isn't JSON), `slow` (done after `seconds`), `slow_after` (done at once, answered after `seconds`).
    """

    operation: str
    kind: str
    left: int
    seconds: float


class FakeAirflow:
    """The server. Operations: login, trigger, get, list, tasks, patch, delete, clear, dag, dags, health, version.

    Attributes:
        runs: The runs and DAGs, with settings for how they run.
        posts: Every POST of a run.
        requests: How often each operation was asked for.
        peak_triggers: The most POSTs of runs that were ever in flight.
        peak_requests: The same for all requests.
        username, password: The only user; what tests change is asked for from then on.
        token_seconds: How long a token lives.
        version: Airflow's; a test that changes it upgrades Airflow.
        wanted_header: What a gateway before it asks for, or None.
    """

    def __init__(self, port: int = 0, *, version: str = VERSION) -> None:
        self.runs = FakeRuns()
        self.posts: list[Post] = []
        self.requests: Counter[str] = Counter()
        self.peak_triggers = 0
        self.peak_requests = 0
        self.username = "admin"
        self.password = "admin-secret"
        self.token_seconds = 86400.0
        self.version = version
        self.wanted_header: tuple[str, str] | None = None
        self._v1 = fake_v1.FakeV1(self)
        self._port = port
        self._in_flight: Counter[str] = Counter()
        self._faults: list[Fault] = []
        self._secret = secrets.token_bytes(32)
        self._runner: web.AppRunner | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = 0
        self._away: asyncio.Task[None] | None = None

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://{HOST}:{self._port}"

    # Its life

    async def __aenter__(self) -> Self:
        await self.up()
        return self

    async def __aexit__(self, *_: object) -> None:
        self.runs.stop()
        await self.down()

    async def up(self) -> None:
        """Listen, on the same port as before."""
        self._loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()
        app = web.Application(middlewares=[self._middleware], client_max_size=2**26)
        for method, path, operation, handler in self._routes():
            name = None if "_fake" in path else f"v1-{operation}" if path.startswith("/api/v1/") else operation
            app.router.add_route(method, path, handler, name=name)
        self._runner = web.AppRunner(app, shutdown_timeout=0.0, handle_signals=False)
        await self._runner.setup()
        site = web.TCPSite(self._runner, HOST, self._port, reuse_address=True)
        await site.start()
        self._port = self._runner.addresses[0][1]

    async def down(self) -> None:
        """Refuse connections and break open ones; runs go on."""
        runner, self._runner = self._runner, None
        if runner is not None:
            await runner.cleanup()

    @contextmanager
    def in_thread(self) -> Iterator[Self]:
        """Serve from a thread; for `up` and `down` use `call`."""
        loop = asyncio.new_event_loop()
        thread = threading.Thread(target=loop.run_forever, name="fake-airflow", daemon=True)
        thread.start()
        try:
            asyncio.run_coroutine_threadsafe(self.__aenter__(), loop).result(10)
            yield self
        finally:
            asyncio.run_coroutine_threadsafe(self.__aexit__(), loop).result(10)
            loop.call_soon_threadsafe(loop.stop)
            thread.join()
            loop.close()

    def call(self, work: Coroutine[Any, Any, T]) -> T:
        """Run something in the server's loop, from another thread."""
        assert self._loop is not None
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    # What tests change

    def fault(self, operation: str, kind: str, *, times: int = 1, seconds: float = 0.0) -> None:
        """Let the next requests of an operation go wrong."""
        self._faults.append(Fault(operation, kind, times, seconds))

    def mend(self) -> None:
        """Forget all faults."""
        self._faults.clear()

    def add_dag(self, dag: FakeDag) -> None:
        """Add or replace a DAG."""
        self.runs.dags[dag.dag_id] = dag
        self.look_again()

    def remove_dag(self, dag_id: str) -> None:
        """Forget a DAG; its runs stay."""
        self.runs.dags.pop(dag_id, None)

    def delete_run(self, dag_id: str, run_id: str) -> None:
        """Delete a run in whatever state it is, as a clean-up of the database does."""
        self._do(lambda: self.runs.delete(self.runs.by_id[dag_id, run_id]))

    def clear_run(self, dag_id: str, run_id: str) -> None:
        """Clear a run, as a person may."""
        self._do(lambda: self.runs.clear(self.runs.by_id[dag_id, run_id]))

    def forget_tokens(self) -> None:
        """Take no token that was given so far: answered 403, as after a change of Airflow's secret."""
        self._secret = secrets.token_bytes(32)

    def look_again(self) -> None:
        """Start what may start after a setting was changed."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self.runs.pump)

    def note_post(self, dag_id: str, run_id: str | None, conf: dict[str, Any]) -> Post:
        """Write down a POST of a run."""
        post = Post(datetime.now(UTC), dag_id, run_id, conf)
        self.posts.append(post)
        return post

    def _do(self, work: Callable[[], None]) -> None:
        """Do something in the server's loop, and wait for it."""
        assert self._loop is not None
        if threading.get_ident() == self._thread:
            work()
            return

        async def wrapped() -> None:
            work()

        self.call(wrapped())

    # Requests

    def _routes(self) -> list[tuple[str, str, str, Callable[[web.Request], Awaitable[web.Response]]]]:
        run = "/api/v2/dags/{dag_id}/dagRuns/{run_id}"
        return [
            ("POST", "/auth/token", "login", self._log_in),
            ("GET", "/api/v2/version", "version", self._version),
            ("GET", "/api/v2/monitor/health", "health", self._health),
            ("GET", "/api/v2/dags", "dags", self._dags),
            ("GET", "/api/v2/dags/{dag_id}", "dag", self._dag),
            ("POST", "/api/v2/dags/~/dagRuns/list", "list", self._list),
            ("POST", "/api/v2/dags/{dag_id}/dagRuns", "trigger", self._trigger),
            ("GET", run, "get", self._get),
            ("PATCH", run, "patch", self._patch),
            ("DELETE", run, "delete", self._delete),
            ("POST", run + "/clear", "clear", self._clear),
            ("GET", run + "/taskInstances", "tasks", self._tasks),
            ("GET", "/_fake/state", "control", self._show_state),
            ("POST", "/_fake/{what}", "control", self._control),
            ("GET", "/api/v1/version", "version", self._version),
            ("GET", "/api/v1/dags", "dags", self._dags),
            *self._v1.routes(),
        ]

    @property
    def _is_2(self) -> bool:
        return self.version.startswith("2.")

    @web.middleware
    async def _middleware(self, request: web.Request, handler: Callable[..., Awaitable[web.Response]]) -> web.Response:
        name = request.match_info.route.name or ("control" if request.path.startswith("/_fake/") else "unknown")
        operation = name.removeprefix("v1-")
        if operation == "control":
            return await handler(request)
        self.requests[operation] += 1
        self._in_flight[operation] += 1
        self.peak_triggers = max(self.peak_triggers, self._in_flight["trigger"])
        self.peak_requests = max(self.peak_requests, self._in_flight.total())
        try:
            return await self._answer(request, operation, handler)
        except Problem as problem:
            if self._is_2:
                return self._v1.refusal(problem)
            return web.json_response({"detail": problem.detail}, status=problem.status)
        finally:
            self._in_flight[operation] -= 1

    async def _answer(
        self, request: web.Request, operation: str, handler: Callable[..., Awaitable[web.Response]]
    ) -> web.Response:
        ours = request.path.startswith("/api/v1/") is self._is_2
        if not ours or operation == "unknown" or "%2f" in request.rel_url.raw_path.lower():
            if self._is_2:
                return web.Response(status=404, text="<h1>Airflow 404 = lots of circles</h1>", content_type="text/html")
            return web.json_response({"error": "API route not found"}, status=404)
        if self.wanted_header and request.headers.get(self.wanted_header[0]) != self.wanted_header[1]:
            return web.Response(status=401, text="gateway: no")
        if operation not in OPEN:
            (self._v1.check_login if self._is_2 else self._check_token)(request)
        fault = self._take_fault(operation)
        return await (handler(request) if fault is None else self._go_wrong(fault, request, handler))

    async def _go_wrong(
        self, fault: Fault, request: web.Request, handler: Callable[..., Awaitable[web.Response]]
    ) -> web.Response:
        await request.read()
        status, after, _ = fault.kind.partition("_after")
        refusal = web.json_response({"detail": "asked to go wrong"}, status=int(status)) if status.isdigit() else None
        if refusal is not None and not after:
            return refusal
        if fault.kind == "cut":
            return _break(request)
        if fault.kind == "slow":
            await asyncio.sleep(fault.seconds)
        answer = await handler(request)
        if fault.kind == "slow_after":
            await asyncio.sleep(fault.seconds)
        if fault.kind == "lost":
            return _break(request)
        if fault.kind == "garbled":
            return web.Response(text="<html>", content_type="text/html")
        return refusal or answer

    def _take_fault(self, operation: str) -> Fault | None:
        for fault in self._faults:
            if fault.operation == operation:
                fault.left -= 1
                if fault.left <= 0:
                    self._faults.remove(fault)
                return fault
        return None

    # The log-in

    async def _log_in(self, request: web.Request) -> web.Response:
        body = await request.json()
        if not isinstance(body, dict) or not {"username", "password"} <= body.keys():
            raise Problem(422, f"1 validation error for LoginBody\n  Field required [input_value={body!r}]")
        if (body["username"], body["password"]) != (self.username, self.password):
            raise Problem(401, "Invalid credentials")
        now = time.time()
        claims = {
            "sub": self.username,
            "jti": secrets.token_hex(8),
            "nbf": now,
            "iat": now,
            "exp": now + self.token_seconds,
        }
        signed = ".".join(_base64(json.dumps(part).encode()) for part in ({"alg": "HS256", "typ": "JWT"}, claims))
        return web.json_response({"access_token": f"{signed}.{self._signature(signed)}"}, status=201)

    def _check_token(self, request: web.Request) -> None:
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise Problem(401, "Not authenticated")
        signed, _, signature = token.rpartition(".")
        if not hmac.compare_digest(signature, self._signature(signed)):
            raise Problem(403, "Invalid JWT token")
        payload = signed.split(".")[1]
        if json.loads(base64.urlsafe_b64decode(payload + "=="))["exp"] < time.time():
            raise Problem(401, "Token Expired")

    def _signature(self, signed: str) -> str:
        return _base64(hmac.digest(self._secret, signed.encode(), hashlib.sha256))

    # API v2

    async def _version(self, _: web.Request) -> web.Response:
        return web.json_response({"version": self.version, "git_version": None})

    async def _health(self, _: web.Request) -> web.Response:
        parts = ("metadatabase", "scheduler", "triggerer", "dag_processor")
        return web.json_response({part: {"status": "healthy"} for part in parts})

    async def _dags(self, request: web.Request) -> web.Response:
        dags = [{"dag_id": dag.dag_id, "is_paused": dag.paused} for dag in self.runs.dags.values()]
        limit = int(request.query.get("limit", "50"))
        return web.json_response({"dags": dags[:limit], "total_entries": len(dags)})

    async def _dag(self, request: web.Request) -> web.Response:
        dag = self.runs.dags.get(request.match_info["dag_id"])
        if dag is None:
            raise Problem(404, f"The Dag with ID: `{request.match_info['dag_id']}` was not found")
        return web.json_response(dag.document())

    async def _trigger(self, request: web.Request) -> web.Response:
        body = await _body(request, "trigger")
        if "logical_date" not in body:
            raise Problem(422, [{"type": "missing", "loc": ["body", "logical_date"], "msg": "Field required"}])
        conf = body.get("conf") if body.get("conf") is not None else {}
        if not isinstance(conf, dict):
            message = "Input should be a valid dictionary"
            raise Problem(422, [{"type": "dict_type", "loc": ["body", "conf"], "msg": message, "input": conf}])
        post = self.note_post(request.match_info["dag_id"], body.get("dag_run_id"), conf)
        run = self.runs.create(post.dag_id, post.run_id, conf)
        post.created = True
        return web.json_response(run.document())

    async def _get(self, request: web.Request) -> web.Response:
        return web.json_response(self._run(request).document())

    async def _patch(self, request: web.Request) -> web.Response:
        run, state = self._run(request), (await request.json()).get("state")
        if state not in ("queued", *ENDED):
            raise Problem(422, [{"type": "enum", "loc": ["body", "state"], "msg": "Input should be 'queued', …"}])
        self.runs.set_state(run, state)
        return web.json_response(run.document())

    async def _delete(self, request: web.Request) -> web.Response:
        run = self._run(request)
        if run.state == "running":
            raise Problem(
                409,
                f"The DagRun with dag_id: `{run.dag_id}` and run_id: `{run.run_id}` cannot be deleted in running state",
            )
        self.runs.delete(run)
        return web.Response(status=204)

    async def _clear(self, request: web.Request) -> web.Response:
        run = self._run(request)
        if not (await request.json()).get("dry_run", True):
            self.runs.clear(run)
        return web.json_response(run.document())

    async def _tasks(self, request: web.Request) -> web.Response:
        dag_id, run_id = request.match_info["dag_id"], request.match_info["run_id"]
        run = self.runs.by_id.get((dag_id, run_id))
        if run is None:
            raise Problem(404, f"DagRun with dag_id: `{dag_id}` and run_id: `{run_id}` was not found")
        tasks = [run.task()][int(request.query.get("offset", "0")) :]
        return web.json_response({"task_instances": tasks, "total_entries": 1})

    async def _list(self, request: web.Request) -> web.Response:
        body = await _body(request, "list")
        for index, state in enumerate(body.get("states") or []):
            if state not in (*ACTIVE, *ENDED):
                message = "Input should be 'queued', 'running', 'success' or 'failed'"
                raise Problem(422, [{"type": "enum", "loc": ["body", "states", index], "msg": message, "input": state}])
        runs = self.runs.select(body)
        offset = body.get("page_offset", 0)
        page = runs[offset : offset + body.get("page_limit", 100)]
        return web.json_response({"dag_runs": [run.document() for run in page], "total_entries": len(runs)})

    def _run(self, request: web.Request) -> FakeRun:
        return self.runs.find(request.match_info["dag_id"], request.match_info["run_id"])

    # Control of a fake in a process of its own

    async def _show_state(self, _: web.Request) -> web.Response:
        posts = [{**asdict(post), "at": show(post.at)} for post in self.posts]
        runs = [run.document() for run in self.runs.by_id.values()]
        peaks = {"triggers": self.peak_triggers, "requests": self.peak_requests, "runs": self.runs.peak}
        return web.json_response({"posts": posts, "runs": runs, "requests": dict(self.requests), "peaks": peaks})

    async def _control(self, request: web.Request) -> web.Response:
        arguments = await request.json() if request.can_read_body else {}
        controls: dict[str, Callable[..., None]] = {
            "fault": self.fault,
            "mend": self.mend,
            "dag": lambda **fields: self.add_dag(FakeDag(**fields)),
            "remove-dag": self.remove_dag,
            "delete-run": self.delete_run,
            "clear-run": self.clear_run,
            "forget-tokens": self.forget_tokens,
            "down": self._leave,
            "settings": self._set,
        }
        what = request.match_info["what"]
        if what not in controls:
            raise web.HTTPNotFound(text=f"no such control; there are {', '.join(controls)}")
        controls[what](**arguments)
        return web.json_response({})

    def _set(self, **settings: float) -> None:
        """Set parallelism, default_seconds or start_delay_seconds."""
        for name, value in settings.items():
            assert hasattr(self.runs, name), name
            setattr(self.runs, name, value)
        self.look_again()

    def _leave(self, seconds: float) -> None:
        """Be down for a while, and come up unasked: nobody could ask for it."""
        self._away = asyncio.get_running_loop().create_task(self._go_away(seconds))

    async def _go_away(self, seconds: float) -> None:
        await asyncio.sleep(0.05)  # the answer to this very request leaves first
        await self.down()
        await asyncio.sleep(seconds)
        await self.up()


async def _body(request: web.Request, operation: str) -> dict[str, Any]:
    body = await request.json()
    for name in body.keys() - BODIES[operation]:
        message = "Extra inputs are not permitted"
        raise Problem(422, [{"type": "extra_forbidden", "loc": ["body", name], "msg": message, "input": body[name]}])
    return body


def _break(request: web.Request) -> web.Response:
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


async def _serve(port: int, version: str) -> None:
    async with FakeAirflow(port, version=version) as fake:
        print(fake.url, flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="A fake Airflow for tests.")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--airflow", default=VERSION, help="its version")
    arguments = parser.parse_args()
    with suppress(KeyboardInterrupt):
        asyncio.run(_serve(arguments.port, arguments.airflow))
