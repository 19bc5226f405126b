"""What `decide` answers: changes of the table's rows, and effects that leave once the rows are safe."""

from dataclasses import dataclass

from streamapp.core.model import DeadLetter, Entry, Holder, Outcome, Standing


@dataclass(frozen=True, slots=True)
class Queued:
    """Row key of an entry that stands in its key's queue, first or behind others."""

    key: bytes
    offset: int


@dataclass(frozen=True, slots=True)
class Free:
    """Row key of an active entry that holds no key."""

    offset: int


@dataclass(frozen=True, slots=True)
class Settled:
    """Row key of an entry that has ended."""

    key: bytes | None
    offset: int


@dataclass(frozen=True, slots=True)
class Identity:
    """Row key of a command id."""

    id: str


@dataclass(frozen=True, slots=True)
class Reopened:
    """Row key of a round that was followed by another one: it is not followed a second time."""

    round: str


@dataclass(frozen=True, slots=True)
class OfKey:
    """Row key of what operators have said of a key."""

    key: bytes


@dataclass(frozen=True, slots=True)
class OfDag:
    """Row key of what operators have said of a DAG; an empty name stands for all of them."""

    dag_id: str


@dataclass(frozen=True, slots=True)
class OfCommand:
    """Row key of what operators were told of a command, whichever record has its id."""

    id: str


EntryKey = Queued | Free | Settled
Scope = OfKey | OfDag | OfCommand
RowKey = EntryKey | Identity | Reopened | Scope
Row = Entry | Holder | Standing


@dataclass(frozen=True, slots=True)
class Put:
    """Write a row."""

    key: RowKey
    row: Row


@dataclass(frozen=True, slots=True)
class Delete:
    """Remove a row."""

    key: RowKey


Change = Put | Delete


@dataclass(frozen=True, slots=True)
class Emit:
    """Publish an outcome."""

    outcome: Outcome


@dataclass(frozen=True, slots=True)
class Bury:
    """Publish a dead letter."""

    letter: DeadLetter


@dataclass(frozen=True, slots=True)
class Track:
    """Tell the index in memory how an entry now stands: to run, to follow, to settle, or to forget."""

    entry: Entry


@dataclass(frozen=True, slots=True)
class Steer:
    """Tell the index whether anything of a key or a DAG may start."""

    scope: Scope
    stopped: bool


Effect = Emit | Bury | Track | Steer


@dataclass(frozen=True, slots=True)
class Decision:
    """Changes in the order of writing (an entry always first), then effects in the order of leaving."""

    changes: tuple[Change, ...] = ()
    effects: tuple[Effect, ...] = ()


def place(entry: Entry) -> EntryKey:
    """Where an entry's row stands."""
    if entry.status.terminal:
        return Settled(entry.key, entry.source.offset)
    if entry.ordered:
        assert entry.key is not None
        return Queued(entry.key, entry.source.offset)
    return Free(entry.source.offset)
