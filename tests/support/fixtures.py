"""Reads: nothing. Writes: a fake Airflow in a process of its own, and installations of the package around it."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from tests.support.airflow_api import FakeAirflowProcess
from tests.support.installation import Installation
from tests.support.stack import Kafka


@pytest.fixture(scope="session")
def airflow() -> Iterator[FakeAirflowProcess]:
    """One fake Airflow; runs are told apart by their app id."""
    with FakeAirflowProcess() as airflow:
        yield airflow


@pytest.fixture
def install(
    kafka: Kafka, airflow: FakeAirflowProcess, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[Callable[..., Installation]]:
    """Make an installation for one test, with topics; its workers are ended afterwards."""
    with ExitStack() as stack:

        def make(**arguments: object) -> Installation:
            name = request.node.name.removeprefix("test_")
            defaults = {"airflow": airflow, "kafka": kafka}
            made = stack.enter_context(Installation(name, tmp_path_factory.mktemp("w"), **(defaults | arguments)))
            made.create_topics()
            return made

        yield make
