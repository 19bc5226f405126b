"""Hints of a real Airflow reach a worker, and change nothing but the time."""

from collections.abc import Callable

import pytest

from tests.support.eventually import eventually
from tests.support.installation import Installation, command


@pytest.mark.timeout(300, func_only=True)
def test_a_hint_of_the_real_scheduler_is_taken(install: Callable[..., Installation], hints: dict[str, str]) -> None:
    site = install(**hints)
    [worker] = site.start_workers("one")
    sent = site.send(*[command(b"k", seconds=0) for _ in range(3)])
    assert {ending["status"] for ending in site.endings(sent, seconds=120).values()} == {"succeeded"}

    def check_taken() -> None:
        assert 'streamapp_hints_total{use="taken"}' in worker.get("/metrics").text

    eventually(check_taken)
    assert 'use="refused"' not in worker.get("/metrics").text
    assert site.violations() == []
