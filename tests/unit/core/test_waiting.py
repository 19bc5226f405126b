from datetime import timedelta

import pytest

from streamapp.core.model import Ordering, Status
from streamapp.core.waiting import Surroundings, waiting_for
from tests.support.builders import AT, entry, policy

HOUR = timedelta(hours=1)


def sentence(about, head=None, now=AT, **around):
    return waiting_for(about, head=head, around=Surroundings(**around), now=now)


@pytest.mark.parametrize("status", [status for status in Status if status.terminal])
def test_what_has_ended_waits_for_nothing(status):
    assert sentence(entry(status=status), head=0) is None


def test_behind_another_of_its_key():
    assert sentence(entry(7), head=3) == "its turn: commands-0-3 is the first in the queue of its key"


def test_the_first_of_its_key_comes_next():
    expected = "its start, which comes next; 2 runs of probe are under way here, 16 may be"
    assert sentence(entry(3), head=3, running=2, cap=16) == expected
    assert sentence(entry(3), head=3) == "its start, which comes next; 0 runs of probe are under way here"


def test_room_for_its_dag():
    expected = "the end of another run: 2 runs of probe are under way here, 2 may be"
    assert sentence(entry(3), head=3, running=2, cap=2) == expected
    assert sentence(entry(3), head=3, running=2, cap=2, paused=True) == f"{expected}; probe is paused in Airflow"


def test_an_airflow_that_is_down():
    assert sentence(entry(3), head=3, outage="no log-in") == "Airflow, to which nothing is sent just now: no log-in"
    assert "its turn" in sentence(entry(7), head=3, outage="no log-in")


def test_the_run_of_a_paused_dag():
    running = entry(status=Status.TRIGGERED, run_id="run-1")
    assert sentence(running, head=0, paused=True) == "the end of its run run-1: the DAG is paused in Airflow"


def test_a_command_without_order_waits_for_nobody():
    free = entry(7, policy=policy(ordering=Ordering.NONE))
    assert "comes next" in sentence(free, head=3)


def test_not_before_a_time():
    later = entry(not_before=AT + HOUR)
    assert sentence(later, head=0) == "its time: not before 2026-01-01T13:00:00.000Z"
    assert "comes next" in sentence(later, head=0, now=AT + HOUR)


def test_its_turn_is_told_before_its_time():
    assert "its turn" in sentence(entry(7, not_before=AT + HOUR), head=3)


def test_another_attempt():
    failed = entry(status=Status.ATTEMPT_FAILED, attempt=1, not_before=AT + HOUR)
    assert sentence(failed, head=0) == "its next attempt: not before 2026-01-01T13:00:00.000Z"


def test_a_run():
    assert sentence(entry(status=Status.TRIGGERED, run_id="run-1"), head=0) == "the end of its run run-1"
    assert sentence(entry(status=Status.TRIGGERED), head=0) == "the end of its run"


def test_a_verdict_that_waits_for_airflow():
    ending = entry(ending=Status.EXPIRED, not_before=AT + HOUR)
    assert sentence(ending, head=0) == "word from Airflow whether a run was created; without one it ends as expired"


def test_an_operator():
    assert sentence(entry(status=Status.BLOCKED), head=0) == "an operator: it has failed and holds its key"
