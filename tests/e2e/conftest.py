"""Reads: nothing. Writes: one real Airflow and a mail server for all tests here, and installations around them.

They end with the tests here, not with all tests: an Airflow that is idle takes processors from the others.
"""

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from stack.config import HOST, ROOT
from tests.support import stack
from tests.support.airflow_api import AirflowApi
from tests.support.installation import Installation

BUNDLE = "airflow.dag_processing.bundles.local.LocalDagBundle"


@pytest.fixture(scope="package")
def mail(tmp_path_factory: pytest.TempPathFactory) -> Iterator[stack.Mail]:
    """Where Airflow's mails end up."""
    with stack.Mail(tmp_path_factory.mktemp("mail")) as mail:
        yield mail


@pytest.fixture(scope="package")
def deployed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of DAGs that tests change while Airflow runs."""
    return tmp_path_factory.mktemp("deployed")


@pytest.fixture(scope="package")
def hints() -> dict[str, str]:
    """The settings of a worker that takes the hints of Airflow's plugin; only one of a test can."""
    return {"hint_listen": f"{HOST}:{stack.free_port()}", "hint_secret": "what plugin and worker know"}


@pytest.fixture(scope="package")
def airflow_server(
    mail: stack.Mail, deployed: Path, hints: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[stack.Airflow]:
    """A real Airflow that has the DAGs of `dags/`, of these tests and of the folder `deployed`, and the plugin."""
    folders = {"e2e": Path(__file__).parent / "dags", "deployed": deployed}
    own = [{"name": name, "classpath": BUNDLE, "kwargs": {"path": str(path)}} for name, path in folders.items()]
    bundles = [{"name": "dags-folder", "classpath": BUNDLE, "kwargs": {}}, *own]
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST", json.dumps(bundles))
        environment.setenv("AIRFLOW__CORE__PLUGINS_FOLDER", str(ROOT / "airflow_plugin"))
        environment.setenv("STREAMAPP_HINT_TARGETS", hints["hint_listen"])
        environment.setenv("STREAMAPP_HINT_SECRET", hints["hint_secret"])
        with stack.Airflow(tmp_path_factory.mktemp("airflow"), smtp_port=mail.config.smtp_port) as server:
            yield server


@pytest.fixture(scope="package")
def airflow(airflow_server: stack.Airflow) -> Iterator[AirflowApi]:
    """Its API; runs are told apart by their app id."""
    server = airflow_server
    with closing(AirflowApi(server.url, server.username, server.password)) as api:
        yield api


@pytest.fixture
def install(
    kafka: stack.Kafka,
    registry: stack.Registry,
    airflow: AirflowApi,
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> Iterator[Callable[..., Installation]]:
    """Make an installation for one test, with topics; its workers are ended afterwards."""
    with ExitStack() as opened:

        def make(**settings: str) -> Installation:
            name = request.node.name.removeprefix("test_")
            made = opened.enter_context(Installation(name, tmp_path, kafka, airflow, registry.url, **settings))
            made.create_topics()
            return made

        yield make
