"""Two workers under kills, terms and freezes, on 16 partitions: the history holds, tables equal their changelogs."""

import random

import pytest

from tests.support.airflow_api import FakeAirflowProcess
from tests.support.chaos import play
from tests.support.chaos_faults import counted
from tests.support.chaos_scene import Size, stage
from tests.support.stack import Registry

PARTS = (
    {"kill": 3, "kill and lose data": 1, "term": 4, "freeze": 2, "kill all": 1},
    {"kill": 3, "kill and lose data": 1, "term": 4, "freeze": 2, "kill all": 1},
    {"kill": 2, "kill and lose data": 2, "term": 4, "freeze": 2, "kill all": 1},
)
"""12 kills and two workers' three times, 12 orderly ends, 6 freezes; on installations of their own, side by side."""


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("part", range(len(PARTS)))
def test_kills_terms_and_freezes(
    airflow: FakeAirflowProcess, registry: Registry, tmp_path_factory: pytest.TempPathFactory, part: int
) -> None:
    plan = PARTS[part]
    size = Size(partitions=16, keys=60, per_second=12, run_seconds=(0.0, 0.05, 0.3), seed=20261123 + part)
    with stage(tmp_path_factory.mktemp("chaos"), airflow, registry, size) as scene:
        report = play(scene, counted(random.Random(size.seed), plan), settle_every=sum(plan.values()))
    print(report)
    assert report.violations == []
    assert report.injected == plan
