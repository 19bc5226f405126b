"""One partition's state: reads rows on their way to the changelog over rows of the database, writes neither.

The overlay holds what folds have decided and the changelog has not acknowledged yet. The first entry of each key's
queue is remembered, because a queue's front is full of removed rows that a database would have to step over; and so is
the last one, because behind it stand the removed rows of all other keys.
"""

from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import dataclass
from heapq import merge
from itertools import groupby

from sortedcontainers import SortedDict

from streamapp.core.effects import (
    Change,
    Delete,
    EntryKey,
    Free,
    Identity,
    OfCommand,
    OfDag,
    OfKey,
    Put,
    Queued,
    Reopened,
    Row,
    RowKey,
    Scope,
    Settled,
)
from streamapp.core.model import Entry, Holder, Standing
from streamapp.dispatch.ports import Ledger, RowCodec


@dataclass(frozen=True, slots=True)
class PendingRow:
    """A row on its way to the changelog; None stands for its removal."""

    key: bytes
    row: Row | None
    value: bytes | None


class Partition:
    """The rows of one partition, as the folds so far left them. Implements `core.state.State`."""

    def __init__(self, number: int, ledger: Ledger, codec: RowCodec) -> None:
        self.number = number
        self._ledger = ledger
        self._codec = codec
        self._overlay: SortedDict[bytes, PendingRow] = SortedDict()
        self._heads: dict[bytes, int] = {}
        self._tails: dict[bytes, int] = {}
        """Only of queues that were seen empty, or with one entry: in a restored one, more may stand behind."""
        self._found: tuple[bytes, int, Entry | None] | None = None
        """The last answer of `next_after`, which a fold asks for twice; until a queue changes."""
        self._parsed: tuple[bytes, Row] | None = None
        """The last value that the database gave, and its row, which never changes: a fifth are read again at once."""
        self._received: range = range(0)
        """Offsets of commands that were folded here, the first time or again: none of them has left a row behind."""

    # What the core asks

    def entry(self, key: bytes | None, offset: int) -> Entry | None:
        """The entry of a record, wherever its row stands."""
        return _find(self.row, key, offset)

    def safe_entry(self, key: bytes | None, offset: int) -> Entry | None:
        """The entry of a record as the changelog has it for certain: on what it shows, one may act."""
        return _find(self._stored, key, offset)

    def holder(self, command_id: str) -> Holder | None:
        """Who holds a command id."""
        row = self.row(Identity(command_id))
        return row if isinstance(row, Holder) else None

    def reopened(self, round_: str) -> Holder | None:
        """Which record has followed a round with another one."""
        row = self.row(Reopened(round_))
        return row if isinstance(row, Holder) else None

    def standing(self, scope: Scope) -> Standing | None:
        """What operators have said of a key or a DAG."""
        row = self.row(scope)
        return row if isinstance(row, Standing) else None

    def head(self, key: bytes) -> int | None:
        """The offset of the first entry in a key's queue."""
        return self._heads.get(key)

    def next_after(self, key: bytes, offset: int) -> Entry | None:
        """The first entry in a key's queue beyond an offset."""
        if self._found is None or self._found[:2] != (key, offset):
            self._found = key, offset, self._look_after(key, offset)
        return self._found[2]

    def is_waited_for(self, entry: Entry) -> bool:
        """Whether another entry of its key waits until this one, the first, has ended."""
        if entry.key is None or not entry.ordered or self._heads.get(entry.key) != entry.source.offset:
            return False
        if entry.key not in self._tails and self.next_after(entry.key, entry.source.offset) is None:
            self._tails[entry.key] = entry.source.offset  # the first is the last: remembered from here on
        return self._tails.get(entry.key, entry.source.offset + 1) > entry.source.offset

    def _look_after(self, key: bytes, offset: int) -> Entry | None:
        if self._tails.get(key, offset + 1) <= offset:
            return None
        for where, row in self.rows(Queued(key, offset + 1)):
            if not isinstance(where, Queued) or where.key != key or not isinstance(row, Entry):
                return None
            if not self._has_moved_on(where):
                return row
        return None

    # Reading

    def row(self, key: RowKey) -> Row | None:
        """A row, None where there is none."""
        raw = self._codec.row_key(key)
        pending: PendingRow | None = self._overlay.get(raw)
        return self._stored(key) if pending is None else pending.row

    def _stored(self, key: RowKey) -> Row | None:
        value = self._ledger.get(self.number, self._codec.row_key(key))
        if value is None:
            return None
        if self._parsed is None or self._parsed[0] != value:
            self._parsed = value, self._codec.parse_row(value)
        return self._parsed[1]

    def rows(self, start: RowKey | bytes) -> Generator[tuple[RowKey, Row], None, None]:
        """All rows from a key on, in the order of their bytes."""
        raw = start if isinstance(start, bytes) else self._codec.row_key(start)
        pending = ((key, 0, self._overlay[key]) for key in self._overlay.irange(minimum=raw))
        disk = self._ledger.scan(self.number, raw)
        stored = ((key, 1, value) for key, value in disk)
        try:
            for key, found in groupby(merge(pending, stored, key=lambda item: item[:2]), key=lambda item: item[0]):
                newest = next(found)[2]
                name = self._codec.parse_key(key)
                row = newest.row if isinstance(newest, PendingRow) else self._codec.parse_row(newest)
                if row is not None:
                    yield name, row
        finally:
            disk.close()

    def settled(self, after: Settled | None) -> Generator[Entry, None, None]:
        """The entries that have ended, behind one of them or from the first on, in the order of their row keys."""
        start = self._codec.SETTLED if after is None else Settled(after.key, after.offset + 1)
        with closing(self.rows(start)) as rows:
            for where, row in rows:
                if not isinstance(where, Settled) or not isinstance(row, Entry):
                    break
                yield row

    def standings(self, after: Scope | None = None) -> Generator[tuple[Scope, Standing], None, None]:
        """All of which operators have said something, behind one of them or from the first on."""
        start = self._codec.STANDINGS if after is None else self._codec.row_key(after) + b"\0"
        with closing(self.rows(start)) as rows:
            for where, row in rows:
                if not isinstance(where, OfKey | OfDag | OfCommand) or not isinstance(row, Standing):
                    break
                yield where, row

    # Writing

    def encode(self, change: Change) -> PendingRow:
        """A change as a row to be sent."""
        key = self._codec.row_key(change.key)
        if isinstance(change, Delete):
            return PendingRow(key, None, None)
        return PendingRow(key, change.row, self._codec.row_value(change.row))

    def lay(self, change: Change, pending: PendingRow) -> None:
        """Let reads see a change that is on its way."""
        self._overlay[pending.key] = pending
        if not isinstance(change.key, Queued):
            return
        key, offset = change.key.key, change.key.offset
        head = self._heads.get(key)
        if isinstance(change, Put):
            if head is None or key in self._tails:
                self._tails[key] = max(offset, self._tails.get(key, offset))
            if head is None or offset < head:
                self._heads[key] = offset
        elif head == offset:
            successor = self.next_after(key, offset)
            if successor is None:
                del self._heads[key]
                self._tails.pop(key, None)
            else:
                self._heads[key] = successor.source.offset
        self._found = None

    def received(self, offset: int) -> None:
        """A record of the commands topic was folded and its rows are laid.

        Folded again, it has had the row removed that a crash may have left behind, and from here on the removal of a
        row is laid with what it gives way to. Nothing is known of offsets that the broker no longer has.
        """
        first = self._received.start if offset == self._received.stop else offset
        self._received = range(first, offset + 1)

    def entered(self, pending: PendingRow) -> None:
        """Forget a row that the database now has, unless a newer one is on its way."""
        if self._overlay.get(pending.key) is pending:
            del self._overlay[pending.key]

    # Rebuilding

    def recover(self) -> Generator[Entry, None, None]:
        """Find the first entry of each key, and every entry that holds no key, after the database was restored.

        Touches one row for each key with something to do, and never the history. A row that a crash left behind in the
        place that its entry has moved on from is passed over; the redelivery of the event removes it.
        """
        self._heads.clear()
        self._tails.clear()
        seek = self._codec.QUEUES
        while (first := self._first_queued(seek)) is not None:
            key, entry = first
            self._heads[key] = entry.source.offset
            yield entry
            seek = self._codec.after_queue(key)
        for where, row in self.rows(self._codec.FREE):
            if not isinstance(where, Free):
                break
            if isinstance(row, Entry) and self.row(Settled(row.key, where.offset)) is None:
                yield row

    def _first_queued(self, seek: bytes) -> tuple[bytes, Entry] | None:
        for where, row in self.rows(seek):
            if not isinstance(where, Queued) or not isinstance(row, Entry):
                return None
            if not self._has_moved_on(where):
                return where.key, row
        return None

    def _has_moved_on(self, place: Queued) -> bool:
        """Whether a row was left behind, by a crash, in the place that its entry has moved on from."""
        if place.offset in self._received:
            return False
        return (self.row(Settled(place.key, place.offset)) or self.row(Free(place.offset))) is not None


def _find(read: Callable[[RowKey], Row | None], key: bytes | None, offset: int) -> Entry | None:
    places: list[EntryKey] = [Settled(key, offset), Free(offset)]
    if key is not None:
        places.append(Queued(key, offset))
    for where in places:
        row = read(where)
        if isinstance(row, Entry):
            return row
    return None
