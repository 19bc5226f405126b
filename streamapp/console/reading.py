"""Reads rows of this worker's partitions for one question: a bounded number, a slice at a time. Writes nothing."""

from collections.abc import AsyncIterator, Callable
from contextlib import closing
from dataclasses import dataclass, field
from datetime import timedelta

from streamapp.console.worker import Worker
from streamapp.core.effects import Free, Queued, RowKey, Settled
from streamapp.core.model import Entry
from streamapp.dispatch.partition import Partition
from streamapp.wire import rows

MAX_ROWS = 2000
"""Rows that one question may touch: some 50 ms of work."""
MAX_BYTES = 16 * 2**20
"""Of the rows that one question may touch, whatever their number."""
SHARE_OF_LATEST = 0.5
"""Of both: the rest is for rows of which nothing was said lately, such as a command that has been blocked for long."""
SLICE = 50
"""Rows that are read in one go, about a millisecond; then everybody else has a turn."""
SLICE_BYTES = 2**20
"""Of the rows that are read in one go."""
ROWS_OF_A_KEY = 20
"""Of one key's queue, in a list of all commands: a deep queue must not hide the others."""
ROW_BYTES = 500
"""What a row takes beside its variable parts."""

KINDS: dict[bytes, type[RowKey]] = {rows.QUEUES: Queued, rows.FREE: Free, rows.SETTLED: Settled}


@dataclass
class Reading:
    """One question's way through the table."""

    worker: Worker
    partitions: tuple[Partition, ...] = field(init=False)
    all_there: bool = field(init=False)
    """Whether these were all partitions of this worker, when the question came."""
    rows_left: int = MAX_ROWS
    bytes_left: int = MAX_BYTES
    passed_by: bool = False
    """Whether rows were left out: of a deep queue, or because the bound was reached."""

    def __post_init__(self) -> None:
        self.partitions = tuple(self.worker.partitions)
        self.all_there = self.worker.partitions.accepting

    @property
    def here(self) -> bool:
        """Whether the partitions are still this worker's: else their databases may have been closed."""
        return set(self.partitions) <= set(self.worker.partitions)

    @property
    def complete(self) -> bool:
        """Whether all of this worker's partitions could be read."""
        return self.all_there and self.here

    async def latest(self) -> AsyncIterator[tuple[Partition, Entry]]:
        """The commands of which something was said last, the newest first; those left out stand in the table."""
        rest = 1 - SHARE_OF_LATEST
        ours = {partition.number: partition for partition in self.partitions}
        for number, place in enumerate(self.worker.outcomes.latest(), start=1):
            partition = ours.get(place.partition)
            entry = partition.safe_entry(place.key, place.offset) if partition else None
            if partition is not None and entry is not None:
                if self.spent(entry):
                    return
                yield partition, entry
                if self.rows_left <= rest * MAX_ROWS or self.bytes_left <= rest * MAX_BYTES:
                    return
            if number % SLICE == 0 and not await self.give_way():
                return

    async def scan(self, kind: bytes) -> AsyncIterator[tuple[Partition, Entry]]:
        """All entries of a kind, in the table's order; of a deep queue only its front."""
        for partition in self.partitions:
            async for entry in self.scan_partition(partition, kind):
                yield partition, entry

    async def scan_partition(self, partition: Partition, kind: bytes) -> AsyncIterator[Entry]:
        """All entries of a kind in one partition."""
        seek, key, count, more = kind, None, 0, True
        while more and await self.give_way():
            slice_, more = read(partition, seek, lambda name: isinstance(name, KINDS[kind]))
            for name, entry in slice_:
                if self.spent(entry):
                    return
                yield entry
                seek = rows.row_key(name) + b"\0"
                if isinstance(name, Queued):
                    key, count = name.key, count + 1 if name.key == key else 1
                    if count == ROWS_OF_A_KEY:
                        self.passed_by = more = True
                        seek = rows.after_queue(name.key)
                        break

    async def give_way(self) -> bool:
        """Let others work; whether there is still something to read."""
        await self.worker.clock.sleep(timedelta(0))
        return self.here

    def spent(self, entry: Entry) -> bool:
        """Take a row into account; whether it is one too many."""
        self.rows_left -= 1
        self.bytes_left -= _size(entry)
        spent = self.rows_left < 0 or self.bytes_left < 0
        self.passed_by |= spent
        return spent


def read(
    partition: Partition, start: RowKey | bytes, belongs: Callable[[RowKey], bool], limit: int = SLICE
) -> tuple[list[tuple[RowKey, Entry]], bool]:
    """One slice, and whether there may be more; the iterator is closed behind it, or it would keep the database locked.

    Args:
        partition: Of this worker.
        start: The first row key.
        belongs: Whether a row is still one of those that are read.
        limit: Rows, at most; fewer where they are large.
    """
    found: list[tuple[RowKey, Entry]] = []
    size = 0
    with closing(partition.rows(start)) as all_:
        for name, row in all_:
            if not belongs(name) or not isinstance(row, Entry):
                return found, False
            found.append((name, row))
            size += _size(row)
            if len(found) == limit or size > SLICE_BYTES:
                return found, True
    return found, False


def _size(entry: Entry) -> int:
    original = len(entry.original.value or b"") if entry.original else 0
    return ROW_BYTES + original + len(entry.key or b"") + len(entry.params or "") + len(entry.detail or "")
