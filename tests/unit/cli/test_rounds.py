from dataclasses import replace

import pytest

from streamapp.cli.rounds import Followed
from streamapp.core.model import Reopens, RunState, Status
from tests.support.builders import source
from tests.support.rounds import rounds, said


def test_the_furthest_outcome_counts_however_late_another_comes_again():
    known = rounds(
        said(0, Status.ACCEPTED, attempt=0),
        said(0, Status.TRIGGERED),
        said(0, Status.FAILED),
        said(0, Status.TRIGGERED),
    )
    assert known.told((0, 0)).last.status is Status.FAILED


def test_a_blocked_command_is_blocked_until_an_instruction_was_followed():
    blocked, retry = said(0, Status.BLOCKED), said(0, Status.INSTRUCTION_APPLIED, control_id="x")
    refused = said(0, Status.INSTRUCTION_REFUSED, control_id="x")
    assert rounds(blocked).told((0, 0)).blocked
    assert rounds(blocked, refused).told((0, 0)).blocked
    assert not rounds(blocked, retry).told((0, 0)).blocked
    assert not rounds(blocked, retry, blocked).told((0, 0)).blocked
    assert rounds(blocked, retry, said(0, Status.BLOCKED, attempt=2)).told((0, 0)).blocked


def test_what_is_said_of_a_key_is_said_of_no_command():
    of_a_key = replace(said(0, Status.INSTRUCTION_APPLIED), source=replace(source(0), topic="commands-control"))
    assert rounds(of_a_key).told((0, 0)) is None


def test_a_record_that_has_opened_the_next_round_follows():
    known = rounds(
        said(5, Status.REJECTED, round_=1),
        said(6, Status.ACCEPTED, attempt=0, round_=2),
        said(7, Status.DUPLICATE, attempt=0, round_=1),
        at5=Reopens(source(0), 1),
        at6=Reopens(source(0), 1),
        at7=Reopens(source(0), 1),
    )
    assert [became for _, became in known.followers((0, 0), 1)] == [
        Followed.REFUSED,
        Followed.OPENED,
        Followed.REFUSED,
    ]
    follower, became = known.follower((0, 0), 1)
    assert (follower.place, became) == ((0, 6), Followed.OPENED)


def test_a_record_that_nobody_has_read_yet_may_follow():
    known = rounds(said(5, Status.REJECTED), at5=Reopens(source(0), 1), at9=Reopens(source(0), 1))
    follower, became = known.follower((0, 0), 1)
    assert (follower.place, became) == ((0, 9), Followed.WAITS)


def test_what_was_refused_leaves_the_round_open():
    assert rounds(said(5, Status.REJECTED), at5=Reopens(source(0), 1)).follower((0, 0), 1) is None
    assert rounds(at5=Reopens(source(0), 2)).follower((0, 0), 1) is None


@pytest.mark.parametrize("verdict", [Status.REJECTED, Status.CANCELLED, Status.BLOCKED])
def test_the_verdict_of_an_attempt_that_came_to_no_run_names_the_one_before(verdict):
    failed = said(0, Status.ATTEMPT_FAILED)
    refused = said(0, Status.RUN_ENDED, attempt=2, result=RunState.NOT_CREATED)
    assert rounds(failed, refused, said(0, verdict, attempt=1), refused).told((0, 0)).last.status is verdict
