from datetime import timedelta

import pytest

from streamapp.dispatch.pace import Durations, pause_seconds, shortest_seconds, smoothed


@pytest.mark.parametrize(
    ("age", "waited_for", "pause"),
    [(0, True, 0), (0.5, True, 0.05), (10, True, 1), (3600, True, 2), (0, False, 0), (4, False, 1), (3600, False, 10)],
)
def test_a_look_is_a_share_of_the_age_away(age, waited_for, pause):
    assert pause_seconds(age, 0, waited_for=waited_for, foretold=False, soonest=0) == pytest.approx(pause)


@pytest.mark.parametrize(("age", "ago", "pause"), [(0.1, 0.05, 0.35), (0.4, 0.05, 0.04), (0.1, 3, 2)])
def test_before_an_end_is_to_be_expected_there_is_time(age, ago, pause):
    assert pause_seconds(age, ago, waited_for=True, foretold=False, soonest=0.4) == pytest.approx(pause)


@pytest.mark.parametrize(
    ("age", "waited_for", "pause"),
    [(0.1, True, 0.75), (1, True, 0.5), (10, True, 2), (0.1, False, 0.75), (10, False, 5), (3600, False, 10)],
)
def test_where_airflow_hints_at_ends_looks_are_for_lost_hints(age, waited_for, pause):
    assert pause_seconds(age, 0.05, waited_for=waited_for, foretold=True, soonest=0.4) == pytest.approx(pause)


def test_the_shortest_run_of_a_dag_tells_when_an_end_is_to_be_expected_and_is_forgotten_by_and_by():
    durations = Durations()
    assert durations.soonest("probe") == 0
    for seconds in (2, 1, 3):
        durations.note("probe", timedelta(seconds=seconds))
    assert durations.soonest("probe") == pytest.approx(0.88)
    for _ in range(20):
        durations.note("probe", timedelta(seconds=3))
    assert durations.soonest("probe") == pytest.approx(2.4)
    assert durations.soonest("other") == 0


def test_one_slow_answer_makes_no_slow_airflow():
    assert smoothed(7, 0.02) == pytest.approx(0.05)
    assert smoothed(7, 0.1) == pytest.approx(0.2)
    assert smoothed(0.02, 0.2) == pytest.approx(0.02)


def test_polls_take_a_third_of_the_time_at_most():
    assert shortest_seconds(0.1) == pytest.approx(0.2)
