"""Reads: the folder of each test. Writes: markers, and the parts of the stack that all tests of a session share."""

import os
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

from tests.support.stack import Kafka, Registry

pytest_plugins = ["tests.support.fixtures"]

TESTS = Path(__file__).parent
KINDS = {
    "unit": "no I/O",
    "properties": "generated cases, no I/O",
    "simulator": "the real core and moving parts with modelled logs, Airflow and time",
    "contract": "one suite on the real thing and on its fake",
    "broker": "a real Kafka and a fake Airflow",
    "e2e": "everything real",
    "chaos": "everything real, and killed",
    "docs": "what the documentation says",
    "dags": "DAGs in Airflow's own environment",
}


def pytest_configure(config: pytest.Config) -> None:
    """Know the markers, time no example, and start from an environment without settings."""
    hypothesis.settings.register_profile("untimed", deadline=None)  # a busy machine is no failure
    hypothesis.settings.load_profile("untimed")
    for kind, what in KINDS.items():
        config.addinivalue_line("markers", f"{kind}: {what}")
    for name in list(os.environ):
        if name.startswith(("STREAMAPP_", "STACK_")):
            del os.environ[name]


@pytest.hookimpl(tryfirst=True)  # xdist reads the groups in a hook of its own
def pytest_collection_modifyitems(items: list[pytest.Function]) -> None:
    """Mark each test with its folder's name, and with those that are to run in the same process."""
    for item in items:
        folder = item.path.relative_to(TESTS).parts[0]
        if folder in KINDS:
            item.add_marker(folder)
        if group := _shared(item, folder):
            item.add_marker(pytest.mark.xdist_group(group))


def _shared(item: pytest.Function, folder: str) -> str | None:
    """What is started for several tests, and slow to start."""
    if folder == "contract" and "server" in item.fixturenames:
        return f"contract {item.callspec.params['server']}"
    if "airflow_server" in item.fixturenames:
        return "airflow"
    return None if folder == "chaos" else item.path.name


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kafka]:
    """One broker for all tests that bring their own topics."""
    with Kafka(tmp_path_factory.mktemp("kafka")) as kafka:
        yield kafka


@pytest.fixture(scope="session")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """One schema registry."""
    with Registry(tmp_path_factory.mktemp("registry")) as registry:
        yield registry
