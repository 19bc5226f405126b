"""Two workers under kills, terms and freezes, on 16 partitions: the history holds, tables equal their changelogs."""

import random

import pytest

from tests.support.airflow_api import FakeAirflowProcess
from tests.support.chaos import play
from tests.support.chaos_faults import counted
from tests.support.chaos_scene import Size, stage
from tests.support.stack import Registry

SIZE = Size(partitions=16, keys=60, per_second=12, run_seconds=(0.0, 0.05, 0.3), seed=20261123)
PLAN = {"kill": 8, "kill and lose data": 4, "term": 12, "freeze": 6, "kill all": 3}


@pytest.mark.timeout(1200)
def test_kills_terms_and_freezes(
    airflow: FakeAirflowProcess, registry: Registry, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with stage(tmp_path_factory.mktemp("chaos"), airflow, registry, SIZE) as scene:
        report = play(scene, counted(random.Random(SIZE.seed), PLAN), settle_every=33)
    print(report)
    assert report.violations == []
    assert report.injected == PLAN
