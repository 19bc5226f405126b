"""All guarantees, with a real Airflow, while workers, the broker, the registry and Airflow's API come and go."""

import random

import pytest

from tests.support.airflow_api import AirflowApi
from tests.support.chaos import play
from tests.support.chaos_faults import counted
from tests.support.chaos_scene import Size, stage
from tests.support.stack import Registry

SIZE = Size(partitions=4, keys=6, per_second=0.5, run_seconds=(0.0, 0.2), seed=20261123)
PLAN = {"kill": 2, "kill all": 1, "term": 1, "freeze": 1, "airflow down": 2, "registry down": 1, "broker restart": 1}


@pytest.mark.timeout(1200, func_only=True)
def test_faults_around_a_real_airflow(
    airflow: AirflowApi, registry: Registry, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with stage(tmp_path_factory.mktemp("chaos"), airflow, registry, SIZE) as scene:
        report = play(scene, counted(random.Random(SIZE.seed), PLAN), settle_every=10)
    print(report)
    assert report.violations == []
    assert report.injected == PLAN
