"""Servers for the contract tests: a real Airflow 3 and a real Airflow 2, each started once, and fakes of both."""

import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from stack.config import ROOT
from streamapp.settings import Settings
from tests.support import fake_v1, stack
from tests.support.fake_airflow import VERSION, FakeAirflow
from tests.support.fake_runs import FakeDag

LOCAL_BUNDLE = "airflow.dag_processing.bundles.local.LocalDagBundle"
DAGS = Path(__file__).parent / "dags"


@dataclass(frozen=True)
class Server:
    """Where an Airflow is, and how to log in."""

    url: str
    username: str
    password: str
    api: str

    def settings(self, **others: Any) -> Settings:
        """The settings of a worker for it."""
        log_in = {"airflow_username": self.username, "airflow_password": self.password}
        return Settings(**({"airflow_url": self.url} | log_in | others))


@contextmanager
def fake(version: str, api: str) -> Iterator[Server]:
    """The fake, with the DAGs of the real ones."""
    with FakeAirflow(version=version).in_thread() as airflow:
        airflow.add_dag(FakeDag("parked", paused=True))
        yield Server(airflow.url, airflow.username, airflow.password, api)


@contextmanager
def airflow_3(directory: Path) -> Iterator[Server]:
    """A real Airflow 3 that has the DAGs of `dags/` and of these tests."""
    own = {"name": "contract", "classpath": LOCAL_BUNDLE, "kwargs": {"path": str(DAGS)}}
    bundles = [{"name": "dags-folder", "classpath": LOCAL_BUNDLE, "kwargs": {}}, own]
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST", json.dumps(bundles))
        with stack.Airflow(directory) as airflow:
            yield Server(airflow.url, airflow.username, airflow.password, "/api/v2")


@contextmanager
def airflow_2(directory: Path) -> Iterator[Server]:
    """A real Airflow 2 that has the same DAGs."""
    folder = directory / "dags"
    folder.mkdir()
    for file in (*DAGS.glob("*.py"), *(ROOT / "dags").glob("*.py")):
        (folder / file.name).symlink_to(file)
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("AIRFLOW__CORE__DAGS_FOLDER", str(folder))
        with stack.Airflow2(directory) as airflow:
            yield Server(airflow.url, airflow.username, airflow.password, "/api/v1")


SERVERS: dict[str, Callable[[Path], AbstractContextManager[Server]]] = {
    "fake_3": lambda _: fake(VERSION, "/api/v2"),
    "fake_2": lambda _: fake(fake_v1.VERSION, "/api/v1"),
    "airflow_3": airflow_3,
    "airflow_2": airflow_2,
}


# The scope keeps the tests of one server together: it ends before the next one starts, and with the tests here.
@pytest.fixture(scope="package", params=SERVERS)
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Each test runs against all of them."""
    with SERVERS[request.param](tmp_path_factory.mktemp(request.param)) as server:
        yield server


@pytest.fixture
async def operator(server: Server) -> AsyncIterator[httpx.AsyncClient]:
    """A person with a browser, who may delete and clear runs."""
    async with httpx.AsyncClient(base_url=server.url, timeout=30) as client:
        if server.api == "/api/v1":
            client.auth = httpx.BasicAuth(server.username, server.password)
        else:
            body = {"username": server.username, "password": server.password}
            token = (await client.post("/auth/token", json=body)).json()["access_token"]
            client.headers["Authorization"] = f"Bearer {token}"
        yield client
