from datetime import timedelta

from streamapp.airflow.breaker import BLAMED_FOR, FAILURES, FIRST_PAUSE, LONGEST_PAUSE, Breaker, BreakerState


def opened():
    breaker = Breaker()
    for number in range(FAILURES):
        breaker.failed(f"dag{number}", "no connection", 0.0)
    breaker.is_not_well("no connection")
    return breaker


def test_a_few_failures_in_a_row_raise_the_question_how_airflow_is():
    breaker = Breaker()
    asked = [breaker.failed("probe", "500", float(n)) for n in range(FAILURES)]
    assert asked == [False] * (FAILURES - 1) + [True]
    assert (breaker.state, breaker.passes, breaker.pause) == (BreakerState.SUSPECTED, False, timedelta())


def test_any_good_answer_in_between_says_that_it_is_well():
    breaker = Breaker()
    for n in range(5 * FAILURES):
        assert not breaker.failed("probe", "500", float(n))
        if n % (FAILURES - 1) == 0:
            breaker.answered("other")
    assert breaker.passes


def test_where_airflow_is_well_what_failed_is_to_blame_and_stops_nobody():
    breaker = Breaker()
    for n in range(FAILURES):
        breaker.failed("bad", "500", float(n))
    breaker.is_well(3.0)
    assert (breaker.state, breaker.opened) == (BreakerState.CLOSED, 0)
    assert not any(breaker.failed("bad", "500", 4.0 + n) for n in range(20))
    assert breaker.passes


def test_blame_ends_with_a_good_answer_or_after_a_while():
    for mend in (True, False):
        breaker = Breaker()
        for _ in range(FAILURES):
            breaker.failed("bad", "500", 0.0)
        breaker.is_well(0.0)
        later = 1.0 if mend else BLAMED_FOR.total_seconds() + 1
        if mend:
            breaker.answered("bad")
        asked = [breaker.failed("bad", "500", later) for _ in range(FAILURES)]
        assert asked[-1]


def test_what_is_blamed_does_not_hide_an_outage():
    breaker = Breaker()
    for _ in range(FAILURES):
        breaker.failed("bad", "500", 0.0)
    breaker.is_well(0.0)
    asked = [breaker.failed(subject, "no connection", 1.0) for subject in ("bad", "one", "bad", "two", "one")]
    assert asked == [False, False, False, False, True]


def test_while_it_is_not_well_nothing_passes_and_the_question_is_asked_ever_more_seldom():
    breaker = opened()
    assert (breaker.state, breaker.passes, breaker.opened) == (BreakerState.OPEN, False, 1)
    pauses = []
    for _ in range(8):
        pauses.append(breaker.pause)
        breaker.is_not_well("no connection")
    assert pauses[:3] == [FIRST_PAUSE, FIRST_PAUSE * 2, FIRST_PAUSE * 4]
    assert pauses[-1] == LONGEST_PAUSE
    assert breaker.opened == 1


def test_it_half_opens_and_closes_with_the_first_answer():
    breaker = opened()
    breaker.is_well(9.0)
    assert (breaker.state, breaker.passes) == (BreakerState.HALF_OPEN, True)
    breaker.answered("probe")
    assert breaker.state is BreakerState.CLOSED


def test_a_failure_while_it_is_half_open_opens_it_at_once():
    breaker = opened()
    breaker.is_well(9.0)
    assert breaker.failed("probe-2", "no connection", 10.0)
    assert breaker.state is BreakerState.OPEN


def test_one_bad_dag_keeps_it_half_open_for_the_others():
    breaker = opened()
    breaker.is_well(9.0)
    assert breaker.failed("bad", "500", 10.0)
    breaker.is_well(11.0)
    assert not breaker.failed("bad", "500", 12.0)
    assert breaker.passes
    breaker.answered("good")
    assert breaker.state is BreakerState.CLOSED


def test_what_was_sent_before_and_fails_late_changes_nothing():
    breaker = opened()
    assert not breaker.failed("late", "time-out", 5.0)
    breaker.answered("late, too")
    assert breaker.state is BreakerState.OPEN
