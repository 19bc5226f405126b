from dataclasses import replace

import pytest

from streamapp.core import verdicts
from streamapp.core.effects import Free, Identity, OfCommand, OfDag, OfKey, Queued, Settled, Steer
from streamapp.core.model import Action, OnFailure, Ordering, Reason, Reopens, RunState, Status, Timings
from tests.support.builders import (
    AT,
    SECOND,
    instructed,
    not_created,
    observed,
    policy,
    received,
    refused,
    run_ended,
    source,
    triggered,
)
from tests.support.memory import Table, letters, outcomes, tracked

BLOCK = policy(on_failure=OnFailure.BLOCK)
LATER = AT + SECOND
APPLIED, REFUSED = Status.INSTRUCTION_APPLIED, Status.INSTRUCTION_REFUSED


@pytest.fixture
def table():
    """Three commands of one key; the first may block it."""
    table = Table()
    table.folds(received(0, policy=BLOCK), received(1, policy=BLOCK), received(2))
    return table


def see(table, make, offset=0, **fields):
    return table.fold(observed(make(table.entry(offset), **fields), at=AT))


def blocked(table, make=run_ended):
    """The first command fails and blocks its key."""
    if make is run_ended:
        see(table, triggered)
        see(table, run_ended, result=RunState.FAILED)
    else:
        see(table, make)
    assert table.entry().status is Status.BLOCKED
    return table


def tell(table, action, command=0, number=1, **fields):
    fields = {"command_id": f"c{command}"} | fields
    return table.fold(instructed(action, offset=number, at=LATER, **fields))


def answer(decision):
    said = outcomes(decision)[0]
    assert said.status in {APPLIED, REFUSED}
    return said


def offsets(decision):
    return [entry.source.offset for entry in tracked(decision)]


# Answers


def test_an_answer_tells_of_which_command_and_by_whom_and_why(table):
    said = answer(tell(table, Action.SKIP, command=2, reason="a typo", by="ann"))
    assert said.id == "commands-0-2-instruction_applied-control-1"
    assert (said.command_id, said.key, said.source, said.control_id) == ("c2", b"k", source(2), "control-1")
    assert (said.detail, said.at) == ("skip by ann: a typo", LATER)


def test_a_refusal_tells_why(table):
    said = answer(tell(table, Action.RETRY, reason="please"))
    assert said.status is REFUSED
    assert said.detail == "refused, it has not been tried yet (retry by ann: please)"


@pytest.mark.parametrize("action", [Action.RETRY, Action.SKIP, Action.CANCEL])
def test_an_unknown_command_is_named(table, action):
    decision = table.fold(instructed(action, command_id="nobody", offset=2))
    said = answer(decision)
    assert (said.status, said.command_id, said.round, str(said.source)) == (REFUSED, "nobody", 0, "control-0-2")
    assert (said.attempt, said.key, said.dag_run_id) == (0, None, None)
    assert [change.key for change in decision.changes] == [OfCommand("nobody")]


@pytest.mark.parametrize("action", [Action.SKIP, Action.CANCEL])
def test_an_answer_does_not_tell_again_how_its_command_stood(table, action):
    """Its reason and times are told by outcomes of their own: who counts failures would count each one twice."""
    said = answer(tell(blocked(table), action))
    assert (said.reason, said.detail, said.timings) == (None, f"{action} by ann", Timings())


def test_an_answer_about_a_duplicate_is_not_one_itself(table):
    table.fold(received(3, id="c9"))
    table.fold(observed(run_ended(table.entry(3), RunState.DUPLICATE)))
    assert table.entry(3).duplicate_of == "commands-0-99"
    said = answer(tell(table, Action.SKIP, command=9))
    assert (said.status, said.duplicate_of) == (REFUSED, None)


@pytest.mark.parametrize("action", [Action.RETRY, Action.SKIP, Action.CANCEL, Action.HOLD, Action.RELEASE])
def test_an_instruction_without_its_object_is_refused(table, action):
    said = answer(table.fold(instructed(action)))
    assert said.status is REFUSED
    assert f"{action} needs a " in said.detail


# Retry


def test_a_blocked_command_is_tried_again_before_its_successors(table):
    blocked(table)
    decision = tell(table, Action.RETRY)
    now = table.entry()
    assert (now.status, now.run_attempt, now.at) == (Status.ACCEPTED, 2, LATER)
    assert (now.reason, now.detail) == (None, None)
    assert [change.key for change in decision.changes] == [Queued(b"k", 0), OfCommand("c0")]
    assert offsets(decision) == [0]
    assert [said.status for said in outcomes(decision)] == [APPLIED]


def test_a_retried_command_ends_and_releases_its_key(table):
    blocked(table)
    tell(table, Action.RETRY)
    see(table, triggered)
    decision = see(table, run_ended)
    assert [(said.status, said.attempt) for said in outcomes(decision)] == [(Status.SUCCEEDED, 2)]
    assert offsets(decision) == [0, 1]


def test_a_retried_command_that_fails_again_blocks_again_under_another_name(table):
    blocked(table)
    first = replace(table.entry())
    tell(table, Action.RETRY)
    see(table, triggered)
    (said,) = outcomes(see(table, run_ended, result=RunState.FAILED))
    assert said.status is Status.BLOCKED
    assert (said.attempt, first.attempt) == (2, 1)


def test_an_attempt_that_came_to_no_run_is_not_numbered_again(table):
    """Else the refusal, read again, would be taken for one of the new attempt."""
    refusal = observed(refused(table.entry()))
    (before,) = outcomes(table.fold(refusal))
    tell(table, Action.RETRY)
    assert table.entry().run_attempt == 2
    assert {said.status for said in outcomes(table.fold(refusal))} <= {Status.ATTEMPT_FAILED}
    assert table.entry().status is Status.ACCEPTED
    (after,) = outcomes(see(table, refused))
    assert (before.status, after.status) == (Status.BLOCKED, Status.BLOCKED)
    assert before.id != after.id


def test_what_an_earlier_release_blocked_is_not_numbered_again_either(table):
    """0.1 wrote such a row with the number of the attempt before."""
    refusal = observed(refused(table.entry()))
    table.fold(refusal)
    table.put(replace(table.entry(), attempt=0, refused=0))
    tell(table, Action.RETRY)
    assert table.entry().run_attempt == 2
    table.fold(refusal)
    assert table.entry().status is Status.ACCEPTED


def test_what_an_earlier_release_blocked_keeps_its_place_when_tried_again():
    table = Table()
    table.folds(received(0, policy=replace(BLOCK, ordering=Ordering.TRIGGERED)), received(1))
    table.fold(observed(refused(table.entry())))
    table.put(replace(table.entry(), attempt=0, refused=0))
    tell(table, Action.RETRY)
    assert table.partition.head(b"k") == 0
    assert offsets(see(table, triggered)) == [0, 1]


def test_a_refused_command_that_releases_at_its_run_keeps_its_place_when_tried_again():
    table = Table()
    table.folds(received(0, policy=replace(BLOCK, ordering=Ordering.TRIGGERED)), received(1))
    blocked(table, refused)
    tell(table, Action.RETRY)
    assert table.partition.head(b"k") == 0
    assert offsets(see(table, triggered)) == [0, 1]


def test_what_waits_for_its_next_attempt_need_not_wait(table):
    table = Table()
    table.fold(received(0, policy=policy(max_attempts=3)))
    see(table, triggered)
    see(table, run_ended, result=RunState.FAILED)
    assert table.entry().not_before > AT
    decision = tell(table, Action.RETRY)
    assert answer(decision).status is APPLIED
    now = table.entry()
    assert (now.not_before, now.run_attempt) == (None, 2)
    assert (now.status, now.reason) == (Status.ATTEMPT_FAILED, Reason.RUN_FAILED), "why it is tried again"
    assert offsets(decision) == [0]


@pytest.mark.parametrize(
    ("steps", "why"),
    [
        ((triggered,), "its run is under way"),
        ((triggered, run_ended), "it has ended as succeeded: replay it"),
    ],
)
def test_what_has_not_failed_is_not_tried_again(table, steps, why):
    for step in steps:
        see(table, step)
    decision = tell(table, Action.RETRY)
    assert why in answer(decision).detail
    assert tracked(decision) == []


@pytest.mark.parametrize("status", [Status.FAILED, Status.REJECTED])
def test_a_dead_letter_whose_key_has_moved_on_is_to_be_redriven(status):
    table = Table()
    table.folds(received(0), received(1))
    if status is Status.FAILED:
        see(table, triggered)
        see(table, run_ended, result=RunState.FAILED)
    else:
        see(table, refused)
    assert table.entry().status is status
    assert "its key has moved on: redrive its dead letter" in answer(tell(table, Action.RETRY)).detail


@pytest.mark.parametrize("deadline", [AT + SECOND / 2, LATER])
def test_a_passed_deadline_keeps_from_another_attempt(deadline):
    table = Table()
    table.fold(received(0, policy=BLOCK, deadline=deadline))
    blocked(table)
    assert "its deadline has passed" in answer(tell(table, Action.RETRY)).detail


# Skip and cancel


@pytest.mark.parametrize(("action", "status"), [(Action.SKIP, Status.SKIPPED), (Action.CANCEL, Status.CANCELLED)])
def test_what_waits_behind_another_ends_at_once(table, action, status):
    decision = tell(table, action, command=1)
    assert [said.status for said in outcomes(decision)] == [APPLIED, status]
    assert [change.key for change in decision.changes] == [Settled(b"k", 1), Queued(b"k", 1), OfCommand("c1")]
    assert outcomes(decision)[1].detail == f"{action} by ann"
    assert [entry.status for entry in tracked(decision)] == [status]
    see(table, triggered)
    assert offsets(see(table, run_ended)) == [0, 2]


@pytest.mark.parametrize(("action", "status"), [(Action.SKIP, Status.SKIPPED), (Action.CANCEL, Status.CANCELLED)])
def test_a_first_one_ends_once_it_is_settled_that_no_run_was_created(table, action, status):
    decision = tell(table, action, reason="wrong customer")
    assert [said.status for said in outcomes(decision)] == [APPLIED]
    assert table.entry().settling
    assert offsets(decision) == [0]
    decision = see(table, not_created)
    (said,) = outcomes(decision)
    assert (said.status, said.detail) == (status, f"{action} by ann: wrong customer")
    assert offsets(decision) == [0, 1]


@pytest.mark.parametrize(("action", "status"), [(Action.SKIP, Status.SKIPPED), (Action.CANCEL, Status.CANCELLED)])
def test_a_run_that_was_created_nevertheless_is_stopped_first(table, action, status):
    tell(table, action)
    see(table, triggered)
    assert (table.entry().status, table.entry().ending) == (Status.TRIGGERED, status)
    assert not table.entry().settling
    (said,) = outcomes(see(table, run_ended, result=RunState.FAILED))
    assert (said.status, said.reason, said.detail) == (status, None, f"{action} by ann")


def test_a_run_under_way_is_cancelled_once_it_was_stopped(table):
    see(table, triggered)
    decision = tell(table, Action.CANCEL)
    assert [entry.ending for entry in tracked(decision)] == [Status.CANCELLED]
    assert table.partition.head(b"k") == 0
    (said,) = outcomes(see(table, run_ended, result=RunState.FAILED))
    assert (said.status, letters(decision)) == (Status.CANCELLED, [])


def test_a_run_that_succeeds_before_it_is_stopped_has_succeeded(table):
    see(table, triggered)
    tell(table, Action.CANCEL)
    assert outcomes(see(table, run_ended))[0].status is Status.SUCCEEDED


def test_a_run_under_way_is_not_skipped(table):
    see(table, triggered)
    assert "its run is under way: cancel stops it" in answer(tell(table, Action.SKIP)).detail


@pytest.mark.parametrize(("action", "status"), [(Action.SKIP, Status.SKIPPED), (Action.CANCEL, Status.CANCELLED)])
def test_a_blocked_key_goes_on_without_its_command(table, action, status):
    blocked(table)
    decision = tell(table, action)
    assert [said.status for said in outcomes(decision)] == [APPLIED, status]
    assert letters(decision) == []
    assert offsets(decision) == [0, 1]


def test_of_two_that_contradict_each_other_the_first_counts(table):
    tell(table, Action.SKIP)
    assert "it is being ended as skipped" in answer(tell(table, Action.CANCEL, number=2)).detail
    assert "it is being ended as skipped" in answer(tell(table, Action.RETRY, number=3)).detail
    assert outcomes(see(table, not_created))[0].status is Status.SKIPPED
    assert "it has ended as skipped" in answer(tell(table, Action.CANCEL, number=4)).detail


def test_what_holds_no_key_is_skipped_too():
    table = Table()
    table.fold(received(0, key=None))
    tell(table, Action.SKIP)
    decision = table.fold(observed(not_created(table.entry(0, None))))
    assert [change.key for change in decision.changes] == [Settled(None, 0), Free(0)]


def test_what_waits_for_nobody_ends_once_it_is_settled_that_no_run_was_created(table):
    """With ordering none, commands of a key run side by side: whatever is in its queue, this one may be on its way."""
    table.fold(received(3, policy=policy(ordering=Ordering.NONE)))
    decision = tell(table, Action.CANCEL, command=3)
    assert [said.status for said in outcomes(decision)] == [APPLIED]
    assert table.entry(3).settling


def test_what_ends_by_an_instruction_leaves_its_bytes_behind(table):
    tell(blocked(table), Action.SKIP)
    tell(table, Action.CANCEL, command=2, number=2)
    assert [(now.params, now.original) for now in map(table.entry, (0, 2))] == [(None, None), (None, None)]


# Keys


def test_a_key_is_held_and_released(table):
    decision = tell(table, Action.HOLD, command_id=None, key=b"k", reason="audit")
    assert [effect for effect in decision.effects if isinstance(effect, Steer)] == [Steer(OfKey(b"k"), stopped=True)]
    said = answer(decision)
    assert (said.status, said.key, said.command_id, said.detail) == (APPLIED, b"k", "", "hold by ann: audit")
    assert table.partition.standing(OfKey(b"k")).reason == "audit"
    decision = tell(table, Action.RELEASE, number=2, command_id=None, key=b"k")
    assert Steer(OfKey(b"k"), stopped=False) in decision.effects
    assert not table.partition.standing(OfKey(b"k")).stopped


def test_a_key_is_held_once(table):
    tell(table, Action.HOLD, command_id=None, key=b"k")
    decision = tell(table, Action.HOLD, number=2, command_id=None, key=b"k")
    assert "the key is on hold already" in answer(decision).detail
    assert [effect for effect in decision.effects if isinstance(effect, Steer)] == []


def test_a_key_that_is_neither_held_nor_blocked_is_not_released(table):
    assert "neither on hold nor blocked" in answer(tell(table, Action.RELEASE, command_id=None, key=b"k")).detail


@pytest.mark.parametrize(("make", "status"), [(run_ended, Status.FAILED), (refused, Status.REJECTED)])
def test_releasing_a_blocked_key_ends_what_blocks_it_with_a_dead_letter(table, make, status):
    blocked(table, make)
    decision = tell(table, Action.RELEASE, command_id=None, key=b"k")
    assert [said.status for said in outcomes(decision)] == [APPLIED, status]
    (letter,) = letters(decision)
    assert (letter.source, letter.reason) == (source(0), table.entry().reason)
    assert [letter.at, outcomes(decision)[1].at, table.entry().at] == [LATER] * 3
    assert offsets(decision) == [0, 1]
    assert not table.partition.standing(OfKey(b"k")).stopped, "its next owner would hold the key"


def test_a_hold_is_lifted_before_a_block(table):
    blocked(table)
    tell(table, Action.HOLD, command_id=None, key=b"k")
    tell(table, Action.RELEASE, number=2, command_id=None, key=b"k")
    assert table.entry().status is Status.BLOCKED
    tell(table, Action.RELEASE, number=3, command_id=None, key=b"k")
    assert table.entry().status is Status.FAILED


# DAGs


@pytest.mark.parametrize("dag_id", ["probe", None])
def test_a_dag_or_all_are_paused_and_resumed(table, dag_id):
    scope = OfDag(dag_id or "")
    decision = tell(table, Action.PAUSE, command_id=None, dag_id=dag_id)
    assert Steer(scope, stopped=True) in decision.effects
    assert table.partition.standing(scope).by == "ann"
    decision = tell(table, Action.RESUME, number=2, command_id=None, dag_id=dag_id)
    assert Steer(scope, stopped=False) in decision.effects


def test_what_is_not_paused_is_not_resumed(table):
    assert "it is not paused" in answer(tell(table, Action.RESUME, command_id=None, dag_id="probe")).detail


@pytest.mark.parametrize("action", [Action.PAUSE, Action.RESUME])
def test_an_empty_name_does_not_stand_for_all_dags(table, action):
    decision = tell(table, action, command_id=None, dag_id="")
    assert "the dag_id is empty: leave it out for all DAGs" in answer(decision).detail
    assert (len(decision.effects), decision.changes) == (1, ())


def test_a_pause_of_a_command_is_refused(table):
    assert answer(tell(table, Action.PAUSE)).status is REFUSED


# Read again


def _nothing(table):
    return table


def _running(table):
    see(table, triggered)
    return table


SCENES = [
    (_nothing, Action.SKIP, {"command_id": "c0"}),
    (_nothing, Action.SKIP, {"command_id": "c1"}),
    (_nothing, Action.CANCEL, {"command_id": "c1"}),
    (_nothing, Action.RETRY, {"command_id": "c1"}),
    (_running, Action.CANCEL, {"command_id": "c0"}),
    (_running, Action.SKIP, {"command_id": "c0"}),
    (blocked, Action.RETRY, {"command_id": "c0"}),
    (blocked, Action.SKIP, {"command_id": "c0"}),
    (blocked, Action.RELEASE, {"key": b"k"}),
    (_nothing, Action.HOLD, {"key": b"k"}),
    (_nothing, Action.RELEASE, {"key": b"k"}),
    (_nothing, Action.PAUSE, {"dag_id": "probe"}),
]


@pytest.mark.parametrize(("scene", "action", "about"), SCENES)
@pytest.mark.parametrize("kept", range(4))
def test_an_instruction_read_again_after_a_crash_is_answered_and_followed_once(scene, action, about, kept):
    """Of the rows that it changes, a crash may leave any number from the front."""

    def prepared():
        table = Table()
        table.folds(received(0, policy=BLOCK), received(1, policy=BLOCK), received(2))
        return scene(table)

    event = instructed(action, offset=7, at=LATER, **about)
    undisturbed = prepared()
    first = undisturbed.fold(event)
    crashed = prepared()
    crashed.fold(event, keep=kept)
    successor = crashed.again()
    again = successor.fold(replace(event, at=LATER + SECOND))
    assert [said.id for said in outcomes(again)] == [said.id for said in outcomes(first)]
    assert [said.detail for said in outcomes(again)] == [said.detail for said in outcomes(first)]
    assert [letter.id for letter in letters(again)] == [letter.id for letter in letters(first)]

    def shown(table):
        rows = {}
        for key, row in table.rows().items():
            rows[key] = replace(row, at=AT) if hasattr(row, "at") else row
        return rows

    assert shown(successor) == shown(undisturbed)


def test_a_cancel_that_a_crash_cut_off_does_not_hold_its_key(table):
    """Its first row is written; then the first of the key ends, and only then the cancel is read again."""
    see(table, triggered)
    cancel = instructed(Action.CANCEL, command_id="c1", offset=5)
    table.fold(cancel, keep=1)
    successor = table.again()
    ended = successor.fold(observed(run_ended(successor.entry(0))))
    assert offsets(ended) == [0, 2]
    successor.fold(cancel)
    assert successor.partition.head(b"k") == 2


def test_a_release_read_again_after_a_hold_still_tells_what_it_ended(table):
    """A crash kept the verdict and the dead letter from leaving."""
    blocked(table)
    release = instructed(Action.RELEASE, key=b"k", offset=1)
    first = table.fold(release)
    table.fold(instructed(Action.HOLD, key=b"k", offset=2))
    again = table.again().fold(release)
    assert [said.id for said in outcomes(again)] == [said.id for said in outcomes(first)]
    assert [letter.id for letter in letters(again)] == [letter.id for letter in letters(first)]
    assert table.partition.standing(OfKey(b"k")).stopped


def test_each_block_of_a_command_has_an_id_of_its_own(table):
    """Readers tell outcomes apart by their ids: one with an id that they know is passed over."""
    blocked(table)  # its first attempt failed
    ids = [verdicts.outcome_of(table.entry()).id]
    for number in (1, 2):
        tell(table, Action.RETRY, number=number)
        ids += [said.id for said in outcomes(see(table, refused))]
    assert len(set(ids)) == 3


def test_the_same_instruction_sent_twice_is_followed_once(table):
    blocked(table)
    tell(table, Action.RETRY)
    see(table, triggered)
    see(table, run_ended, result=RunState.FAILED)
    decision = table.fold(instructed(Action.RETRY, offset=9, control_id="control-1", command_id="c0"))
    assert answer(decision).status is APPLIED
    assert table.entry().status is Status.BLOCKED


@pytest.mark.parametrize(
    ("refused", "then", "about"),
    [
        (Action.HOLD, [Action.RELEASE], {"key": b"k"}),
        (Action.RELEASE, [Action.HOLD], {"key": b"z"}),
        (Action.RESUME, [Action.PAUSE], {"dag_id": "probe"}),
    ],
)
def test_a_refusal_read_again_when_things_have_changed_stays_one(table, refused, then, about):
    if refused is Action.HOLD:
        table.fold(instructed(Action.HOLD, offset=0, **about))
    event = instructed(refused, offset=1, **about)
    first = answer(table.fold(event))
    assert first.status is REFUSED
    for number, action in enumerate(then, start=2):
        assert answer(table.fold(instructed(action, offset=number, **about))).status is APPLIED
    again = table.again().fold(event)
    assert (answer(again).id, answer(again).detail) == (first.id, first.detail)
    assert len(again.effects) == 1


def test_an_instruction_read_again_does_not_meet_the_next_round(table):
    see(table, triggered)
    see(table, run_ended, result=RunState.FAILED)
    blocked_one = instructed(Action.SKIP, command_id="c0", offset=3)
    table.fold(blocked_one)
    first = answer(table.again().fold(blocked_one))
    table.fold(replace(received(5, id="c0"), reopens=Reopens(source(0), 1, "again")))
    again = table.again().fold(blocked_one)
    assert (answer(again).id, answer(again).status) == (first.id, APPLIED)
    assert table.entry(5).status is Status.ACCEPTED


@pytest.mark.parametrize("rounds", [1, 2])
def test_an_instruction_that_a_crash_cut_short_does_not_meet_the_next_round(table, rounds):
    """What was written of it is the command's row alone, so its answer does not stand beside the command yet."""
    event = instructed(Action.SKIP, command_id="c1", offset=3)
    table.fold(event, keep=1)
    after = table.again()
    last = 1
    for number in range(1, rounds + 1):
        after.fold(replace(received(4 + number, id="c1"), reopens=Reopens(source(last), number, "again")))
        last = 4 + number
        if number < rounds:
            after.fold(observed(run_ended(after.entry(last)), at=AT))
    again = after.fold(event)
    assert (answer(again).id, answer(again).status) == ("commands-0-1-instruction_applied-control-3", APPLIED)
    assert [said.id for said in outcomes(again)[1:]] == ["commands-0-1-1.0-skipped"], "nobody was told so before"
    assert after.entry(last).status is Status.ACCEPTED


def test_an_instruction_refused_because_its_command_was_unknown_does_not_meet_it_later(table):
    event = instructed(Action.CANCEL, command_id="c9", offset=3)
    table.folds(event, received(9))
    again = table.again().fold(event)
    assert answer(again).status is REFUSED
    assert table.entry(9).ending is None


def test_an_instruction_repeated_when_its_command_is_forgotten_is_answered_as_before(table):
    """A script that sends it once more must not stop the worker."""
    first = answer(tell(table, Action.CANCEL, command=1))
    table.remove(Settled(b"k", 1))
    table.remove(Identity("c1"))
    again = tell(table, Action.CANCEL, command=1, number=9, control_id=first.control_id)
    assert (answer(again).status, answer(again).control_id, answer(again).command_id) == (APPLIED, "control-1", "c1")
    assert tracked(again) == []


def test_an_instruction_is_known_again_after_many_others(table):
    """Some tools give one after another until one is followed; a crash may come before any of them is committed."""
    blocked(table)
    event = instructed(Action.RELEASE, key=b"k", offset=1)
    first = answer(table.fold(event))
    for number in range(2, 40):
        table.fold(instructed(Action.RELEASE, key=b"k", offset=number))
    see(table, triggered, offset=1)
    see(table, run_ended, offset=1, result=RunState.FAILED)
    again = table.again()
    assert answer(again.fold(event)).id == first.id
    assert again.entry(1).status is Status.BLOCKED, "it was asked to let the one before go"


@pytest.mark.parametrize(("length", "kept"), [(10, 64), (1000, 6)])
def test_only_the_last_instructions_are_remembered(table, length, kept):
    ids = [f"{number:0{length}}" for number in range(100)]
    for given, control_id in enumerate(ids, start=1):
        table.fold(instructed(Action.RETRY, control_id=control_id, command_id="c1"))
        answers = table.partition.standing(OfCommand("c1")).answers
        assert [said.control_id for said in answers] == ids[:given][-kept:]


def test_nothing_is_written_for_other_commands(table):
    decision = tell(table, Action.SKIP, command=1)
    assert {change.key for change in decision.changes} == {Settled(b"k", 1), Queued(b"k", 1), OfCommand("c1")}


def test_a_reason_of_a_failure_does_not_stay_with_what_was_skipped(table):
    blocked(table)
    assert table.entry().reason is Reason.RUN_FAILED
    tell(table, Action.SKIP)
    assert table.entry().reason is None
