"""Every kind of fault once, most of them two at a time: the history holds, and tables equal their changelogs."""

import random

import pytest

from tests.support import chaos_judges as judges
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


def test_what_is_committed_too_early_is_noticed(
    airflow: FakeAirflowProcess, registry: Registry, tmp_path_factory: pytest.TempPathFactory
) -> None:
    size = Size(partitions=1, workers=1, sabotage=("very_slow_results", "without_waiting_for_sends"))
    with stage(tmp_path_factory.mktemp("chaos"), airflow, registry, size) as scene:
        scene.crew.join(scene.crew.workers[0])
        scene.load.resume()
        told = judges.Told(scene)
        scene.crew.wait(lambda: _some(judges.forgotten(scene, told)))


def _some(found: list[str]) -> None:
    assert found
