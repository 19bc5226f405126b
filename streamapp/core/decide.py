"""The decision core: reads one partition's state and an event, writes nothing, answers what follows.

Three logs are folded: commands are received, observations of runs come back, instructions are given. Only here a
command gets a verdict. An event that was folded before changes nothing and dispatches nothing: its rows are written
again as they now are, because a crash may have cut a fold's rows short, and what they show is published again, because
a crash may have kept it from leaving.
"""

from dataclasses import replace
from datetime import datetime

from streamapp.core.effects import (
    Bury,
    Change,
    Decision,
    Delete,
    Effect,
    Emit,
    EntryKey,
    Free,
    Identity,
    Put,
    Queued,
    Track,
    place,
)
from streamapp.core.errors import ConfigError
from streamapp.core.events import CommandReceived, Event, Instructed, Observed
from streamapp.core.key import MAX_KEY_BYTES, usable_key
from streamapp.core.model import (
    OBSERVATIONS,
    Action,
    Command,
    DeadLetter,
    Entry,
    Holder,
    OnFailure,
    Outcome,
    Reason,
    Rejection,
    RunState,
    Status,
    Timings,
)
from streamapp.core.retry import UNSTARTED_ALLOWED, retry_delay
from streamapp.core.state import State

MAX_DETAIL_LENGTH = 1000
"""Of what others said about a command; longer texts are cut, so that no row or outcome grows out of Kafka's limits."""

_WITHOUT_RUN = frozenset({RunState.NOT_CREATED, RunState.DUPLICATE})
_ENDING_DETAIL = {Status.EXPIRED: "its deadline passed before a run was created"}


def decide(state: State, event: Event) -> Decision:
    """Fold one event.

    Raises:
        ConfigError: the table knows the record's offset with another timestamp: the topic was recreated.
    """
    match event:
        case CommandReceived():
            return _receive(state, event)
        case Observed():
            return _observe(state, event)
        case Instructed():
            return _instruct(state, event)


# Commands


def _receive(state: State, event: CommandReceived) -> Decision:
    known = state.entry(usable_key(event.key), event.source.offset)
    if known is not None:
        return _receive_again(state, event, known)
    content = event.content
    if isinstance(content, Rejection):
        return _reject(state, event, content)
    if event.key is not None and len(event.key) > MAX_KEY_BYTES:
        detail = f"the key has {len(event.key)} bytes; {MAX_KEY_BYTES} are the most"
        return _reject(
            state, event, Rejection(reason=Reason.TOO_LARGE, detail=detail, id=content.id, command=content.command)
        )
    first = _first_of(state, content.id)
    if first is not None:
        return _duplicate(event, content, first)
    assert event.policy is not None
    entry = Entry(
        source=event.source,
        key=event.key,
        recorded_at=event.recorded_at,
        id=content.id,
        command=content.command,
        status=Status.ACCEPTED,
        policy=event.policy,
        params=content.params,
        not_before=content.not_before,
        deadline=content.deadline,
        at=event.at,
        timings=Timings(accepted_at=event.at),
        correlation_id=content.correlation_id,
        causation_id=content.causation_id,
        original=event.original,
    )
    starts = not entry.ordered or entry.key is None or state.head(entry.key) is None
    return Decision(
        (Put(place(entry), entry), Put(Identity(entry.id), Holder(entry.key, entry.source.offset))),
        (Emit(_outcome(entry)), Track(entry)) if starts else (Emit(_outcome(entry)),),
    )


def _first_of(state: State, command_id: str) -> Entry | None:
    """The command that holds an id; a rejected one never ran and does not hold it."""
    holder = state.holder(command_id)
    first = state.entry(holder.key, holder.offset) if holder else None
    return None if first is None or first.status is Status.REJECTED else first


def _reject(state: State, event: CommandReceived, rejection: Rejection) -> Decision:
    entry = Entry(
        source=event.source,
        key=usable_key(event.key),
        recorded_at=event.recorded_at,
        id=rejection.id,
        command=rejection.command,
        status=Status.REJECTED,
        reason=rejection.reason,
        detail=_cut(rejection.detail),
        at=event.at,
    )
    changes: list[Change] = [Put(place(entry), entry)]
    if state.holder(entry.id) is None:  # for look-ups; another command's id is left to it
        changes.append(Put(Identity(entry.id), Holder(entry.key, entry.source.offset)))
    return Decision(tuple(changes), (Emit(_outcome(entry)), Bury(_dead_letter(entry, event))))


def _duplicate(event: CommandReceived, command: Command, first: Entry) -> Decision:
    entry = Entry(
        source=event.source,
        key=event.key,
        recorded_at=event.recorded_at,
        id=command.id,
        command=command.command,
        status=Status.DUPLICATE,
        policy=event.policy,
        detail=f"the command id was first seen at {first.source}",
        at=event.at,
        correlation_id=command.correlation_id,
        causation_id=command.causation_id,
        duplicate_of=str(first.source),
    )
    return Decision((Put(place(entry), entry),), (Emit(_outcome(entry)),))


def _receive_again(state: State, event: CommandReceived, known: Entry) -> Decision:
    if known.recorded_at != event.recorded_at:
        raise ConfigError(
            f"{event.source} was written at {event.recorded_at.isoformat()}, but the table knows a record of this "
            f"offset written at {known.recorded_at.isoformat()}: the topic was deleted and created again. Use a new "
            "app id (STREAMAPP_APP_ID) or delete this one's consumer group and changelog topic."
        )
    changes = _rows_again(known)
    if _holds_its_id(state, known):
        changes.append(Put(Identity(known.id), Holder(known.key, known.source.offset)))
    if known.timings.accepted_at is not None:
        accepted = replace(
            known,
            status=Status.ACCEPTED,
            attempt=0,
            run_id=None,
            reason=None,
            detail=None,
            at=known.timings.accepted_at,
            timings=Timings(accepted_at=known.timings.accepted_at),
            duplicate_of=None,
        )
        return Decision(tuple(changes), (Emit(_outcome(accepted)),))
    effects: list[Effect] = [Emit(_outcome(known))]
    if known.status is Status.REJECTED:
        effects.append(Bury(_dead_letter(known, event)))
    return Decision(tuple(changes), tuple(effects))


def _holds_its_id(state: State, known: Entry) -> bool:
    """Whether the id row is a known record's own, although a crash may have kept it from being written."""
    if known.status is Status.DUPLICATE:
        return False
    holder = state.holder(known.id)
    if holder is None or holder == Holder(known.key, known.source.offset):
        return True
    return known.status is not Status.REJECTED and _first_of(state, known.id) is None


# Observations


def _observe(state: State, event: Observed) -> Decision:
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
            effects = _verdict(entry)
        elif seen.attempt < entry.run_attempt and seen.result is RunState.FAILED:
            effects = [Emit(_attempt_failed_before(entry, seen))]
    return Decision(tuple(_rows_again(entry)), tuple(effects))


def _pronounced(entry: Entry) -> bool:
    return entry.status.terminal or entry.status in {Status.BLOCKED, Status.ATTEMPT_FAILED}


def _attempt_failed_before(entry: Entry, seen: Outcome) -> Outcome:
    """What was said of an attempt that others have followed since."""
    return replace(
        _outcome(entry),
        status=Status.ATTEMPT_FAILED,
        attempt=seen.attempt,
        dag_run_id=seen.dag_run_id,
        reason=seen.reason or Reason.RUN_FAILED,
        detail=_cut(seen.detail),
        at=seen.at,
        timings=seen.timings,
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
        detail=None,
        at=at,
        timings=Timings(
            accepted_at=entry.timings.accepted_at,
            triggered_at=seen.timings.triggered_at or at,
        ),
    )
    return Decision(tuple(_rows(entry, now)), (Track(now), *_release(state, entry, now)))


def _run_ended(state: State, entry: Entry, seen: Outcome, at: datetime) -> Decision:
    ended = replace(
        entry,
        attempt=seen.attempt,
        run_id=seen.dag_run_id,
        not_before=None,
        at=at,
        reason=seen.reason,
        detail=_cut(seen.detail),
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
            now = replace(ended, status=entry.ending, reason=None, detail=_ENDING_DETAIL.get(entry.ending))
        case RunState.NOT_CREATED if seen.reason is not None:
            now = _given_up(ended, Status.REJECTED)
        case RunState.FAILED | RunState.DELETED if entry.ending not in {None, Status.EXPIRED}:
            assert entry.ending is not None
            now = replace(ended, status=entry.ending)
        case RunState.FAILED:
            now = _failed(ended)
        case RunState.DELETED:  # never triggered again by itself: the deletion has freed the run id
            now = _given_up(replace(ended, reason=Reason.RUN_DELETED), Status.FAILED)
        case _:  # nobody sends this; without a reason there is no verdict
            return Decision()
    if now.status.terminal:
        now = _shrunk(now)
    return Decision(tuple(_rows(entry, now)), (*_verdict(now), Track(now), *_release(state, entry, now)))


def _failed(ended: Entry) -> Entry:
    """A failed attempt: another one, or the end. A run in which no task started is not the command's fault."""
    assert ended.policy is not None
    reason = ended.reason or Reason.RUN_FAILED
    policy, ended = ended.policy, replace(ended, reason=reason)
    if reason is Reason.RUN_NOT_STARTED and ended.unstarted < UNSTARTED_ALLOWED:
        ended = replace(ended, unstarted=ended.unstarted + 1)
        again = True
    else:
        again = ended.attempt - ended.unstarted < policy.max_attempts
    if not again:
        return _given_up(ended, Status.FAILED)
    return replace(ended, status=Status.ATTEMPT_FAILED, not_before=ended.at + retry_delay(ended))


def _given_up(ended: Entry, status: Status) -> Entry:
    """No attempt follows: the command ends, or holds its key until an operator acts."""
    assert ended.policy is not None
    return replace(ended, status=Status.BLOCKED if ended.policy.on_failure is OnFailure.BLOCK else status, ending=None)


def _shrunk(entry: Entry) -> Entry:
    """What dedupe, history and look-up need; the bytes stay where a dead letter may have to be written again."""
    buried = entry.status in {Status.FAILED, Status.REJECTED}
    return replace(entry, params=None, ending=None, original=entry.original if buried else None)


def _verdict(entry: Entry) -> list[Effect]:
    effects: list[Effect] = [Emit(_outcome(entry))]
    if entry.status in {Status.FAILED, Status.REJECTED}:
        effects.append(Bury(_dead_letter(entry)))
    return effects


def _release(state: State, before: Entry, now: Entry) -> list[Effect]:
    """The next command of the key, once this one no longer stands in the queue."""
    if not before.ordered or (now.ordered and not now.status.terminal):
        return []
    assert before.key is not None
    if state.head(before.key) != before.source.offset:
        return []
    successor = state.next_after(before.key, before.source.offset)
    return [Track(successor)] if successor else []


# Instructions


def _instruct(state: State, event: Instructed) -> Decision:
    asked = event.instruction
    holder = state.holder(asked.command_id) if asked.command_id is not None else None
    entry = state.entry(holder.key, holder.offset) if holder else None
    if asked.action is Action.EXPIRE:
        return _expire(entry, event.at)
    detail = f"this release takes no instruction {asked.action}"
    if entry is not None:
        outcome = replace(_outcome(entry), reason=None, timings=Timings())
    else:
        outcome = Outcome(
            command_id=asked.command_id or "",
            key=asked.key,
            command=None,
            dag_id=asked.dag_id,
            dag_run_id=None,
            round=0,
            attempt=0,
            status=Status.INSTRUCTION_REFUSED,
            at=event.at,
            source=event.source,
        )
    refused = replace(
        outcome, status=Status.INSTRUCTION_REFUSED, detail=detail, at=event.at, control_id=asked.control_id, result=None
    )
    return Decision((), (Emit(refused),))


def _expire(entry: Entry | None, at: datetime) -> Decision:
    """Mark a command whose deadline has passed; its owner settles any POST in flight before the fold ends it."""
    if entry is None or not entry.dispatchable or entry.deadline is None or at < entry.deadline:
        return Decision()
    now = replace(entry, ending=Status.EXPIRED, at=at)
    return Decision((Put(place(now), now),), (Track(now),))


# Shared


def _rows(before: Entry, now: Entry) -> list[Change]:
    """The entry in its new place first, then its old row's removal: a crash in between loses nothing."""
    here, there = place(now), place(before)
    return [Put(here, now)] if here == there else [Put(here, now), Delete(there)]


def _rows_again(entry: Entry) -> list[Change]:
    """All rows of an entry as they now are, with the removals that a crash may have cut off."""
    here = place(entry)
    changes: list[Change] = [Put(here, entry)]
    offset = entry.source.offset
    others: list[EntryKey] = [Free(offset)] if entry.key is None else [Queued(entry.key, offset), Free(offset)]
    if entry.policy is not None:
        changes.extend(Delete(other) for other in others if other != here)
    return changes


def _outcome(entry: Entry) -> Outcome:
    return Outcome(
        command_id=entry.id,
        key=entry.key,
        command=entry.command,
        dag_id=entry.policy.dag_id if entry.policy else None,
        dag_run_id=entry.run_id,
        round=entry.round,
        attempt=entry.attempt,
        status=entry.status,
        reason=entry.reason,
        detail=entry.detail,
        at=entry.at,
        source=entry.source,
        timings=entry.timings,
        correlation_id=entry.correlation_id,
        causation_id=entry.causation_id,
        duplicate_of=entry.duplicate_of,
    )


def _cut(detail: str | None) -> str | None:
    if detail is None or len(detail) <= MAX_DETAIL_LENGTH:
        return detail
    return f"{detail[: MAX_DETAIL_LENGTH - 1]}…"


def _dead_letter(entry: Entry, event: CommandReceived | None = None) -> DeadLetter:
    original = event.original if event else entry.original
    assert original is not None
    assert entry.reason is not None
    return DeadLetter(
        source=entry.source,
        key=event.key if event else entry.key,
        original=original,
        round=entry.round,
        reason=entry.reason,
        detail=entry.detail or "",
        at=entry.at,
    )
