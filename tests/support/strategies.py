"""Hypothesis strategies for the values of the core."""

from datetime import UTC, datetime, timedelta

from hypothesis import strategies as st

from streamapp.core.effects import Free, Identity, OfCommand, OfDag, OfKey, Queued, Reopened, Settled
from streamapp.core.model import (
    RETRYABLE,
    Action,
    Answer,
    DeadLetter,
    Entry,
    Holder,
    Instruction,
    OnFailure,
    Ordering,
    Original,
    Outcome,
    Paused,
    Policy,
    Reason,
    Reopens,
    RunState,
    Source,
    Standing,
    Status,
    Timings,
)


def optional(strategy):
    return st.none() | strategy


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)
blobs = st.binary(max_size=30)
keys = optional(blobs)
offsets = st.integers(0, 2**63 - 1)
counts = st.integers(0, 2**31 - 1)
times = st.integers(-62_135_596_800_000, 253_402_300_799_999).map(
    lambda millis: datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=millis)
)
told_times = st.integers(0, 221_845_392_000_000).map(
    lambda millis: datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=millis)
)
"""What workers say: no earlier than 1970 and before the year 9000."""
sources = st.builds(Source, names, st.integers(0, 1000), offsets)
headers = st.lists(st.tuples(texts, keys), max_size=4).map(tuple)
originals = st.builds(Original, keys, headers)
timings = st.builds(
    Timings,
    accepted_at=optional(told_times),
    triggered_at=optional(told_times),
    started_at=optional(told_times),
    ended_at=optional(told_times),
)
delays = st.integers(0, 10**9).map(lambda millis: timedelta(milliseconds=millis))
policies = st.builds(
    Policy,
    dag_id=names,
    ordering=st.sampled_from(Ordering),
    on_failure=st.sampled_from(OnFailure),
    max_attempts=counts,
    retry_delay=delays,
    max_in_flight=optional(counts),
    retry_delay_max=delays,
    retry_on=st.frozensets(st.sampled_from(sorted(RETRYABLE))),
    not_before=optional(delays),
    deadline=optional(delays),
    dedupe_for=optional(delays),
    paused=st.sampled_from(Paused),
)
reopens = st.builds(Reopens, sources, counts, optional(texts))
entries = st.builds(
    Entry,
    source=sources,
    key=keys,
    recorded_at=times,
    id=names,
    command=optional(texts),
    status=st.sampled_from(Status),
    policy=optional(policies),
    params=optional(st.text()),
    round=counts,
    attempt=counts,
    unstarted=counts,
    refused=counts,
    not_before=optional(times),
    deadline=optional(times),
    ending=optional(st.sampled_from(Status)),
    reason=optional(st.sampled_from(Reason)),
    run_id=optional(texts),
    detail=optional(st.text()),
    at=times,
    timings=timings,
    correlation_id=optional(texts),
    causation_id=optional(texts),
    duplicate_of=optional(texts),
    reopens=optional(reopens),
    instructed=optional(names),
    original=optional(originals),
)
holders = st.builds(Holder, keys, offsets)
standings = st.builds(
    Standing,
    stopped=st.booleans(),
    by=st.text(),
    reason=optional(st.text()),
    at=times,
    answers=st.lists(st.builds(Answer, names, optional(st.text()), optional(offsets)), max_size=3).map(tuple),
)
row_keys = st.one_of(
    st.builds(Queued, blobs, offsets),
    st.builds(Free, offsets),
    st.builds(Settled, keys, offsets),
    st.builds(Identity, names),
    st.builds(Reopened, names),
    st.builds(OfKey, blobs),
    st.builds(OfDag, texts),
    st.builds(OfCommand, names),
)
outcomes = st.builds(
    Outcome,
    command_id=names,
    key=keys,
    command=optional(texts),
    dag_id=optional(texts),
    dag_run_id=optional(texts),
    round=counts,
    attempt=counts,
    status=st.sampled_from(Status),
    reason=optional(st.sampled_from(Reason)),
    detail=optional(texts),
    at=told_times,
    source=sources,
    timings=timings,
    correlation_id=optional(texts),
    causation_id=optional(texts),
    duplicate_of=optional(texts),
    replay_id=optional(texts),
    control_id=optional(texts),
    result=optional(st.sampled_from(RunState)),
)
instructions = st.builds(
    Instruction,
    control_id=names,
    action=st.sampled_from(Action),
    command_id=optional(texts),
    key=keys,
    dag_id=optional(texts),
    by=names,
    reason=optional(texts),
    at=times,
)
dead_letters = st.builds(
    DeadLetter,
    source=sources,
    key=keys,
    original=originals,
    round=st.integers(1, 1000),
    reason=st.sampled_from(Reason),
    detail=texts,
    at=times,
)
