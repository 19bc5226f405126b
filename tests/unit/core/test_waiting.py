from datetime import timedelta

import pytest

from streamapp.core.model import Ordering, Reason, Standing, Status
from streamapp.core.waiting import ALL_DAGS, KEY, Ahead, Stop, Surroundings, its_dag, waiting_for
from tests.support.builders import AT, entry, policy

HOUR = timedelta(hours=1)
FIRST = entry(3, id="order-3")
BEFORE = "commands of its key are before it; the first, order-3"
STANDING = Standing(stopped=True, by="ann", reason="mail is down", at=AT)


def sentence(about, now=AT, **around):
    return waiting_for(about, around=Surroundings(**around), now=now)


@pytest.mark.parametrize("status", [status for status in Status if status.terminal])
def test_what_has_ended_waits_for_nothing(status):
    assert sentence(entry(status=status), ahead=Ahead(first=FIRST, waits="x")) is None


@pytest.mark.parametrize(
    ("ahead", "expected"),
    [
        ({}, "its turn: order-3 (commands-0-3), the first of its key, waits for its run"),
        (
            {"count": 1},
            "its turn: one command of its key is before it, order-3 (commands-0-3), and waits for its run",
        ),
        (
            {"count": 4},
            f"its turn: 4 {BEFORE} (commands-0-3), waits for its run",
        ),
        (
            {"count": 1000, "more": True},
            f"its turn: at least 1000 {BEFORE} (commands-0-3), waits for its run",
        ),
    ],
)
def test_behind_others_of_its_key(ahead, expected):
    assert sentence(entry(7), ahead=Ahead(first=FIRST, waits="its run", **ahead)) == expected


def test_behind_one_that_has_just_ended():
    expected = "its turn: order-3 (commands-0-3), the first of its key, is about to leave"
    assert sentence(entry(7), ahead=Ahead(first=FIRST, waits=None)) == expected


def test_the_first_of_its_key_comes_next():
    expected = "its start, which comes next; 2 runs of probe are under way here, 16 may be"
    assert sentence(entry(3), running=2, cap=16) == expected
    assert sentence(entry(3)) == "its start, which comes next; 0 runs of probe are under way here"


def test_room_for_its_dag():
    expected = "the end of another run: 2 runs of probe are under way here, 2 may be"
    assert sentence(entry(3), running=2, cap=2) == expected
    assert sentence(entry(3), running=2, cap=2, paused=True) == f"{expected}; probe is paused in Airflow"


def test_an_airflow_that_is_down():
    assert sentence(entry(3), outage="no log-in") == "Airflow, to which nothing is sent just now: no log-in"
    assert sentence(entry(3), outage="no log-in", outage_since=AT) == (
        "Airflow, to which nothing is sent since 2026-01-01T12:00:00.000Z: no log-in"
    )


def test_a_worker_that_starts_nothing():
    said = sentence(entry(3), trouble="the table is being restored", outage="no log-in")
    assert said == "its worker, which starts nothing just now: the table is being restored"


def test_a_try_in_vain_and_one_under_way():
    assert sentence(entry(3), next_try=AT + HOUR) == (
        "the next try: Airflow was asked for its run in vain, and is asked again at 2026-01-01T13:00:00.000Z"
    )
    assert "comes next" in sentence(entry(3), next_try=AT)
    assert sentence(entry(3), asked=True) == "its run: Airflow is being asked for it"


@pytest.mark.parametrize(
    ("what", "expected"),
    [
        (KEY, "its key to be released: on hold since 2026-01-01T12:00:00.000Z by ann: mail is down"),
        (its_dag("probe"), "the DAG probe to be resumed: paused since 2026-01-01T12:00:00.000Z by ann: mail is down"),
        (ALL_DAGS, "all DAGs to be resumed: paused since 2026-01-01T12:00:00.000Z by ann: mail is down"),
    ],
)
def test_an_operator_has_stopped_it(what, expected):
    assert sentence(entry(3), stops=(Stop(what, STANDING),), trouble="x") == expected
    assert "is being stopped" not in sentence(entry(status=Status.TRIGGERED), stops=(Stop(what, STANDING),))


def test_all_that_puts_it_off_is_told():
    silent = Standing(stopped=True, by="ann", at=AT)
    assert sentence(entry(3, not_before=AT + HOUR), stops=(Stop(KEY, silent), Stop(ALL_DAGS, STANDING))) == (
        "its time: not before 2026-01-01T13:00:00.000Z, "
        "and for its key to be released: on hold since 2026-01-01T12:00:00.000Z by ann, "
        "and for all DAGs to be resumed: paused since 2026-01-01T12:00:00.000Z by ann: mail is down"
    )


def test_the_run_of_a_paused_dag():
    running = entry(status=Status.TRIGGERED, run_id="run-1")
    assert sentence(running, paused=True) == "the end of its run run-1: the DAG is paused in Airflow"


def test_a_command_without_order_waits_for_nobody():
    assert "comes next" in sentence(entry(7, policy=policy(ordering=Ordering.NONE)))


def test_not_before_a_time():
    later = entry(not_before=AT + HOUR)
    assert sentence(later) == "its time: not before 2026-01-01T13:00:00.000Z"
    assert "comes next" in sentence(later, now=AT + HOUR)


def test_its_turn_is_told_before_its_time():
    assert "its turn" in sentence(entry(7, not_before=AT + HOUR), ahead=Ahead(first=FIRST, waits="x"), outage="y")


def test_another_attempt():
    failed = entry(status=Status.ATTEMPT_FAILED, attempt=1, not_before=AT + HOUR)
    assert sentence(failed) == "its next attempt: not before 2026-01-01T13:00:00.000Z"


def test_a_run():
    assert sentence(entry(status=Status.TRIGGERED, run_id="run-1")) == "the end of its run run-1"
    assert sentence(entry(status=Status.TRIGGERED)) == "the end of its run"


def test_a_run_that_is_being_stopped():
    ending = entry(status=Status.TRIGGERED, run_id="run-1", ending=Status.CANCELLED)
    assert sentence(ending, paused=True) == "the end of its run run-1, which is being stopped"


def test_a_verdict_that_waits_for_airflow():
    ending = entry(ending=Status.EXPIRED, not_before=AT + HOUR)
    assert sentence(ending) == "word from Airflow whether a run was created; without one it ends as expired"


def test_an_operator():
    blocked = entry(status=Status.BLOCKED, at=AT, reason=Reason.RUN_FAILED, detail="the run failed")
    expected = "an operator: it has failed, and blocks its key since 2026-01-01T12:00:00.000Z"
    assert sentence(blocked) == f"{expected} (run_failed: the run failed)"
    assert sentence(entry(status=Status.BLOCKED, at=AT)) == expected
