from dataclasses import replace
from datetime import timedelta

import pytest

from streamapp.observe.figures import Figures
from streamapp.observe.health import LAPSED_AFTER, STALLED_AFTER, Progress, Reading, Uptake, live, ready

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
        ({"lease_remaining": -LAPSED_AFTER}, "no heartbeat for 0:10:00"),
        ({"untaken": {"commands": STALLED_AFTER}}, "no record of commands was taken in for 90 s, although some wait"),
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
        ({"lease_remaining": timedelta(0)}, "has run out"),
        ({"lease_remaining": timedelta(minutes=-9)}, "has run out"),
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
    assert ready(replace(WELL, lease_remaining=timedelta(milliseconds=1))).ok


def test_records_that_were_not_taken_in_for_a_while_are_no_reason_yet():
    assert live(replace(WELL, untaken={"commands": STALLED_AFTER - timedelta(seconds=1)})).ok


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


def uptake(*steps, held=()):
    """Look every ten seconds; answer for how long commands have waited in vain, at each look."""
    looks = Uptake()
    found = []
    for number, reading in enumerate(steps):
        readings = None if reading is None else {"commands": Reading(*reading)}
        found.append(looks.look(readings, held, 10.0 * number).get("commands"))
    return [None if waited is None else waited.total_seconds() for waited in found]


def test_uptake_is_counted_from_the_last_record_that_was_taken_in():
    assert uptake((5, 3), (5, 3), (5, 4), (6, 3), (6, 3)) == [0, 10, 20, 0, 10]


def test_with_nothing_to_be_taken_in_nobody_waits():
    assert uptake((5, 0), (5, 0), (5, 1), (5, 1)) == [None, None, 0, 10]


def test_what_is_not_known_does_not_count():
    assert uptake((5, 3), (5, 3), None, (5, 3), (5, 3)) == [0, 10, None, 0, 10]


def test_what_is_held_does_not_count():
    assert uptake((5, 3), (5, 3), held=("commands",)) == [None, None]


def test_another_assignment_begins_anew():
    assert uptake((500, 3), (500, 3), (20, 3), (20, 3)) == [0, 10, 0, 10]


def test_each_topic_has_its_own():
    looks = Uptake()
    for now in (0.0, 10.0):
        waited = looks.look({"a": Reading(1, 1), "b": Reading(int(now), 1)}, (), now)
    assert waited == {"a": timedelta(seconds=10), "b": timedelta(0)}
