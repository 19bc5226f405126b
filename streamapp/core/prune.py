"""What may be forgotten: reads an ended entry and who holds its id; writes nothing, answers the rows that go."""

from datetime import datetime, timedelta

from streamapp.core.effects import Change, Delete, Identity, Reopened, Settled
from streamapp.core.model import Entry, Holder
from streamapp.core.state import State


def lifetime(entry: Entry, retention: timedelta) -> timedelta:
    """How long an entry is kept after its end: as its route says, else for the retention."""
    of_route = entry.policy.dedupe_for if entry.policy is not None else None
    return retention if of_route is None else of_route


def expired(state: State, entry: Entry, *, before: datetime, committed: int) -> tuple[Change, ...]:
    """The removals that forget an entry, in the order of writing; none while anything may still refer to it.

    The id row goes first: a crash in between leaves an entry that the next look finds. An id row without its entry
    would never be found again.

    Args:
        state: Tells who holds the entry's id now; a later command may.
        entry: Of a record of the commands topic.
        before: What ended later stays.
        committed: The committed offset of its partition: from there on, records may be read again and must find theirs.
    """
    offset = entry.source.offset
    if not entry.status.terminal or entry.at > before or offset >= committed:
        return ()
    removals: list[Change] = []
    if state.holder(entry.id) == Holder(entry.key, offset):
        removals.append(Delete(Identity(entry.id)))
    if entry.reopens is not None:
        removals.append(Delete(Reopened(str(entry.reopens))))
    return (*removals, Delete(Settled(entry.key, offset)))
