from dataclasses import replace
from datetime import timedelta

import pytest

from streamapp.core.effects import Delete, Free, Put, Queued, Settled, Track
from streamapp.core.model import Action, OnFailure, Ordering, Reason, RunState, Source, Status, Timings
from streamapp.core.retry import retry_delay
from tests.support.builders import (
    AT,
    SECOND,
    entry,
    expire,
    instructed,
    not_created,
    observed,
    outcome,
    policy,
    received,
    refused,
    rejection,
    run_ended,
    triggered,
    unstarted,
)
from tests.support.memory import Table, letters, outcomes, tracked

BLOCK = policy(on_failure=OnFailure.BLOCK)


def table_with(*events):
    table = Table()
    table.folds(*events)
    return table


def running(offset=0, **fields):
    """A table in which the command at an offset has a run."""
    table = table_with(received(offset, **fields))
    table.fold(observed(triggered(table.entry(offset))))
    return table


def see(table, make, offset=0, at=AT, **fields):
    return table.fold(observed(make(table.entry(offset), **fields), at=at))


# Triggered


def test_a_triggered_command_keeps_its_place_until_its_run_ends():
    table = table_with(received(0), received(1))
    decision = see(table, triggered, at=AT + 5 * SECOND)
    now = table.entry()
    assert (now.status, now.attempt, now.at) == (Status.TRIGGERED, 1, AT + 5 * SECOND)
    assert now.run_id == "run-c0-1.1"  # it is followed, and shown, under this name
    assert now.timings == Timings(accepted_at=AT, triggered_at=AT + SECOND)
    assert [change.key for change in decision.changes] == [Queued(b"k", 0)]
    assert [kept.source.offset for kept in tracked(decision)] == [0]
    assert outcomes(decision) == []  # the observation itself stands on the results topic


def test_with_ordering_triggered_the_next_starts_once_the_run_exists():
    table = table_with(received(0, policy=policy(ordering=Ordering.TRIGGERED)), received(1), received(2))
    decision = see(table, triggered)
    assert [change.key for change in decision.changes] == [Free(0), Queued(b"k", 0)]
    assert isinstance(decision.changes[1], Delete)
    assert [kept.source.offset for kept in tracked(decision)] == [0, 1]
    assert table.partition.head(b"k") == 1
    assert [kept.source.offset for kept in tracked(see(table, run_ended))] == [0]  # releases nothing twice


def test_a_run_that_exists_makes_its_deadline_void():
    table = table_with(received(0, deadline=AT))
    table.fold(expire(table.entry()))
    see(table, triggered)
    assert table.entry().ending is None
    assert outcomes(see(table, run_ended))[0].status is Status.SUCCEEDED


def test_the_time_of_the_run_is_airflows_else_the_workers():
    table = table_with(received(0))
    see(table, triggered, timings=Timings(), at=AT + 9 * SECOND)
    assert table.entry().timings.triggered_at == AT + 9 * SECOND


# Verdicts


def test_success():
    table = running()
    decision = see(table, run_ended, at=AT + 9 * SECOND)
    now = table.entry()
    assert (now.status, now.reason, now.at) == (Status.SUCCEEDED, None, AT + 9 * SECOND)
    assert (now.params, now.original, now.ending) == (None, None, None)
    assert [change.key for change in decision.changes] == [Settled(b"k", 0), Queued(b"k", 0)]
    (told,) = outcomes(decision)
    assert told.id == "commands-0-0-1.1-succeeded"
    assert told.dag_run_id == "run-c0-1.1"
    assert told.timings == Timings(
        accepted_at=AT, triggered_at=AT + SECOND, started_at=AT + 2 * SECOND, ended_at=AT + 3 * SECOND
    )
    assert letters(decision) == []
    assert [kept.status for kept in tracked(decision)] == [Status.SUCCEEDED]


def test_failure_is_told_and_buried_with_the_bytes_as_they_came():
    table = running()
    decision = see(table, run_ended, result=RunState.FAILED)
    (told,), (letter,) = outcomes(decision), letters(decision)
    assert (told.status, told.reason, told.detail) == (Status.FAILED, Reason.RUN_FAILED, "the run failed")
    assert (letter.original, letter.key) == (received(0).original, b"k")
    assert (letter.reason, letter.detail, letter.round) == (Reason.RUN_FAILED, "the run failed", 1)
    assert table.entry().params is None
    assert table.entry().original == received(0).original  # until retention: the letter may have to be written again


def test_a_failure_without_a_reason_gets_one():
    table = running()
    assert outcomes(see(table, run_ended, result=RunState.FAILED, reason=None))[0].reason is Reason.RUN_FAILED


def test_a_deleted_run_is_a_failure_and_never_tried_again():
    table = running(policy=policy(max_attempts=5))
    decision = see(table, run_ended, result=RunState.DELETED)
    assert [(told.status, told.reason) for told in outcomes(decision)] == [(Status.FAILED, Reason.RUN_DELETED)]
    assert len(letters(decision)) == 1


def test_a_deleted_run_has_a_reason_of_its_own():
    decision = see(running(), run_ended, result=RunState.DELETED, reason=None)
    assert [told.reason for told in outcomes(decision)] == [Reason.RUN_DELETED]
    assert [letter.reason for letter in letters(decision)] == [Reason.RUN_DELETED]


@pytest.mark.parametrize("result", [RunState.SUCCESS, RunState.FAILED])
def test_the_end_of_a_run_that_nobody_said_was_triggered_names_it(result):
    """Its worker died in between."""
    (told,) = outcomes(see(table_with(received(0)), run_ended, result=result))
    assert (told.attempt, told.dag_run_id) == (1, "run-c0-1.1")


@pytest.mark.parametrize("reason", [Reason.DAG_NOT_FOUND, Reason.REFUSED_BY_AIRFLOW, Reason.RUN_ID_CONFLICT])
def test_what_airflow_refuses_for_good_is_rejected_and_buried(reason):
    table = table_with(received(0), received(1))
    decision = see(table, refused, reason=reason)
    (told,), (letter,) = outcomes(decision), letters(decision)
    assert (told.status, told.reason, told.detail) == (Status.REJECTED, reason, "Airflow said no")
    assert (told.attempt, told.dag_run_id) == (0, None)  # it came to no run
    assert letter.reason is reason
    assert [kept.source.offset for kept in tracked(decision)] == [0, 1]


def test_a_refused_second_attempt_keeps_the_number_of_the_first():
    table = running(policy=policy(max_attempts=2))
    see(table, run_ended, result=RunState.FAILED)
    assert [told.id for told in outcomes(see(table, refused))] == ["commands-0-0-1.1-rejected"]


def test_a_run_of_another_position_makes_it_a_duplicate():
    table = table_with(received(0))
    decision = see(table, run_ended, result=RunState.DUPLICATE)
    (told,) = outcomes(decision)
    assert (told.status, told.duplicate_of) == (Status.DUPLICATE, "commands-0-99")
    assert letters(decision) == []


def test_a_long_detail_is_cut():
    table = running()
    (told,) = outcomes(see(table, run_ended, result=RunState.FAILED, detail="x" * 5000))
    assert told.detail == "x" * 999 + "…"


@pytest.mark.parametrize(
    "result", [RunState.SUCCESS, RunState.FAILED, RunState.DELETED, RunState.NOT_CREATED, RunState.DUPLICATE]
)
def test_every_ending_releases_the_next_of_its_key_and_no_other(result):
    table = table_with(received(0), received(1), received(2), received(3, key=b"other"))
    if result in {RunState.SUCCESS, RunState.FAILED, RunState.DELETED}:
        see(table, triggered)
    fields = {"reason": Reason.REFUSED_BY_AIRFLOW} if result is RunState.NOT_CREATED else {}
    decision = see(table, run_ended, result=result, **fields)
    assert [kept.source.offset for kept in tracked(decision)] == [0, 1]
    assert table.partition.head(b"k") == 1


def test_the_last_of_a_key_leaves_an_empty_queue():
    table = running()
    see(table, run_ended)
    assert table.partition.head(b"k") is None
    assert tracked(table.fold(received(1))) != []


# Blocked


def test_a_failure_blocks_where_the_policy_says_so():
    table = running(policy=BLOCK)
    table.fold(received(1))
    decision = see(table, run_ended, result=RunState.FAILED)
    assert [told.id for told in outcomes(decision)] == ["commands-0-0-1.1-blocked"]
    assert letters(decision) == []
    assert [kept.source.offset for kept in tracked(decision)] == [0]
    assert table.partition.head(b"k") == 0
    assert (table.entry().params, table.entry().original) == ("{}", received(0).original)


@pytest.mark.parametrize("ordering", [Ordering.COMPLETED, Ordering.TRIGGERED])
def test_a_refusal_blocks_and_holds_the_key(ordering):
    table = table_with(received(0, policy=replace(BLOCK, ordering=ordering)), received(1))
    decision = see(table, refused)
    assert table.entry().status is Status.BLOCKED
    assert [kept.source.offset for kept in tracked(decision)] == [0]
    assert [kept.source.offset for kept in table.again().recovered] == [0]


def test_a_blocked_command_waits_for_no_deadline():
    """It was marked while its POST was in flight, and Airflow refused it: an operator decides, not the deadline."""
    table = table_with(received(0, policy=BLOCK, deadline=AT))
    table.fold(expire(table.entry()))
    see(table, run_ended, result=RunState.FAILED)
    assert (table.entry().status, table.entry().ending) == (Status.BLOCKED, None)


@pytest.mark.parametrize("late", [triggered, run_ended, unstarted, refused, not_created])
def test_nothing_that_is_seen_of_a_blocked_commands_run_unblocks_it(late):
    table = running(policy=BLOCK)
    see(table, run_ended, result=RunState.FAILED)
    before = table.rows()
    decision = see(table, late)
    assert table.rows() == before
    assert tracked(decision) == []
    assert {told.status for told in outcomes(decision)} <= {Status.BLOCKED}


# Attempts


def test_a_failed_attempt_is_followed_by_another_after_its_delay():
    table = running(policy=policy(max_attempts=2))
    table.fold(received(1))
    decision = see(table, run_ended, result=RunState.FAILED, at=AT + 9 * SECOND)
    now = table.entry()
    assert (now.status, now.attempt, now.run_attempt) == (Status.ATTEMPT_FAILED, 1, 2)
    assert now.not_before is not None
    wait = now.not_before - (AT + 9 * SECOND)
    assert timedelta(seconds=14) < wait <= timedelta(seconds=30)
    assert [told.id for told in outcomes(decision)] == ["commands-0-0-1.1-attempt_failed"]
    assert letters(decision) == []
    assert [kept.source.offset for kept in tracked(decision)] == [0]
    assert table.partition.head(b"k") == 0


def test_attempts_end_at_the_number_the_policy_allows():
    table = table_with(received(0, policy=policy(max_attempts=3)))
    told = []
    for _ in range(3):
        see(table, triggered)
        told += outcomes(see(table, run_ended, result=RunState.FAILED))
    assert [one.id.removeprefix("commands-0-0-") for one in told] == [
        "1.1-attempt_failed",
        "1.2-attempt_failed",
        "1.3-failed",
    ]


def test_a_later_attempt_may_succeed():
    table = running(policy=policy(max_attempts=2))
    see(table, run_ended, result=RunState.FAILED)
    see(table, triggered)
    assert (table.entry().status, table.entry().attempt, table.entry().not_before) == (Status.TRIGGERED, 2, None)
    assert (table.entry().reason, table.entry().detail) == (None, None)
    assert [told.id for told in outcomes(see(table, run_ended))] == ["commands-0-0-1.2-succeeded"]


def test_a_run_in_which_no_task_started_is_tried_again_without_counting_three_times():
    table = table_with(received(0))
    told = []
    for _ in range(4):
        see(table, triggered)
        told += outcomes(see(table, unstarted))
    assert [(one.attempt, one.status) for one in told] == [
        (1, Status.ATTEMPT_FAILED),
        (2, Status.ATTEMPT_FAILED),
        (3, Status.ATTEMPT_FAILED),
        (4, Status.FAILED),
    ]
    assert {one.reason for one in told} == {Reason.RUN_NOT_STARTED}


def test_unstarted_runs_take_nothing_from_the_attempts():
    table = table_with(received(0, policy=policy(max_attempts=2)))
    told = []
    for make in (unstarted, run_ended, unstarted, run_ended):
        see(table, triggered)
        told += outcomes(see(table, make, **({"result": RunState.FAILED} if make is run_ended else {})))
    assert [one.status for one in told] == [Status.ATTEMPT_FAILED] * 3 + [Status.FAILED]


def test_with_ordering_triggered_a_retry_does_not_hold_the_key_again():
    table = table_with(received(0, policy=policy(ordering=Ordering.TRIGGERED, max_attempts=2)), received(1))
    see(table, triggered)
    decision = see(table, run_ended, result=RunState.FAILED)
    assert decision.changes[0].key == Free(0)
    assert table.partition.head(b"k") == 1


# Deadlines


def test_a_passed_deadline_marks_the_command_and_holds_its_key():
    table = table_with(received(0, deadline=AT + SECOND), received(1))
    decision = table.fold(expire(table.entry(), at=AT + SECOND))
    now = table.entry()
    assert (now.status, now.ending, now.at) == (Status.ACCEPTED, Status.EXPIRED, AT + SECOND)
    assert decision.effects == (Track(now),)
    assert table.partition.head(b"k") == 0


def test_a_marked_command_without_a_run_expires():
    table = table_with(received(0, deadline=AT), received(1))
    table.fold(expire(table.entry()))
    decision = see(table, not_created)
    (told,) = outcomes(decision)
    assert told.id == "commands-0-0-1.0-expired"
    assert (told.reason, told.detail) == (None, "its deadline passed before a run was created")
    assert letters(decision) == []
    assert [kept.source.offset for kept in tracked(decision)] == [0, 1]
    assert table.entry().ending is None


def test_a_marked_command_that_airflow_refuses_expires():
    table = table_with(received(0, deadline=AT))
    table.fold(expire(table.entry()))
    (told,) = outcomes(see(table, refused))
    assert (told.status, told.reason) == (Status.EXPIRED, None)


def test_a_command_that_waits_for_its_next_attempt_expires():
    table = running(policy=policy(max_attempts=2), deadline=AT)
    see(table, run_ended, result=RunState.FAILED)
    table.fold(expire(table.entry()))
    assert [told.id for told in outcomes(see(table, not_created))] == ["commands-0-0-1.1-expired"]


def test_an_attempt_that_fails_after_the_deadline_is_not_followed_by_another():
    table = table_with(received(0, deadline=AT, policy=policy(max_attempts=2)))
    table.fold(expire(table.entry()))
    see(table, run_ended, result=RunState.FAILED)
    assert (table.entry().status, table.entry().ending) == (Status.ATTEMPT_FAILED, Status.EXPIRED)
    assert [told.status for told in outcomes(see(table, not_created))] == [Status.EXPIRED]


@pytest.mark.parametrize(
    "table",
    [
        table_with(received(0, deadline=AT + SECOND)),
        table_with(received(0)),
        running(deadline=AT),
        table_with(received(0, content=rejection())),
        table_with(),
    ],
    ids=["too early", "no deadline", "has a run", "rejected", "unknown"],
)
def test_a_deadline_that_does_not_apply_changes_nothing(table):
    decision = table.fold(expire(entry()))
    assert (decision.changes, decision.effects) == ((), ())


def test_a_deadline_that_is_told_again_changes_nothing():
    table = table_with(received(0, deadline=AT))
    event = expire(table.entry())
    table.fold(event)
    before = table.rows()
    assert table.fold(event).effects == ()
    assert table.rows() == before


def test_a_command_that_expires_behind_another_releases_nobody():
    table = table_with(received(0), received(1, deadline=AT), received(2))
    see(table, triggered)
    table.fold(expire(table.entry(1)))
    assert [kept.source.offset for kept in tracked(see(table, not_created, offset=1))] == [1]
    assert table.partition.head(b"k") == 0
    assert [kept.source.offset for kept in tracked(see(table, run_ended))] == [0, 2]


# Verdicts that wait: an operator's (which no instruction of this release gives yet)


def waiting_for(ending, **fields):
    table = running(**fields)
    change = Put(Queued(b"k", 0), replace(table.entry(), ending=ending))
    row = table.partition.encode(change)
    receipt = table.ledger.append(0, row.key, row.value)
    table.ledger.changelogs[0].take()
    table.ledger.enter(0, [(row.key, row.value)], receipt)
    return table


@pytest.mark.parametrize("ending", [Status.CANCELLED, Status.SKIPPED])
@pytest.mark.parametrize("result", [RunState.FAILED, RunState.DELETED])
def test_a_stopped_run_ends_as_was_asked(ending, result):
    table = waiting_for(ending, policy=policy(max_attempts=3, on_failure=OnFailure.BLOCK))
    assert [told.status for told in outcomes(see(table, run_ended, result=result))] == [ending]
    assert table.entry().ending is None


def test_a_run_that_succeeds_before_it_is_stopped_has_succeeded():
    table = waiting_for(Status.CANCELLED)
    assert [told.status for told in outcomes(see(table, run_ended))] == [Status.SUCCEEDED]


# Stale, foreign and senseless


def assert_nothing(table, event):
    before = table.ledger.databases[0].copy()
    decision = table.fold(event)
    assert (decision.changes, decision.effects) == ((), ())
    assert table.ledger.databases[0] == before


@pytest.mark.parametrize("status", [status for status in Status if status not in {Status.TRIGGERED, Status.RUN_ENDED}])
def test_verdicts_that_are_read_back_mean_nothing(status):
    table = running()
    assert_nothing(table, observed(outcome(table.entry(), status, result=RunState.SUCCESS)))


def test_an_observation_of_an_unknown_command_means_nothing():
    assert_nothing(Table(), observed(triggered(entry())))


@pytest.mark.parametrize(
    "fields",
    [{"command_id": "other"}, {"key": b"other"}, {"key": None}, {"source": Source("elsewhere", 0, 0)}],
    ids=["id", "key", "no key", "topic"],
)
@pytest.mark.parametrize("make", [triggered, run_ended])
def test_an_observation_of_another_command_means_nothing(make, fields):
    table = table_with(received(0))
    assert_nothing(table, observed(replace(make(table.entry()), **fields)))


@pytest.mark.parametrize("attempt", [0, 1])
@pytest.mark.parametrize("make", [triggered, run_ended, refused])
def test_an_observation_of_a_record_that_was_never_runnable_means_nothing(make, attempt):
    table = table_with(received(0, content=rejection(id="c0")))
    assert_nothing(table, observed(make(table.entry(), attempt=attempt)))


def test_an_end_without_a_result_is_no_end():
    table = running()
    assert_nothing(table, observed(run_ended(table.entry(), result=None)))


def test_no_run_without_a_reason_and_without_a_verdict_that_waits_is_no_end():
    table = table_with(received(0))
    assert_nothing(table, observed(not_created(table.entry())))


@pytest.mark.parametrize("make", [not_created, refused, lambda about: run_ended(about, RunState.DUPLICATE)])
def test_a_run_that_is_known_to_exist_is_not_talked_away(make):
    """Two owners asked for it: the one that came first got it, the other one was told no."""
    table = running()
    before = table.rows()
    decision = see(table, make)
    assert (decision.effects, table.rows()) == ((), before)
    assert table.entry().status is Status.TRIGGERED


@pytest.mark.parametrize("attempt", [1, 2, 3])
@pytest.mark.parametrize("ended", [False, True])
@pytest.mark.parametrize("round_", [0, 2])
def test_an_observation_of_another_round_means_nothing(round_, ended, attempt):
    table = running(policy=policy(max_attempts=3))
    see(table, run_ended, result=RunState.FAILED)
    see(table, triggered)
    if ended:
        see(table, run_ended)
    before = table.rows()
    decision = see(table, run_ended, round=round_, attempt=attempt, result=RunState.FAILED)
    assert (decision.effects, table.rows()) == ((), before)


def test_a_run_that_is_seen_again_after_its_end_tells_nothing():
    table = running()
    about = table.entry()
    see(table, run_ended, result=RunState.FAILED)
    assert table.fold(observed(triggered(about))).effects == ()


def test_an_observation_of_a_later_attempt_means_nothing():
    table = running()
    before = table.rows()
    decision = see(table, run_ended, attempt=2)
    assert (decision.effects, table.rows()) == ((), before)


def test_a_repeated_end_tells_the_verdict_again_and_changes_nothing():
    table = running()
    about = table.entry()
    first = table.fold(observed(run_ended(about, RunState.FAILED)))
    before = table.rows()
    again = table.fold(observed(run_ended(about, RunState.FAILED), at=AT + 99 * SECOND))
    assert table.rows() == before
    assert [told.id for told in outcomes(again)] == [told.id for told in outcomes(first)]
    assert [letter.id for letter in letters(again)] == [letter.id for letter in letters(first)]
    assert tracked(again) == []


def test_a_contradicting_end_tells_the_first_verdict_again():
    table = running()
    about = table.entry()
    table.fold(observed(run_ended(about, RunState.FAILED)))
    assert [told.status for told in outcomes(table.fold(observed(run_ended(about))))] == [Status.FAILED]


def test_the_end_of_an_attempt_that_others_have_followed_is_told_again():
    table = running(policy=policy(max_attempts=3))
    about = table.entry()
    first = table.fold(observed(run_ended(about, RunState.FAILED)))
    see(table, triggered, at=AT + 60 * SECOND)
    before = table.rows()
    again = table.fold(observed(run_ended(about, RunState.FAILED), at=AT + 99 * SECOND))
    assert [told.id for told in outcomes(again)] == [told.id for told in outcomes(first)]
    (told,) = outcomes(again)
    assert told.at == about.at, "when it was seen, not when others followed"
    assert (told.reason, told.detail, told.dag_run_id) == (Reason.RUN_FAILED, "the run failed", "run-c0-1.1")
    assert (told.timings.started_at, told.timings.ended_at) == (AT + 2 * SECOND, AT + 3 * SECOND)
    assert table.rows() == before


def test_a_failed_attempt_of_what_was_found_to_be_a_duplicate_is_told_as_before():
    table = running(policy=policy(max_attempts=2))
    about = table.entry()
    (first,) = outcomes(table.fold(observed(run_ended(about, RunState.FAILED))))
    see(table, run_ended, result=RunState.DUPLICATE)
    (again,) = outcomes(table.fold(observed(run_ended(about, RunState.FAILED))))
    assert again.timings.accepted_at == AT
    assert replace(again, timings=first.timings) == first


def test_a_late_success_of_an_attempt_that_has_failed_says_nothing():
    table = running(policy=policy(max_attempts=3))
    about = table.entry()
    table.fold(observed(run_ended(about, RunState.FAILED)))
    see(table, triggered)
    assert table.fold(observed(run_ended(about))).effects == ()


def test_a_row_that_a_crash_left_behind_is_removed_by_the_redelivered_end():
    table = running()
    event = observed(run_ended(table.entry()))
    table.fold(event, keep=1)
    following = table.again()
    assert following.recovered == []
    assert Queued(b"k", 0) in following.rows()
    following.fold(event)
    assert Queued(b"k", 0) not in following.rows()


def test_a_crash_between_the_rows_of_a_move_to_free_is_mended_too():
    table = table_with(received(0, policy=policy(ordering=Ordering.TRIGGERED)), received(1))
    event = observed(triggered(table.entry()))
    table.fold(event, keep=1)
    following = table.again()
    assert sorted((kept.source.offset, kept.status) for kept in following.recovered) == [
        (0, Status.TRIGGERED),
        (1, Status.ACCEPTED),
    ]
    following.fold(event)
    assert Queued(b"k", 0) not in following.rows()
    assert Free(0) in following.rows()


def test_an_operators_expire_cannot_come_before_the_deadline():
    table = table_with(received(0, deadline=AT + SECOND))
    assert table.fold(instructed(Action.EXPIRE, command_id="c0", by="ann")).changes == ()


def test_delays_come_from_the_entry_alone():
    table = running(policy=policy(max_attempts=2))
    about = replace(table.entry(), status=Status.ATTEMPT_FAILED)
    see(table, run_ended, result=RunState.FAILED)
    expected = AT + retry_delay(about)
    assert table.entry().not_before == expected - timedelta(microseconds=expected.microsecond % 1000)


# What a route has tried again

STUBBORN = policy(max_attempts=3, retry_on=frozenset({Reason.RUN_FAILED, Reason.DAG_NOT_FOUND}))


def told(decision):
    return [(one.status, one.attempt, one.dag_run_id, one.reason) for one in outcomes(decision)]


def test_a_reason_that_the_route_does_not_name_is_final():
    table = running(policy=policy(max_attempts=9, retry_on=frozenset({Reason.RUN_NOT_STARTED})))
    see(table, run_ended, result=RunState.FAILED)
    assert table.entry().status is Status.FAILED


def test_runs_in_which_nothing_started_end_a_command_whose_route_does_not_name_them():
    table = running(policy=STUBBORN)
    see(table, unstarted)
    assert (table.entry().status, table.entry().reason) == (Status.FAILED, Reason.RUN_NOT_STARTED)


def test_a_refusal_that_the_route_names_uses_an_attempt_up():
    table = table_with(received(0, policy=STUBBORN), received(1))
    first = refused(table.entry(), Reason.DAG_NOT_FOUND)
    decision = table.fold(observed(first))
    now = table.entry()
    assert told(decision) == [(Status.ATTEMPT_FAILED, 1, None, Reason.DAG_NOT_FOUND)]
    assert (now.attempt, now.refused, now.run_attempt, now.run_id) == (1, 1, 2, None)
    assert AT < now.not_before <= AT + retry_delay(now)
    assert [kept.source.offset for kept in tracked(decision)] == [0]
    again = table.fold(observed(first))
    assert told(again) == told(decision)
    assert table.entry() == now


def test_a_refusal_is_told_again_after_later_attempts():
    table = table_with(received(0, policy=STUBBORN))
    first = refused(table.entry(), Reason.DAG_NOT_FOUND)
    before = told(table.fold(observed(first)))
    see(table, triggered)
    now = table.entry()
    assert (now.status, now.attempt) == (Status.TRIGGERED, 2)
    assert told(table.fold(observed(first))) == before
    assert table.entry() == now


def test_the_last_refusal_rejects_and_counts_the_attempts_before_it():
    table = table_with(received(0, policy=STUBBORN))
    for _ in range(3):
        decision = see(table, refused, reason=Reason.DAG_NOT_FOUND)
    assert told(decision) == [(Status.REJECTED, 2, None, Reason.DAG_NOT_FOUND)]
    assert len(letters(decision)) == 1


def test_refusals_and_failed_runs_share_the_attempts():
    table = table_with(received(0, policy=STUBBORN))
    see(table, refused, reason=Reason.DAG_NOT_FOUND)
    for _ in range(2):
        see(table, triggered)
        see(table, run_ended, result=RunState.FAILED)
    assert (table.entry().status, table.entry().attempt) == (Status.FAILED, 3)


def test_a_run_in_which_nothing_started_takes_no_attempt_from_refusals():
    table = running(policy=policy(max_attempts=2, retry_on={Reason.RUN_NOT_STARTED, Reason.DAG_NOT_FOUND}))
    see(table, unstarted)
    refusals = [told(see(table, refused, reason=Reason.DAG_NOT_FOUND))[0][:2] for _ in range(2)]
    assert refusals == [(Status.ATTEMPT_FAILED, 2), (Status.REJECTED, 2)]


def test_a_refusal_that_the_route_does_not_name_is_final_also_after_attempts():
    table = running(policy=STUBBORN)
    see(table, run_ended, result=RunState.FAILED)
    see(table, refused)
    assert (table.entry().status, table.entry().attempt) == (Status.REJECTED, 1)


def test_with_ordering_triggered_a_refused_attempt_keeps_its_place():
    table = table_with(received(0, policy=replace(STUBBORN, ordering=Ordering.TRIGGERED)), received(1))
    decision = see(table, refused, reason=Reason.DAG_NOT_FOUND)
    assert [change.key for change in decision.changes] == [Queued(b"k", 0)]
    assert [kept.source.offset for kept in tracked(decision)] == [0]
    assert [kept.source.offset for kept in tracked(see(table, triggered))] == [0, 1]


# Different orderings on one key


def test_the_one_before_says_when_the_next_may_start():
    kinds = [Ordering.COMPLETED, Ordering.TRIGGERED, Ordering.NONE, Ordering.COMPLETED, Ordering.COMPLETED]
    table = Table()
    started = []
    for offset, kind in enumerate(kinds):
        started += tracked(table.fold(received(offset, policy=policy(ordering=kind))))
    assert [one.source.offset for one in started] == [0, 2]  # `none` neither waits nor is waited for
    assert [one.source.offset for one in tracked(see(table, triggered, 0))] == [0]
    assert [one.source.offset for one in tracked(see(table, run_ended, 0))] == [0, 1]
    assert [one.source.offset for one in tracked(see(table, triggered, 1))] == [1, 3]
    see(table, triggered, 3)
    assert [one.source.offset for one in tracked(see(table, run_ended, 1))] == [1]
    assert [one.source.offset for one in tracked(see(table, run_ended, 3))] == [3, 4]


@pytest.mark.parametrize(
    ("ordering", "released"), [(Ordering.COMPLETED, []), (Ordering.TRIGGERED, [1]), (Ordering.NONE, [1])]
)
def test_a_blocked_command_holds_its_key_if_it_still_stands_in_the_queue(ordering, released):
    table = table_with(received(0, policy=policy(ordering=ordering, on_failure=OnFailure.BLOCK)))
    tracking = tracked(table.fold(received(1)))
    tracking += tracked(see(table, triggered))
    decision = see(table, run_ended, result=RunState.FAILED)
    assert [one.status for one in outcomes(decision)] == [Status.BLOCKED]
    assert [one.source.offset for one in tracking + tracked(decision) if one.source.offset] == released
