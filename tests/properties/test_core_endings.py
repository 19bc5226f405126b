"""Observations and verdicts: whatever is seen, however often and in whatever order, a command ends once."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from streamapp.core.model import OnFailure, Ordering, Reason, RunState, Status
from tests.support.builders import AT, SECOND, entry, expire, observed, outcome, policy, received
from tests.support.memory import Table, letters, outcomes, tracked
from tests.support.plans import often

reasons = st.sampled_from([None, Reason.RUN_FAILED, Reason.RUN_NOT_STARTED, Reason.DAG_NOT_FOUND, Reason.RUN_DELETED])
policies = st.builds(
    policy,
    ordering=st.sampled_from(Ordering),
    on_failure=st.sampled_from(OnFailure),
    max_attempts=st.integers(1, 3),
)


@st.composite
def seen(draw):
    """Anything that a sink or a follower might say of one of two commands of a key, true or not."""
    about = entry(draw(st.integers(0, 1)))
    if draw(st.integers(0, 5)) == 0:
        return expire(about, at=AT + draw(st.integers(0, 2)) * SECOND)
    status = draw(st.sampled_from([Status.TRIGGERED, Status.RUN_ENDED, Status.RUN_ENDED, Status.SUCCEEDED]))
    attempt = draw(st.sampled_from([1, 1, 1, 2, 2, 3, 4, 0]))
    said = outcome(about, status, attempt=attempt, round=draw(st.sampled_from([1, 1, 1, 1, 2])))
    return observed(replace(said, result=draw(st.sampled_from([None, *RunState])), reason=draw(reasons)))


events = st.lists(seen(), max_size=40)
deadlines = st.sampled_from([None, AT, AT + SECOND])


def accepted(rules, deadline):
    table = Table()
    table.folds(*(received(offset, policy=rules, deadline=deadline) for offset in (0, 1)))
    return table


@often(400)
@given(policies, deadlines, events)
def test_no_sequence_of_observations_gives_a_command_two_endings(rules, deadline, sequence):
    table = accepted(rules, deadline)
    told, buried = set(), set()
    for event in sequence:
        decision = table.fold(event)
        told |= {(one.source, one.id) for one in outcomes(decision) if one.status.terminal}
        buried |= {letter.id for letter in letters(decision)}
    assert len(told) == len({source for source, _ in told})
    ends = {key: row for key, row in table.rows().items() if getattr(row, "status", Status.ACCEPTED).terminal}
    assert {row.source for row in ends.values()} == {source for source, _ in told}
    assert len(buried) == len([row for row in ends.values() if row.status in {Status.FAILED, Status.REJECTED}])


@often(400)
@given(policies, deadlines, events)
def test_what_has_ended_or_is_blocked_stays_as_it_is(rules, deadline, sequence):
    table = accepted(rules, deadline)
    still = {}
    for event in sequence:
        table.fold(event)
        for offset in (0, 1):
            now = table.entry(offset)
            assert still.get(offset, now) == now
            if now.status.terminal or now.status is Status.BLOCKED:
                still[offset] = now


@often(400)
@given(policies, deadlines, events)
def test_attempts_only_grow_and_stay_within_what_is_allowed(rules, deadline, sequence):
    table = accepted(rules, deadline)
    last = {0: 0, 1: 0}
    for event in sequence:
        table.fold(event)
        for offset in (0, 1):
            now = table.entry(offset)
            assert last[offset] <= now.attempt <= last[offset] + 1
            assert now.attempt <= rules.max_attempts + 3
            assert now.ending is None or not (now.status.terminal or now.status is Status.BLOCKED)
            last[offset] = now.attempt


@often(400)
@given(st.builds(policy, on_failure=st.sampled_from(OnFailure), max_attempts=st.integers(1, 3)), deadlines, events)
def test_the_second_of_a_key_is_started_once_and_only_when_the_first_has_ended(rules, deadline, sequence):
    table = Table()
    table.folds(*(received(offset, policy=rules, deadline=deadline) for offset in (0, 1)))
    for event in sequence:
        about = getattr(event, "outcome", None)
        if (about.source.offset if about else int(event.instruction.command_id[1:])) == 1:
            continue  # nobody sees anything of a command that was not started
        before = table.entry(0)
        started = [kept for kept in tracked(table.fold(event)) if kept.source.offset == 1]
        ended_now = table.entry(0).status.terminal and not before.status.terminal
        assert len(started) == ended_now
        assert table.partition.head(b"k") == (1 if table.entry(0).status.terminal else 0)


@often(400)
@given(policies, deadlines, events)
def test_the_table_that_a_new_owner_restores_starts_the_first_of_each_key(rules, deadline, sequence):
    table = accepted(rules, deadline)
    table.folds(*sequence)
    following = table.again()
    active = [row for offset in (0, 1) if not (row := table.entry(offset)).status.terminal]
    queued = [row.source.offset for row in active if row.ordered]
    expected = {row.source.offset for row in active if not row.ordered} | set(queued[:1])
    assert {row.source.offset for row in following.recovered} == expected
    assert following.partition.head(b"k") == (queued[0] if queued else None)
