"""Reads: runs in Airflow, real or fake, over its REST API. Writes: runs that a test makes by hand."""

import subprocess
import sys
from typing import Any, Self

import httpx

from stack.config import HOST, ROOT
from tests.support.eventually import eventually
from tests.support.stack import free_port

PAGE = 100
TIMEOUT_SECONDS = 60.0
"""A real Airflow on a busy machine takes its time; nothing here measures it."""


class AirflowApi:
    """What tests ask an Airflow for, without any of the package's code."""

    def __init__(self, url: str, username: str, password: str) -> None:
        self.url = url
        self.username = username
        self.password = password
        self._client = httpx.Client(base_url=url, timeout=TIMEOUT_SECONDS)

    def runs(self, app_id: str) -> list[dict[str, Any]]:
        """All runs made for an installation, as Airflow shows them."""
        ours: dict[str, dict[str, Any]] = {}
        offset = 0
        while True:
            body = {"page_limit": PAGE, "page_offset": offset, "order_by": "run_after"}
            page = self._post("/api/v2/dags/~/dagRuns/list", body).json()
            for run in page["dag_runs"]:
                if ((run["conf"] or {}).get("_command") or {}).get("app_id") == app_id:
                    ours[run["dag_run_id"]] = run
            offset += len(page["dag_runs"])
            if not page["dag_runs"] or offset >= page["total_entries"]:
                return list(ours.values())

    def trigger(self, dag_id: str, run_id: str, conf: dict[str, Any]) -> None:
        """Make a run by hand."""
        self._post(f"/api/v2/dags/{dag_id}/dagRuns", {"dag_run_id": run_id, "conf": conf, "logical_date": None})

    def run(self, dag_id: str, run_id: str) -> dict[str, Any]:
        """One run."""
        run: dict[str, Any] = self.ask("GET", f"/dags/{dag_id}/dagRuns/{run_id}").raise_for_status().json()
        return run

    def ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> httpx.Response:
        """What a person can do in the pages."""
        self._log_in()
        return self._client.request(method, f"/api/v2{path}", json=body)

    def log_out(self) -> None:
        """Forget the token; the next request logs in."""
        self._client.headers.pop("Authorization", None)

    def close(self) -> None:
        """Close connections."""
        self._client.close()

    def _post(self, path: str, body: dict[str, Any]) -> httpx.Response:
        self._log_in()
        return self._client.post(path, json=body).raise_for_status()

    def _log_in(self) -> None:
        if "Authorization" not in self._client.headers:
            login = {"username": self.username, "password": self.password}
            token = self._client.post("/auth/token", json=login).raise_for_status().json()["access_token"]
            self._client.headers["Authorization"] = f"Bearer {token}"


class FakeAirflowProcess(AirflowApi):
    """The fake Airflow as a process of its own: it goes on whatever the test does meanwhile."""

    def __init__(self) -> None:
        self._port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        super().__init__(f"http://{HOST}:{self._port}", "admin", "admin-secret")

    def __enter__(self) -> Self:
        call = [sys.executable, "-m", "tests.support.fake_airflow", "--port", str(self._port)]
        call = ["setpriv", "--pdeathsig", "KILL", *call]
        self._process = subprocess.Popen(call, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        eventually(self.check_answers)
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def check_answers(self) -> None:
        """Fail while it is down."""
        try:
            self.state()
        except httpx.HTTPError as error:
            raise AssertionError(f"the fake Airflow does not answer: {error!r}") from None

    def state(self) -> dict[str, Any]:
        """Its posts, runs, requests and peaks."""
        state: dict[str, Any] = self._client.get("/_fake/state").raise_for_status().json()
        return state

    def control(self, what: str, **arguments: Any) -> None:
        """Change how it behaves; see the fake for what there is."""
        self._client.post(f"/_fake/{what}", json=arguments).raise_for_status()
