"""Folds an instruction of the control topic. Writes nothing itself."""

from dataclasses import replace
from datetime import datetime

from streamapp.core import verdicts
from streamapp.core.effects import Decision, Emit, Put, Track, place
from streamapp.core.events import Instructed
from streamapp.core.model import Action, Entry, Outcome, Status, Timings
from streamapp.core.state import State


def instruct(state: State, event: Instructed) -> Decision:
    """Fold an instruction."""
    asked = event.instruction
    holder = state.holder(asked.command_id) if asked.command_id is not None else None
    entry = state.entry(holder.key, holder.offset) if holder else None
    if asked.action is Action.EXPIRE:
        return _expire(entry, event.at)
    detail = f"this release takes no instruction {asked.action}"
    if entry is not None:
        outcome = replace(verdicts.outcome_of(entry), reason=None, timings=Timings())
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
