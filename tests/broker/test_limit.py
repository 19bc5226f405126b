"""What three workers together have in flight at Airflow, on a real Kafka."""

from pathlib import Path

import pytest

from tests.support.airflow_api import FakeAirflowProcess
from tests.support.eventually import eventually
from tests.support.installation import Installation, command
from tests.support.stack import Kafka
from tests.support.worker import Worker


def check_shared(workers: list[Worker], *, by: int) -> None:
    """So many workers have the permits of one of them."""
    told = [worker.get("/api/v1/status").json()["airflow"]["lender"] for worker in workers if worker.running]
    lenders = set(filter(None, told))
    assert len(lenders) == 1, told
    assert len(told) - told.count(None) == by - 1, told


@pytest.mark.parametrize("bound", [1, 3])
def test_three_workers_keep_the_bound_together(kafka: Kafka, tmp_path: Path, bound: int) -> None:
    """Each trigger takes 20 ms, so three workers on their own would meet at once."""
    with (
        FakeAirflowProcess() as airflow,
        Installation(f"limit-{bound}", tmp_path, kafka, airflow, airflow_max_in_flight=str(bound)) as site,
    ):
        site.create_topics()
        workers = site.start_workers("one", "two", "three")
        eventually(lambda: check_shared(workers, by=3))
        airflow.control("fault", operation="trigger", kind="slow", times=100_000, seconds=0.02)
        drafts = site.send(*[command(b"key-%d" % number) for number in range(60)])
        site.endings(drafts)
        assert airflow.state()["peaks"]["triggers"] <= bound
        lender = next(worker for worker in workers if worker.get("/api/v1/status").json()["airflow"]["lender"] is None)
        assert lender.terminate() == 0
        more = site.send(*[command(b"key-%d" % number) for number in range(60)])
        eventually(lambda: check_shared(workers, by=2))
        site.endings(more)
        assert site.violations() == []
