"""Servers for the contract tests: a real Airflow 3 and a real Airflow 2, each started once, and fakes of both."""

import json
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from stack.config import ROOT
from streamapp.settings import Settings
from tests.support import fake_v1, stack
from tests.support.fake_airflow import FakeAirflow
from tests.support.fake_runs import FakeDag

LOCAL_BUNDLE = "airflow.dag_processing.bundles.local.LocalDagBundle"
DAGS = Path(__file__).parent / "dags"


@dataclass(frozen=True)
class Server:
    """Where an Airflow is, and how to log in."""

    url: str
    username: str
    password: str
    api: str = "/api/v2"

    def settings(self, **others: Any) -> Settings:
        """The settings of a worker for it."""
        log_in = {"airflow_username": self.username, "airflow_password": self.password}
        return Settings(**({"airflow_url": self.url} | log_in | others))


@pytest.fixture(scope="session")
def airflow_3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A real Airflow 3 that has the DAGs of `dags/` and of these tests."""
    own = {"name": "contract", "classpath": LOCAL_BUNDLE, "kwargs": {"path": str(DAGS)}}
    bundles = [{"name": "dags-folder", "classpath": LOCAL_BUNDLE, "kwargs": {}}, own]
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST", json.dumps(bundles))
        with stack.Airflow(tmp_path_factory.mktemp("airflow")) as airflow:
            yield Server(airflow.url, airflow.username, airflow.password)


@pytest.fixture(scope="session")
def airflow_2(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A real Airflow 2 that has the same DAGs."""
    directory = tmp_path_factory.mktemp("airflow2")
    folder = directory / "dags"
    folder.mkdir()
    for file in (*DAGS.glob("*.py"), *(ROOT / "dags").glob("*.py")):
        (folder / file.name).symlink_to(file)
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("AIRFLOW__CORE__DAGS_FOLDER", str(folder))
        with stack.Airflow2(directory) as airflow:
            yield Server(airflow.url, airflow.username, airflow.password, "/api/v1")


@pytest.fixture(scope="session")
def fake_3() -> Iterator[Server]:
    """The fake, with the same DAGs."""
    with FakeAirflow().in_thread() as fake:
        fake.add_dag(FakeDag("parked", paused=True))
        yield Server(fake.url, fake.username, fake.password)


@pytest.fixture(scope="session")
def fake_2() -> Iterator[Server]:
    """The fake as an Airflow 2."""
    with FakeAirflow(version=fake_v1.VERSION).in_thread() as fake:
        fake.add_dag(FakeDag("parked", paused=True))
        yield Server(fake.url, fake.username, fake.password, "/api/v1")


# The scope keeps the tests of one server together: no two real Airflows run at a time.
@pytest.fixture(scope="session", params=["fake_3", "fake_2", "airflow_3", "airflow_2"])
def server(request: pytest.FixtureRequest) -> Server:
    """Each test runs against all of them."""
    return request.getfixturevalue(request.param)


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
