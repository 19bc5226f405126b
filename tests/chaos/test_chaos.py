"""Every kind of fault once, most of them two at a time: the history holds, and tables equal their changelogs."""

import random

import pytest

from tests.support.airflow_api import FakeAirflowProcess
from tests.support.chaos import play
from tests.support.chaos_faults import FAULTS, each_once
from tests.support.chaos_scene import Size, stage
from tests.support.stack import Registry

SEED = 20261123


@pytest.mark.timeout(1200)
def test_every_fault(airflow: FakeAirflowProcess, registry: Registry, tmp_path_factory: pytest.TempPathFactory) -> None:
    with stage(tmp_path_factory.mktemp("chaos"), airflow, registry, Size(partitions=4, seed=SEED)) as scene:
        report = play(scene, each_once(random.Random(SEED), company=1.0), settle_every=20)
    print(report)
    assert report.violations == []
    assert report.injected.keys() == FAULTS.keys()
