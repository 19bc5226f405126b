"""Folds a record of the commands topic: takes a command in, refuses it, or knows it again. Writes nothing itself."""

from dataclasses import replace

from streamapp.core import rows, verdicts
from streamapp.core.effects import Bury, Change, Decision, Effect, Emit, Identity, Put, Reopened, Track, place
from streamapp.core.errors import ConfigError
from streamapp.core.events import CommandReceived
from streamapp.core.key import MAX_KEY_BYTES, usable_key
from streamapp.core.model import Command, Entry, Holder, Reason, Rejection, Reopens, Status, Timings
from streamapp.core.reopen import FIRST_ROUND, Opened, reopen
from streamapp.core.routing import later
from streamapp.core.state import State

_FIRST = Opened("", FIRST_ROUND)
"""What a record opens that follows no round; its id is its own."""


def receive(state: State, event: CommandReceived) -> Decision:
    """Fold a record.

    Raises:
        ConfigError: the table knows the record's offset with another timestamp: the topic was recreated.
    """
    known = state.entry(usable_key(event.key), event.source.offset)
    if known is not None:
        return _receive_again(state, event, known)
    content, opens = event.content, _FIRST
    if event.reopens is not None:
        opened = reopen(state, event, event.reopens)
        if isinstance(opened, Entry):
            return _duplicate(event, opened, f"{event.reopens} was followed by {opened.source} already")
        if isinstance(opened, Rejection):
            return _reject(state, replace(event, reopens=None), opened)
        content, opens = replace(content, id=opened.id), opened
        event = replace(event, content=content)
    if isinstance(content, Rejection):
        return _reject(state, event, content, opens)
    if event.key is not None and len(event.key) > MAX_KEY_BYTES:
        detail = f"the key has {len(event.key)} bytes; {MAX_KEY_BYTES} are the most"
        return _reject(
            state, event, Rejection(reason=Reason.TOO_LARGE, detail=detail, id=content.id, command=content.command)
        )
    first = _other_of(state, content.id, event)
    if first is not None:
        return _duplicate(event, first, f"the command id was first seen at {first.source}")
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
        round=opens.round,
        not_before=content.not_before or later(event.at, event.policy.not_before),
        deadline=content.deadline or later(event.at, event.policy.deadline),
        at=event.at,
        timings=Timings(accepted_at=event.at),
        correlation_id=content.correlation_id,
        causation_id=content.causation_id,
        reopens=event.reopens,
        instructed=opens.instructed,
        original=event.original,
    )
    starts = not entry.ordered or entry.key is None or state.head(entry.key) is None
    return Decision(
        (Put(place(entry), entry), Put(Identity(entry.id), _holder(entry)), *_mark(entry)),
        (Emit(verdicts.outcome_of(entry)), Track(entry)) if starts else (Emit(verdicts.outcome_of(entry)),),
    )


def _other_of(state: State, command_id: str, event: CommandReceived) -> Entry | None:
    """The command that holds an id, unless it is the one whose next round a record opens."""
    holder = state.holder(command_id)
    if event.reopens is not None and holder == Holder(event.key, event.reopens.source.offset):
        return None  # at once: any number of rounds before it may have been rejected
    first = _first_of(state, holder)
    return None if first == _round_before(state, event.key, event.reopens) else first


def _first_of(state: State, holder: Holder | None) -> Entry | None:
    """The command of whoever holds an id."""
    return _with_run(state, state.entry(holder.key, holder.offset)) if holder else None


def _round_before(state: State, key: bytes | None, reopens: Reopens | None) -> Entry | None:
    """The round after which a record comes, without those that were rejected."""
    return None if reopens is None else _with_run(state, state.entry(key, reopens.source.offset))


def _with_run(state: State, last: Entry | None) -> Entry | None:
    """Of a command's rounds, the last that has come to a run, or still may.

    One that was rejected before does not count: where there is no other, the id is free again.
    """
    while last is not None and last.status is Status.REJECTED and last.attempt == last.refused:
        last = state.entry(last.key, last.reopens.source.offset) if last.reopens is not None else None
    return last


def _holder(entry: Entry) -> Holder:
    return Holder(entry.key, entry.source.offset)


def _mark(entry: Entry) -> list[Change]:
    """The row that keeps the round before from being followed twice."""
    return [] if entry.reopens is None else [Put(Reopened(str(entry.reopens)), _holder(entry))]


def _reject(state: State, event: CommandReceived, rejection: Rejection, opens: Opened = _FIRST) -> Decision:
    entry = Entry(
        source=event.source,
        key=usable_key(event.key),
        recorded_at=event.recorded_at,
        id=rejection.id,
        command=rejection.command,
        status=Status.REJECTED,
        reason=rejection.reason,
        detail=verdicts.cut(rejection.detail),
        round=opens.round,
        at=event.at,
        reopens=event.reopens,
        instructed=opens.instructed,
    )
    changes: list[Change] = [Put(place(entry), entry), *_mark(entry)]
    if state.holder(entry.id) is None:  # for look-ups; another command's id is left to it
        changes.append(Put(Identity(entry.id), _holder(entry)))
    return Decision(tuple(changes), (Emit(verdicts.outcome_of(entry)), Bury(verdicts.dead_letter_of(entry, event))))


def _duplicate(event: CommandReceived, first: Entry, detail: str) -> Decision:
    content = event.content
    entry = Entry(
        source=event.source,
        key=usable_key(event.key),
        recorded_at=event.recorded_at,
        id=content.id,
        command=content.command,
        status=Status.DUPLICATE,
        policy=event.policy,
        detail=detail,
        at=event.at,
        correlation_id=content.correlation_id if isinstance(content, Command) else None,
        causation_id=content.causation_id if isinstance(content, Command) else None,
        duplicate_of=str(first.source),
    )
    return Decision((Put(place(entry), entry),), (Emit(verdicts.outcome_of(entry)),))


def _receive_again(state: State, event: CommandReceived, known: Entry) -> Decision:
    if known.recorded_at != event.recorded_at:
        raise ConfigError(
            f"{event.source} was written at {event.recorded_at.isoformat()}, but the table knows a record of this "
            f"offset written at {known.recorded_at.isoformat()}: the topic was deleted and created again. Use a new "
            "app id (STREAMAPP_APP_ID) or delete this one's consumer group and changelog topic."
        )
    changes = [*rows.again(known), *_mark(known)]
    if _holds_its_id(state, known):
        changes.append(Put(Identity(known.id), _holder(known)))
    if known.timings.accepted_at is not None:
        accepted = replace(
            known,
            status=Status.ACCEPTED,
            attempt=0,
            run_id=None,
            reason=None,
            at=known.timings.accepted_at,
            timings=Timings(accepted_at=known.timings.accepted_at),
            duplicate_of=None,
        )
        return Decision(tuple(changes), (Emit(verdicts.outcome_of(accepted)),))
    effects: list[Effect] = [Emit(verdicts.outcome_of(known))]
    if known.status is Status.REJECTED:
        effects.append(Bury(verdicts.dead_letter_of(known, event)))
    return Decision(tuple(changes), tuple(effects))


def _holds_its_id(state: State, known: Entry) -> bool:
    """Whether the id row is a known record's own, although a crash may have kept it from being written."""
    if known.status is Status.DUPLICATE:
        return False
    holder = state.holder(known.id)
    if holder is None or holder == _holder(known):
        return True
    if known.status is Status.REJECTED:
        return False
    first = _first_of(state, holder)
    return first is None or first == _round_before(state, known.key, known.reopens)
