from dataclasses import replace

import pytest

from streamapp.cli.standing import Standings
from streamapp.core.model import RunState, Status
from tests.support.builders import AT, SECOND, source
from tests.support.rounds import said


def told(*outcomes):
    """How one command stands whose outcomes come in this order, a second after each other."""
    known = Standings()
    for number, outcome in enumerate(outcomes):
        known.note(replace(outcome, command_id="a", at=AT + number * SECOND))
    return known.of("a").status, known.ended("a")


ACCEPTED, TRIGGERED = said(0, Status.ACCEPTED, attempt=0), said(0, Status.TRIGGERED)
CANCELLED, SUCCEEDED = said(0, Status.CANCELLED), said(0, Status.SUCCEEDED)


def test_a_command_of_which_nothing_is_said():
    known = Standings()
    assert known.of("a") is None
    assert not known.ended("a")


@pytest.mark.parametrize("answer", [Status.INSTRUCTION_APPLIED, Status.INSTRUCTION_REFUSED])
def test_an_answer_to_an_instruction_changes_nothing(answer):
    of_it, of_nobody = said(0, answer, control_id="x"), replace(said(7, answer), source=source(7, partition=1))
    assert told(SUCCEEDED, of_it, of_nobody) == (Status.SUCCEEDED, True)
    assert told(TRIGGERED, of_it, of_nobody) == (Status.TRIGGERED, False)


def test_a_second_record_with_the_id_does_not_end_the_first():
    duplicate = said(1, Status.DUPLICATE, attempt=0)
    assert told(TRIGGERED, duplicate) == (Status.TRIGGERED, False)
    assert told(TRIGGERED, duplicate, SUCCEEDED) == (Status.SUCCEEDED, True)


def test_a_duplicate_alone_says_nothing_of_the_first():
    assert told(said(1, Status.DUPLICATE, attempt=0)) == (Status.DUPLICATE, False)


def test_a_duplicate_on_another_partition_is_seen_by_airflow_only():
    there = [
        replace(outcome, source=source(0, partition=1))
        for outcome in (ACCEPTED, said(0, Status.RUN_ENDED, result=RunState.DUPLICATE), said(0, Status.DUPLICATE))
    ]
    assert told(SUCCEEDED, there[0]) == (Status.ACCEPTED, False)
    assert told(SUCCEEDED, *there) == (Status.SUCCEEDED, True)
    assert told(TRIGGERED, *there) == (Status.TRIGGERED, False)


def test_a_rejected_record_leaves_the_id_to_the_others():
    rejected = said(1, Status.REJECTED, attempt=0)
    assert told(rejected) == (Status.REJECTED, True)
    assert told(TRIGGERED, rejected) == (Status.TRIGGERED, False)
    assert told(rejected, TRIGGERED) == (Status.TRIGGERED, False)


def test_what_comes_again_late_changes_nothing():
    assert told(ACCEPTED, TRIGGERED, CANCELLED, ACCEPTED, TRIGGERED) == (Status.CANCELLED, True)


def test_the_next_round_counts():
    assert told(said(0, Status.FAILED), said(1, Status.ACCEPTED, attempt=0, round_=2)) == (Status.ACCEPTED, False)
