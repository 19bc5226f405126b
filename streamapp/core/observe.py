"""Folds what was seen of a run: `triggered` and `run_ended` of the results topic. Only here a run gets a verdict."""

from dataclasses import replace
from datetime import datetime

from streamapp.core import rows, verdicts
from streamapp.core.effects import Decision, Effect, Emit, Track
from streamapp.core.events import Observed
from streamapp.core.model import OBSERVATIONS, Entry, OnFailure, Outcome, Reason, RunState, Status, Timings
from streamapp.core.retry import UNSTARTED_ALLOWED, retry_delay
from streamapp.core.state import State

_WITHOUT_RUN = frozenset({RunState.NOT_CREATED, RunState.DUPLICATE})
_TRIED_AGAIN = frozenset({RunState.FAILED, RunState.NOT_CREATED})
_ENDING_DETAIL = {Status.EXPIRED: "its deadline passed before a run was created"}


def observe(state: State, event: Observed) -> Decision:
    """Fold an observation; what fits no known command and attempt changes nothing."""
    seen = event.outcome
    if seen.status not in OBSERVATIONS:
        return Decision()
    entry = state.entry(event.key, seen.source.offset)
    if entry is None or (entry.source, entry.id) != (seen.source, seen.command_id) or entry.policy is None:
        return Decision()
    told = entry.status.terminal or entry.status is Status.BLOCKED
    if told or (seen.round, seen.attempt) != (entry.round, entry.run_attempt):
        return _observe_again(entry, seen)
    if entry.status is Status.TRIGGERED and (seen.status is Status.TRIGGERED or seen.result in _WITHOUT_RUN):
        return _observe_again(entry, seen)  # a run that is known to exist is followed to its end
    if seen.status is Status.TRIGGERED:
        return _triggered(state, entry, seen, event.at)
    return _run_ended(state, entry, seen, event.at)


def _observe_again(entry: Entry, seen: Outcome) -> Decision:
    """A late or repeated observation; what followed from it is published again.

    An attempt that came to no run is not counted (`entry.attempt`), so its verdict is found under the attempt before.
    """
    effects: list[Effect] = []
    if seen.status is Status.RUN_ENDED and seen.round == entry.round:
        if seen.attempt >= entry.attempt and _pronounced(entry):
            effects = verdicts.verdict(entry)
        elif seen.attempt < entry.run_attempt and seen.result in _TRIED_AGAIN:
            effects = [Emit(_attempt_failed_before(entry, seen))]
    return Decision(tuple(rows.again(entry)), tuple(effects))


def _pronounced(entry: Entry) -> bool:
    return entry.status.terminal or entry.status in {Status.BLOCKED, Status.ATTEMPT_FAILED}


def _attempt_failed_before(entry: Entry, seen: Outcome) -> Outcome:
    """What was said of an attempt that others have followed since."""
    return replace(
        verdicts.outcome_of(entry),
        status=Status.ATTEMPT_FAILED,
        attempt=seen.attempt,
        dag_run_id=None if seen.result is RunState.NOT_CREATED else seen.dag_run_id,
        reason=seen.reason or Reason.RUN_FAILED,
        detail=verdicts.cut(seen.detail),
        at=seen.at,
        timings=replace(seen.timings, accepted_at=entry.timings.accepted_at),
        duplicate_of=None,
    )


def _triggered(state: State, entry: Entry, seen: Outcome, at: datetime) -> Decision:
    now = replace(
        entry,
        status=Status.TRIGGERED,
        attempt=seen.attempt,
        run_id=seen.dag_run_id,
        not_before=None,
        ending=None if entry.ending is Status.EXPIRED else entry.ending,  # a run that runs is not stopped by a deadline
        reason=None,
        detail=entry.detail if entry.ending else None,  # who wanted it to end
        at=at,
        timings=Timings(
            accepted_at=entry.timings.accepted_at,
            triggered_at=seen.timings.triggered_at or at,
        ),
    )
    return Decision(tuple(rows.moved(entry, now)), (Track(now), *verdicts.released(state, entry, now)))


def _run_ended(state: State, entry: Entry, seen: Outcome, at: datetime) -> Decision:
    ended = replace(
        entry,
        attempt=seen.attempt,
        run_id=seen.dag_run_id,
        not_before=None,
        at=at,
        reason=seen.reason,
        detail=verdicts.cut(seen.detail),
        timings=replace(entry.timings, started_at=seen.timings.started_at, ended_at=seen.timings.ended_at),
    )
    if seen.result is RunState.NOT_CREATED:  # this attempt was never begun
        ended = replace(ended, attempt=entry.attempt, run_id=None)
    match seen.result:
        case RunState.SUCCESS:
            now = replace(ended, status=Status.SUCCEEDED, reason=None)
        case RunState.DUPLICATE:
            now = replace(ended, status=Status.DUPLICATE, duplicate_of=seen.duplicate_of)
        case RunState.NOT_CREATED if entry.ending is not None:
            detail = _ENDING_DETAIL.get(entry.ending, entry.detail)
            now = replace(ended, status=entry.ending, reason=None, detail=detail)
        case RunState.NOT_CREATED if seen.reason is not None:
            now = _refused(ended, seen.attempt)
        case RunState.FAILED | RunState.DELETED if entry.ending not in {None, Status.EXPIRED}:
            assert entry.ending is not None
            now = replace(ended, status=entry.ending, reason=None, detail=entry.detail)
        case RunState.FAILED:
            now = _failed(ended)
        case RunState.DELETED:  # never triggered again by itself: the deletion has freed the run id
            now = _given_up(replace(ended, reason=Reason.RUN_DELETED), Status.FAILED)
        case _:  # nobody sends this; without a reason there is no verdict
            return Decision()
    if now.status.terminal:
        now = rows.shrunk(now)
    return Decision(
        tuple(rows.moved(entry, now)), (*verdicts.verdict(now), Track(now), *verdicts.released(state, entry, now))
    )


def _failed(ended: Entry) -> Entry:
    """A failed attempt: another one, or the end. A run in which no task started is not the command's fault."""
    assert ended.policy is not None
    reason = ended.reason or Reason.RUN_FAILED
    policy, ended = ended.policy, replace(ended, reason=reason)
    if reason not in policy.retry_on:
        return _given_up(ended, Status.FAILED)
    if reason is Reason.RUN_NOT_STARTED and ended.unstarted < UNSTARTED_ALLOWED:
        return _again(replace(ended, unstarted=ended.unstarted + 1))
    if ended.attempt - ended.unstarted < policy.max_attempts:
        return _again(ended)
    return _given_up(ended, Status.FAILED)


def _refused(ended: Entry, attempt: int) -> Entry:
    """An attempt that Airflow refused. Where another may follow, its number is used up, so that each is told apart."""
    assert ended.policy is not None
    used_up = replace(ended, attempt=attempt, refused=ended.refused + 1)
    if ended.reason in ended.policy.retry_on and attempt - ended.unstarted < ended.policy.max_attempts:
        return _again(used_up)
    return _given_up(used_up if ended.policy.on_failure is OnFailure.BLOCK else ended, Status.REJECTED)


def _again(ended: Entry) -> Entry:
    return replace(ended, status=Status.ATTEMPT_FAILED, not_before=ended.at + retry_delay(ended))


def _given_up(ended: Entry, status: Status) -> Entry:
    """No attempt follows: the command ends, or holds its key until an operator acts."""
    assert ended.policy is not None
    return replace(ended, status=Status.BLOCKED if ended.policy.on_failure is OnFailure.BLOCK else status, ending=None)
