"""Servers for the contract tests: a real Airflow, started once, and the fake."""

import json
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from tests.support import stack
from tests.support.fake_airflow import FakeAirflow
from tests.support.fake_runs import FakeDag

LOCAL_BUNDLE = "airflow.dag_processing.bundles.local.LocalDagBundle"


@dataclass(frozen=True)
class Server:
    """Where an Airflow is, and how to log in."""

    url: str
    username: str
    password: str


@pytest.fixture(scope="session")
def airflow_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A real Airflow that has the DAGs of `dags/` and of these tests."""
    own = {"name": "contract", "classpath": LOCAL_BUNDLE, "kwargs": {"path": str(Path(__file__).parent / "dags")}}
    bundles = [{"name": "dags-folder", "classpath": LOCAL_BUNDLE, "kwargs": {}}, own]
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST", json.dumps(bundles))
        with stack.Airflow(tmp_path_factory.mktemp("airflow")) as airflow:
            yield Server(airflow.url, airflow.username, airflow.password)


@pytest.fixture(scope="session")
def fake_server() -> Iterator[Server]:
    """The fake, with the same DAGs."""
    with FakeAirflow().in_thread() as fake:
        fake.add_dag(FakeDag("parked", paused=True))
        yield Server(fake.url, fake.username, fake.password)


@pytest.fixture(params=["fake", "real"])
def server(request: pytest.FixtureRequest) -> Server:
    """Each test runs against both."""
    return request.getfixturevalue("fake_server" if request.param == "fake" else "airflow_server")


@pytest.fixture
async def operator(server: Server) -> AsyncIterator[httpx.AsyncClient]:
    """A person with a browser, who may delete and clear runs."""
    async with httpx.AsyncClient(base_url=server.url, timeout=30) as client:
        body = {"username": server.username, "password": server.password}
        token = (await client.post("/auth/token", json=body)).json()["access_token"]
        client.headers["Authorization"] = f"Bearer {token}"
        yield client
