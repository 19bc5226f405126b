import pytest

from benchmarks.peers.judge import (
    Execution,
    Sent,
    bound_seconds,
    inversions,
    judge,
    overlaps,
    pace,
    percentile,
    start_to_start,
    unanswered,
)

SENT = [Sent("a", 100.0), Sent("a", 100.1), Sent("b", 100.2), Sent("a", 100.3)]


def run(number, start, end, *, task_started=True):
    return Execution(number, start, end, task_started, "success")


ORDERLY = [run(0, 101.0, 102.0), run(1, 102.0, 103.0), run(2, 101.5, 104.0), run(3, 103.5, 106.0)]


def test_an_orderly_way_has_no_faults():
    verdict = judge(SENT, ORDERLY)
    assert (verdict.runs, verdict.lost, verdict.repeated, verdict.never_started) == (4, 0, 0, 0)
    assert (verdict.overlaps, verdict.inversions) == (0, 0)
    assert verdict.seconds == pytest.approx(6.0)
    assert verdict.per_minute == pytest.approx(40.0)
    assert verdict.wait_p50 == pytest.approx(1.3)
    assert verdict.wait_p99 == pytest.approx(3.2)


def test_a_command_without_a_run_is_lost():
    verdict = judge(SENT, ORDERLY[:3])
    assert verdict.lost == 1
    assert verdict.seconds == pytest.approx(4.0)


def test_a_run_whose_task_never_started_executes_nothing():
    verdict = judge(SENT, [*ORDERLY[:3], run(3, 103.0, 103.1, task_started=False)])
    assert (verdict.lost, verdict.never_started, verdict.repeated) == (1, 1, 0)


def test_another_run_after_one_that_never_started_is_no_repetition():
    verdict = judge(SENT, [*ORDERLY, run(3, 102.5, 102.6, task_started=False)])
    assert (verdict.lost, verdict.never_started, verdict.repeated, verdict.overlaps) == (0, 1, 0, 0)


def test_a_second_run_of_a_command_is_a_repetition_and_comes_out_of_order():
    verdict = judge(SENT, [*ORDERLY, run(0, 107.0, 108.0)])
    assert (verdict.repeated, verdict.overlaps, verdict.inversions) == (1, 0, 2)
    assert verdict.seconds == pytest.approx(6.0), "what counts is the first time"


def test_keys_do_not_concern_each_other():
    assert judge(SENT, [run(2, 101.0, 110.0), run(0, 102.0, 103.0)]).overlaps == 0
    assert judge(SENT, [run(2, 101.0, 110.0), run(0, 102.0, 103.0)]).inversions == 0


def test_overlaps_counts_pairs():
    assert overlaps([run(0, 1, 5), run(1, 2, 3), run(3, 4, 6)]) == 2
    assert overlaps([run(0, 1, 2), run(1, 2, 3)]) == 0, "one may start at the moment at which the other ends"
    assert overlaps([run(0, 1, None), run(1, 7, 8)]) == 1, "what has not ended still runs"
    assert overlaps([run(0, None, None), run(1, 7, 8)]) == 0


def test_inversions_counts_pairs():
    assert inversions([run(0, 3, 4), run(1, 2, 3), run(3, 1, 2)]) == 3
    assert inversions([run(0, 1, 9), run(1, 2, 3)]) == 0
    assert inversions([run(0, 1, 2), run(0, 3, 4)]) == 0, "a command and itself have no order"


def test_nothing_was_run():
    verdict = judge(SENT, [])
    assert (verdict.lost, verdict.seconds, verdict.per_minute, verdict.wait_p50) == (4, None, None, None)


@pytest.mark.parametrize(
    ("commands", "hottest", "seconds"),
    [(120, 10, 24.0), (120, 45, 45.0)],
    ids=["Airflow's pace", "the hottest key"],
)
def test_the_bound_is_the_larger_of_two_times(commands, hottest, seconds):
    assert bound_seconds(commands, hottest, ceiling_per_minute=300, own_seconds=1.0) == pytest.approx(seconds)


@pytest.mark.parametrize(("percent", "value"), [(50, 5), (99, 10), (10, 1), (100, 10)])
def test_percentile(percent, value):
    assert percentile([10, 9, 8, 7, 6, 5, 4, 3, 2, 1], percent) == value
    assert percentile([], percent) is None


def test_airflow_alone():
    assert start_to_start([run(0, 1, 2), run(2, 5, 6), run(1, 2, 3)]) == pytest.approx(2.0)
    assert pace([run(0, 10, 12), run(1, 11, 15), run(2, 12, 16)]) == pytest.approx(30.0)


def test_answers_that_are_not_2xx():
    assert unanswered({"200": 7, "201": 1, "404": 2, "503": 1, "none": 3}) == 6
