from dataclasses import replace
from datetime import timedelta

import pytest

from streamapp.core.effects import Delete, Free, Identity, Put, Queued, Settled
from streamapp.core.errors import ConfigError
from streamapp.core.events import CommandReceived
from streamapp.core.key import MAX_KEY_BYTES
from streamapp.core.model import Holder, OnFailure, Ordering, Original, Reason, RunState, Status, Timings
from tests.support.builders import (
    AT,
    SECOND,
    command,
    expire,
    observed,
    policy,
    received,
    refused,
    rejection,
    run_ended,
    triggered,
)
from tests.support.memory import Table, letters, outcomes, tracked


@pytest.fixture
def table():
    return Table()


# Accepted


def test_a_command_is_queued_told_and_started(table):
    decision = table.fold(
        received(7, params='{"n": 1}', correlation_id="co", causation_id="ca", not_before=AT, deadline=AT + SECOND)
    )
    entry = table.entry(7)
    assert entry.status is Status.ACCEPTED
    assert (entry.round, entry.attempt) == (1, 0)
    assert (entry.params, entry.not_before, entry.deadline) == ('{"n": 1}', AT, AT + SECOND)
    assert entry.policy == policy()
    assert entry.original == Original(b"value 7", (("h", b"1"),))
    assert list(decision.changes) == [
        Put(Queued(b"k", 7), entry),
        Put(Identity("c7"), Holder(b"k", 7)),
    ]
    assert tracked(decision) == [entry]
    (outcome,) = outcomes(decision)
    assert outcome.id == "commands-0-7-1.0-accepted"
    assert (outcome.command_id, outcome.key, outcome.command, outcome.dag_id) == ("c7", b"k", "app.probe", "probe")
    assert (outcome.dag_run_id, outcome.attempt, outcome.round) == (None, 0, 1)
    assert (outcome.correlation_id, outcome.causation_id) == ("co", "ca")
    assert outcome.timings == Timings(accepted_at=AT)
    assert outcome.at == AT


def test_the_time_of_acceptance_is_the_workers_not_the_producers(table):
    table.fold(received(at=AT + 5 * SECOND))
    assert table.entry().at == AT + 5 * SECOND
    assert table.entry().timings.accepted_at == AT + 5 * SECOND


def test_the_second_of_a_key_waits(table):
    assert tracked(table.fold(received(0))) != []
    assert tracked(table.fold(received(1))) == []
    assert table.entry(1).status is Status.ACCEPTED


def test_keys_do_not_wait_for_each_other(table):
    table.fold(received(0, key=b"a"))
    assert tracked(table.fold(received(1, key=b"b"))) != []


def test_an_empty_key_is_a_key(table):
    table.fold(received(0, key=b""))
    assert tracked(table.fold(received(1, key=b""))) == []


def test_commands_without_a_key_do_not_wait(table):
    for offset in range(3):
        decision = table.fold(received(offset, key=None))
        assert tracked(decision) == [table.entry(offset, key=None)]
        assert decision.changes[0].key == Free(offset)


def test_ordering_none_neither_waits_nor_makes_others_wait(table):
    table.fold(received(0))
    decision = table.fold(received(1, policy=policy(ordering=Ordering.NONE)))
    assert tracked(decision) != []
    assert decision.changes[0].key == Free(1)
    table.folds(observed(triggered(table.entry(0))), observed(run_ended(table.entry(0))))
    assert tracked(table.fold(received(2))) != []  # the one at 1 is still to run


def test_ordering_triggered_waits_as_well(table):
    table.fold(received(0))
    assert tracked(table.fold(received(1, policy=policy(ordering=Ordering.TRIGGERED)))) == []


# Rejected


@pytest.mark.parametrize("reason", Reason)
def test_a_rejected_record_is_told_and_buried_with_its_bytes(table, reason):
    event = received(3, content=rejection(reason, id="c3", command="app.x"))
    decision = table.fold(event)
    entry = table.entry(3)
    assert (entry.status, entry.reason, entry.detail) == (Status.REJECTED, reason, "not to be read")
    assert (entry.policy, entry.params, entry.original) == (None, None, None)
    (outcome,), (letter,) = outcomes(decision), letters(decision)
    assert outcome.id == "commands-0-3-1.0-rejected"
    assert (outcome.reason, outcome.detail, outcome.command) == (reason, "not to be read", "app.x")
    assert letter.id == "commands-0-3-1"
    assert (letter.source, letter.key, letter.original) == (event.source, b"k", event.original)
    assert (letter.round, letter.reason, letter.detail, letter.at) == (1, reason, "not to be read", AT)
    assert tracked(decision) == []
    assert [change.key for change in decision.changes] == [Settled(b"k", 3), Identity("c3")]


def test_a_rejected_record_does_not_stand_in_its_keys_way(table):
    table.fold(received(0, content=rejection()))
    assert tracked(table.fold(received(1))) != []


def test_a_rejected_record_leaves_the_id_to_who_has_it(table):
    table.fold(received(0, id="x"))
    table.fold(received(1, content=rejection(id="x")))
    assert table.rows()[Identity("x")] == Holder(b"k", 0)


def test_a_key_that_is_too_long_is_rejected_and_kept_in_the_dead_letter_only(table):
    key = b"k" * (MAX_KEY_BYTES + 1)
    event = received(0, key=key)
    decision = table.fold(event)
    (outcome,), (letter,) = outcomes(decision), letters(decision)
    assert (outcome.status, outcome.reason, outcome.key) == (Status.REJECTED, Reason.TOO_LARGE, None)
    assert outcome.detail == f"the key has {len(key)} bytes; {MAX_KEY_BYTES} are the most"
    assert (outcome.command_id, outcome.command) == ("c0", "app.probe")
    assert letter.key == key
    assert table.entry(0, key=None).status is Status.REJECTED
    assert all(key not in raw for raw in table.ledger.databases[0])
    again = table.again().fold(event)
    assert (outcomes(again), letters(again)) == ([outcome], [letter])


def test_the_longest_key_is_taken(table):
    decision = table.fold(received(0, key=b"k" * MAX_KEY_BYTES))
    assert [outcome.status for outcome in outcomes(decision)] == [Status.ACCEPTED]


def test_a_long_detail_is_cut(table):
    table.fold(received(0, content=rejection(detail="x" * 5000)))
    assert table.entry().detail == "x" * 999 + "…"


# Duplicates


def test_the_same_id_again_is_a_duplicate(table):
    table.fold(received(0, id="x", key=b"a"))
    decision = table.fold(received(5, id="x", key=b"b", correlation_id="co", causation_id="ca"))
    entry = table.entry(5, key=b"b")
    assert list(decision.changes) == [Put(Settled(b"b", 5), entry)]
    (outcome,) = outcomes(decision)
    assert outcome.id == "commands-0-5-1.0-duplicate"
    assert outcome.duplicate_of == "commands-0-0"
    assert (outcome.correlation_id, outcome.causation_id, outcome.dag_id) == ("co", "ca", "probe")
    assert (letters(decision), tracked(decision)) == ([], [])


def test_a_duplicate_does_not_take_the_id_over(table):
    table.folds(received(0, id="x"), received(1, id="x"))
    assert outcomes(table.fold(received(2, id="x")))[0].duplicate_of == "commands-0-0"


def test_the_id_of_an_ended_command_stays_taken(table):
    table.fold(received(0, id="x"))
    table.folds(observed(triggered(table.entry())), observed(run_ended(table.entry())))
    assert table.entry().status is Status.SUCCEEDED
    assert table.fold(received(1, id="x")).effects[0].outcome.status is Status.DUPLICATE


def test_a_rejected_record_does_not_hold_its_id(table):
    table.fold(received(0, content=rejection(id="x")))
    assert outcomes(table.fold(received(1, id="x")))[0].status is Status.ACCEPTED
    assert table.rows()[Identity("x")] == Holder(b"k", 1)


def test_a_command_that_airflow_refused_does_not_hold_its_id(table):
    table.fold(received(0, id="x"))
    table.fold(observed(refused(table.entry())))
    assert table.entry().status is Status.REJECTED
    assert outcomes(table.fold(received(1, id="x")))[0].status is Status.ACCEPTED


def test_a_command_whose_last_attempt_airflow_refused_holds_its_id(table):
    """An attempt before has run."""
    table.fold(received(0, id="x", policy=policy(max_attempts=2)))
    table.folds(observed(triggered(table.entry())), observed(run_ended(table.entry(), RunState.FAILED)))
    table.fold(observed(refused(table.entry())))
    assert table.entry().status is Status.REJECTED
    assert outcomes(table.fold(received(1, id="x")))[0].duplicate_of == "commands-0-0"


def test_an_id_row_without_its_entry_holds_nothing(table):
    """The entry's retention has ended."""
    table.fold(received(0, id="x"))
    table.remove(Queued(b"k", 0))
    assert outcomes(table.again().fold(received(1, id="x")))[0].status is Status.ACCEPTED


# Redelivery


def accepted(**fields):
    return lambda _: received(0, **fields)


def running(table):
    return observed(triggered(table.entry()))


def ended(result=RunState.SUCCESS):
    return lambda table: observed(run_ended(table.entry(), result))


def airflow_refuses(table):
    return observed(refused(table.entry()))


def deadline_passes(table):
    return expire(table.entry())


CASES = {
    "accepted": [accepted()],
    "triggered": [accepted(), running],
    "attempt_failed": [accepted(policy=policy(max_attempts=2)), running, ended(RunState.FAILED)],
    "blocked": [accepted(policy=policy(on_failure=OnFailure.BLOCK)), running, ended(RunState.FAILED)],
    "blocked without a run": [accepted(policy=policy(on_failure=OnFailure.BLOCK)), airflow_refuses],
    "succeeded": [accepted(), running, ended()],
    "failed": [accepted(), running, ended(RunState.FAILED)],
    "deleted": [accepted(), running, ended(RunState.DELETED)],
    "rejected": [accepted(content=rejection())],
    "refused": [accepted(), airflow_refuses],
    "duplicate": [lambda _: received(9, id="c0", key=b"other"), accepted()],
    "duplicate in Airflow": [accepted(), ended(RunState.DUPLICATE)],
    "ending": [accepted(deadline=AT), deadline_passes],
    "expired": [accepted(deadline=AT), deadline_passes, ended(RunState.NOT_CREATED)],
    "expired later": [
        accepted(deadline=AT, policy=policy(max_attempts=2)),
        running,
        ended(RunState.FAILED),
        deadline_passes,
        ended(RunState.NOT_CREATED),
    ],
}
"""The ways to every status that an entry can stand in."""


def fold_all(table, case):
    """Answers what followed from the record itself."""
    for step in CASES[case]:
        event = step(table)
        if isinstance(event, CommandReceived) and event.source.offset == 0:
            first = table.fold(event)
        else:
            table.fold(replace(event, at=AT + SECOND))
    return first


def received_again(case):
    return replace(next(event for step in CASES[case] if (event := step(Table())).source.offset == 0), at=AT + SECOND)


@pytest.mark.parametrize("case", CASES)
def test_the_event_that_led_to_a_status_tells_the_same_again_and_starts_nothing(case):
    table = Table()
    for step in CASES[case]:
        last = step(table)
        first = table.fold(last)
    before = table.ledger.databases[0].copy()
    again = table.again().fold(replace(last, at=AT + timedelta(hours=1)))
    assert table.ledger.databases[0] == before
    assert outcomes(again) == outcomes(first)
    assert letters(again) == letters(first)
    assert tracked(again) == []


@pytest.mark.parametrize("case", CASES)
def test_a_command_that_is_received_again_tells_what_it_told_first_in_every_status(case):
    """Who drops the second of two outcomes with one id must not lose what only the first said, nor the other way."""
    table = Table()
    first = fold_all(table, case)
    before = table.ledger.databases[0].copy()
    again = table.again().fold(received_again(case))
    status = case if case in {"rejected", "duplicate"} else "accepted"
    assert [outcome.id for outcome in outcomes(again)] == [f"commands-0-0-1.0-{status}"]
    assert outcomes(again) == outcomes(first)
    assert tracked(again) == []
    assert table.ledger.databases[0] == before


@pytest.mark.parametrize("case", CASES)
def test_a_command_that_is_received_again_writes_the_id_row_that_a_crash_cut_off(case):
    table = Table()
    fold_all(table, case)
    table.remove(Identity("c0"))
    again = table.again().fold(received_again(case))
    identities = [change for change in again.changes if isinstance(change.key, Identity)]
    assert identities == ([] if case.startswith("duplicate") else [Put(Identity("c0"), Holder(b"k", 0))])


def test_a_row_of_an_ended_command_left_in_its_queue_is_removed_when_it_is_received_again(table):
    table.fold(received(0))
    table.fold(observed(triggered(table.entry())))
    cut = table.fold(observed(run_ended(table.entry())), keep=1)
    assert [type(change) for change in cut.changes] == [Put, Delete]
    assert {Queued(b"k", 0), Settled(b"k", 0)} <= set(table.rows())
    following = table.again()
    assert following.recovered == []
    following.fold(received(0))
    assert Queued(b"k", 0) not in following.rows()
    assert following.entry(0).status is Status.SUCCEEDED


def test_the_id_row_of_another_is_left_alone_when_a_command_is_received_again(table):
    table.fold(received(0, id="x"))
    table.fold(observed(refused(table.entry())))
    table.fold(received(1, id="x"))
    table.fold(received(0, id="x"))
    assert table.rows()[Identity("x")] == Holder(b"k", 1)


@pytest.mark.parametrize("again", [0, 1])
def test_of_rejected_records_with_one_id_each_leaves_the_id_row_where_it_is_when_it_is_received_again(table, again):
    """Else what a look-up by the id shows would change with every takeover."""
    records = [received(offset, content=rejection(id="x")) for offset in range(2)]
    table.folds(*records)
    table.again().fold(records[again])
    assert table.rows()[Identity("x")] == Holder(b"k", 0)


def test_of_refused_commands_with_one_id_the_last_keeps_the_id_row_when_the_first_is_received_again(table):
    for offset in range(2):
        table.fold(received(offset, id="x"))
        table.fold(observed(refused(table.entry(offset))))
    table.again().fold(received(0, id="x"))
    assert table.rows()[Identity("x")] == Holder(b"k", 1)


def test_an_id_row_that_a_crash_kept_from_a_rejected_record_goes_to_the_command_that_holds_it(table):
    table.fold(received(0, content=rejection(id="x")))
    table.fold(received(1, id="x"), keep=1)
    following = table.again()
    following.folds(received(0, content=rejection(id="x")), received(1, id="x"))
    assert following.rows()[Identity("x")] == Holder(b"k", 1)
    assert outcomes(following.fold(received(2, id="x")))[0].status is Status.DUPLICATE


@pytest.mark.parametrize("key", [b"k", None])
def test_another_record_under_a_known_offset_means_a_recreated_topic(table, key):
    table.fold(received(0, key=key))
    with pytest.raises(ConfigError, match=r"commands-0-0 .*deleted and created again.*STREAMAPP_APP_ID"):
        table.fold(received(0, key=key, recorded_at=AT + SECOND))


def test_a_command_decoded_differently_the_second_time_stays_what_it_was(table):
    """Routes or limits may have changed between two owners: what was fixed at the first fold counts."""
    table.fold(received(0, policy=policy(max_attempts=5)))
    table.fold(received(0, content=rejection(Reason.UNKNOWN_ROUTE, id="c0")))
    assert table.entry().status is Status.ACCEPTED
    assert table.entry().policy == policy(max_attempts=5)


def test_params_are_kept_as_they_are(table):
    table.fold(received(0, content=command(id="c0", params='{ "a" :1}')))
    assert table.entry().params == '{ "a" :1}'


# Times of the route


def test_a_route_counts_its_times_from_the_acceptance():
    table = Table()
    table.fold(received(0, policy=policy(not_before=5 * SECOND, deadline=60 * SECOND), at=AT + SECOND))
    now = table.entry()
    assert (now.not_before, now.deadline) == (AT + 6 * SECOND, AT + 61 * SECOND)


def test_a_commands_own_times_go_before_those_of_its_route():
    table = Table()
    rules = policy(not_before=5 * SECOND, deadline=60 * SECOND)
    table.fold(received(0, policy=rules, not_before=AT))
    table.fold(received(1, policy=rules, deadline=AT + SECOND))
    assert (table.entry(0).not_before, table.entry(0).deadline) == (AT, AT + 60 * SECOND)
    assert (table.entry(1).not_before, table.entry(1).deadline) == (AT + 5 * SECOND, AT + SECOND)


def test_the_policy_of_the_first_fold_stays():
    table = Table()
    table.fold(received(0, policy=policy(max_attempts=2, deadline=SECOND)))
    before = table.entry()
    table.fold(received(0, policy=policy(max_attempts=7, deadline=9 * SECOND), at=AT + SECOND))
    assert table.entry() == before
