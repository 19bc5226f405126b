from dataclasses import replace
from datetime import timedelta

import pytest

from streamapp.observe.figures import Figures
from streamapp.observe.health import STALLED_AFTER, Progress, live, ready

WELL = Figures(
    lease_remaining=timedelta(seconds=5),
    joined=True,
    rebalancing=False,
    restoring=False,
    accepting=True,
    partitions=(0, 1),
)


def test_a_worker_at_work_lives_and_is_ready():
    assert live(WELL).ok
    assert ready(WELL).ok


def test_a_worker_without_partitions_is_ready():
    assert ready(replace(WELL, partitions=())).ok


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"failed": "the broker refused a row"}, "the broker refused a row"),
        ({"lease_remaining": timedelta(0)}, "has run out"),
        ({"stalled": STALLED_AFTER, "folds_open": 3}, "no fold has ended for 90 s, although 3 are under way"),
    ],
)
def test_what_only_a_restart_mends(change, problem):
    for verdict in (live(replace(WELL, **change)), ready(replace(WELL, **change))):
        assert not verdict.ok
        assert problem in verdict.problems[0]


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"joined": False, "accepting": False}, "not joined"),
        ({"rebalancing": True, "accepting": False}, "given out anew"),
        ({"rebalancing": True}, "given out anew"),
        ({"restoring": True, "accepting": False}, "restored"),
        ({"accepting": False}, "rebuilt"),
    ],
)
def test_what_passes_by_itself_is_no_reason_to_restart(change, problem):
    figures = replace(WELL, **change)
    assert live(figures).ok
    assert len(ready(figures).problems) == 1
    assert problem in ready(figures).problems[0]


def test_a_lease_about_to_end_is_still_a_lease():
    assert live(replace(WELL, lease_remaining=timedelta(milliseconds=1))).ok


def test_progress_is_counted_from_the_last_end():
    progress = Progress()
    assert progress.look(under_way=2, ended=0, now=100.0) == timedelta(0)
    assert progress.look(under_way=2, ended=0, now=130.0) == timedelta(seconds=30)
    assert progress.look(under_way=2, ended=1, now=140.0) == timedelta(0)
    assert progress.look(under_way=1, ended=1, now=150.0) == timedelta(seconds=10)


def test_with_nothing_under_way_nothing_stalls():
    progress = Progress()
    progress.look(under_way=0, ended=7, now=0.0)
    assert progress.look(under_way=0, ended=7, now=1000.0) == timedelta(0)
    assert progress.look(under_way=1, ended=7, now=1001.0) == timedelta(seconds=1)
