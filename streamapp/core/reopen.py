"""Says whether a record may open the next round of a command: a redrive, or part of a replay. Reads the state only."""

from dataclasses import dataclass

from streamapp.core.events import CommandReceived
from streamapp.core.key import usable_key
from streamapp.core.model import Entry, Reason, Rejection, Reopens, Status
from streamapp.core.state import State

FIRST_ROUND = 1

_REDRIVEN = frozenset({Status.FAILED, Status.REJECTED})


@dataclass(frozen=True, slots=True)
class Opened:
    """The next round of a command."""

    id: str
    """The command's, which the record itself may not name: an id made from a position is that of the first round."""
    round: int
    instructed: str | None = None
    """The last instruction that was followed for a round before."""


def reopen(state: State, event: CommandReceived, reopens: Reopens) -> Opened | Entry | Rejection:
    """The round that a record opens; else the record that has opened it before, or why it can't be opened.

    The round before may be forgotten already: then the record is believed.
    """
    follower = state.reopened(str(reopens))
    taken = state.entry(follower.key, follower.offset) if follower else None
    if taken is not None:
        return taken
    key = usable_key(event.key)
    before = state.entry(key, reopens.source.offset)
    holder = state.holder(event.content.id)
    if before is not None:
        why = _refusal(before, reopens)
    elif holder is not None and holder.offset == reopens.source.offset and holder.key != key:
        why = f"{reopens.source} has another key, and rounds of a command have one"
    else:
        return Opened(event.content.id, reopens.round + 1)
    if why is not None:
        return Rejection(reason=Reason.INVALID_COMMAND, detail=why, id=event.content.id, command=event.content.command)
    assert before is not None
    return Opened(before.id, before.round + 1, before.instructed)


def _refusal(before: Entry, reopens: Reopens) -> str | None:
    if before.round != reopens.round:
        return f"{before.source} is round {before.round} of its command, not {reopens.round}"
    if not before.status.terminal:
        return f"{before.source} has not ended: retry, skip or cancel it where it stands"
    if before.status is Status.DUPLICATE:
        return f"{before.source} was a duplicate of {before.duplicate_of}: run that again"
    if reopens.replay_id is None and before.status not in _REDRIVEN:
        return f"{before.source} has ended as {before.status}: there is nothing to redrive, but it can be replayed"
    return None
