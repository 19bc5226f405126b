"""Reads an entry; answers what is said of it: its outcome, its dead letter, and whom its change releases."""

from streamapp.core.effects import Bury, Effect, Emit, Track
from streamapp.core.events import CommandReceived
from streamapp.core.model import DeadLetter, Entry, Outcome, Status
from streamapp.core.state import State

MAX_DETAIL_LENGTH = 1000
"""Of what others said about a command; longer texts are cut, so that no row or outcome grows out of Kafka's limits."""


def outcome_of(entry: Entry) -> Outcome:
    """How an entry now stands, for the results topic."""
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
        detail=_follows(entry) if entry.status is Status.ACCEPTED else entry.detail,
        at=entry.at,
        source=entry.source,
        timings=entry.timings,
        correlation_id=entry.correlation_id,
        causation_id=entry.causation_id,
        duplicate_of=entry.duplicate_of,
        replay_id=entry.reopens.replay_id if entry.reopens else None,
    )


def _follows(entry: Entry) -> str | None:
    return None if entry.reopens is None else f"follows {entry.reopens}"


def dead_letter_of(entry: Entry, event: CommandReceived | None = None) -> DeadLetter:
    """The dead letter of an entry that was given up; its bytes are the event's where the entry keeps none."""
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


def verdict(entry: Entry) -> list[Effect]:
    """What leaves when an entry has got a verdict."""
    effects: list[Effect] = [Emit(outcome_of(entry))]
    if entry.status in {Status.FAILED, Status.REJECTED}:
        effects.append(Bury(dead_letter_of(entry)))
    return effects


def released(state: State, before: Entry, now: Entry) -> list[Effect]:
    """The next command of the key, once this one no longer stands in the queue."""
    if not before.ordered or (now.ordered and not now.status.terminal):
        return []
    assert before.key is not None
    if state.head(before.key) != before.source.offset:
        return []
    successor = state.next_after(before.key, before.source.offset)
    return [Track(successor)] if successor else []


def cut(detail: str | None) -> str | None:
    """A text at the length that is kept."""
    if detail is None or len(detail) <= MAX_DETAIL_LENGTH:
        return detail
    return f"{detail[: MAX_DETAIL_LENGTH - 1]}…"
