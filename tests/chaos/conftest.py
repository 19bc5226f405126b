"""Reads: nothing. Writes: a fake Airflow in a process of its own, which outlives the workers' deaths."""

from collections.abc import Iterator

import pytest

from tests.support.airflow_api import FakeAirflowProcess


@pytest.fixture(scope="session")
def airflow() -> Iterator[FakeAirflowProcess]:
    """One fake Airflow."""
    with FakeAirflowProcess() as airflow:
        yield airflow
