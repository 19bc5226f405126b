"""The table, log first: reads rows of its databases, sends rows to its changelog, writes what the changelog has taken.

Stock Faust writes RocksDB first and sends the changelog record afterwards, so that a crash can leave rows that no
later owner ever sees. Here a row is sent first (`append`), and enters RocksDB together with its changelog offset, in
one atomic write, once the changelog has acknowledged it (`enter`). What others wrote is followed (`follow`).
"""

from collections.abc import Generator, Sequence
from typing import Any

import faust
from faust.types import TP
from rocksdict import WriteBatch

from streamapp.core.errors import TooLarge, Unsafe
from streamapp.kafka import audit
from streamapp.kafka.producer import Acknowledgement

BLOCK_CACHE_BYTES = 8 * 2**20
"""Per partition; Faust's default of 2 GiB each would fill the machine."""
WRITE_BUFFER_BYTES = 8 * 2**20
"""Per memtable, of which RocksDB keeps up to three for each partition."""
RECORD_OVERHEAD_BYTES = 1024
"""Room for a record batch's own framing beside key and value."""


class Rows(faust.Table):  # type: ignore[misc]
    """Rows by partition and key. Its dictionary interface is closed: that would write RocksDB first."""

    max_row_bytes: int = 2**20

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._offsets: dict[int, int] = {}
        self._changelog = self.changelog_topic.get_topic_name()

    def on_key_set(self, *_: Any) -> None:
        """Refuse the dictionary interface."""
        raise TypeError("rows are written by append() and enter()")

    on_key_get = on_key_del = on_clear = on_key_set

    async def on_rebalance(
        self, assigned: set[TP], revoked: set[TP], newly_assigned: set[TP], generation_id: int = 0
    ) -> None:
        """Faust is about to restore partitions: what their databases have is to be read from these.

        Until Faust says where reading starts, no record of a changelog is taken any more.
        """
        self.app.restoring.stop()
        self._offsets.clear()
        await super().on_rebalance(assigned, revoked, newly_assigned, generation_id)
        # Stock opens those of standbys later, without patience for a database that is still being closed.
        for tp in self.app.assignor.assigned_standbys() & newly_assigned:
            if tp.topic in self.changelog_topic.topics:
                await self.data._try_open_db_for_partition(tp.partition, generation_id=generation_id)  # noqa: SLF001

    # The ledger that the fold writes to

    def check_size(self, key: bytes, value: bytes | None) -> None:
        """Make sure that the changelog takes a row.

        Raises:
            TooLarge: it would be refused.
        """
        size = len(key) + len(value or b"") + RECORD_OVERHEAD_BYTES
        if size > self.max_row_bytes:
            raise TooLarge(f"its row in the table would take {size} bytes, and {self.max_row_bytes} are the most")

    def append(self, partition: int, key: bytes, value: bytes | None) -> Acknowledgement:
        """Send a row to the changelog, None for its removal."""
        acknowledged: Acknowledgement = self.app.producer.post(self._changelog, key, value, partition=partition)
        return acknowledged

    def enter(self, partition: int, rows: Sequence[tuple[bytes, bytes | None]], last: Acknowledgement) -> None:
        """Write acknowledged rows and the changelog offset of the last one, atomically.

        Raises:
            Unsafe: between these rows and what the database has, somebody else wrote to the changelog.
        """
        database = self._database(partition)
        before = self._offsets.get(partition)
        if before is None:
            before = int(database.get(self.data.offset_key) or -1)
        offset = before + len(rows)
        # A batch that the broker had already, from a request whose answer was lost, comes back without its offset.
        if last.result().offset not in {offset, -1}:
            raise Unsafe(
                f"the changelog of partition {partition} has records that this worker neither wrote nor read: "
                f"expected its own at {offset}, found it at {last.result().offset}"
            )
        self.follow(partition, rows, offset)
        self._offsets[partition] = offset

    def follow(self, partition: int, rows: Sequence[tuple[bytes, bytes | None]], offset: int) -> None:
        """Write rows that are in the changelog, and the offset of the last one, atomically."""
        batch = WriteBatch(raw_mode=True)
        for key, value in rows:
            if value is None:
                batch.delete(key)
            else:
                batch.put(key, value)
        batch.put(self.data.offset_key, b"%d" % offset)
        self._database(partition).write(batch)

    def is_open(self, partition: int) -> bool:
        """Whether this worker has the database of a partition in hand."""
        return partition in self.data._dbs  # noqa: SLF001

    def get(self, partition: int, key: bytes) -> bytes | None:
        """A row of the database."""
        value: bytes | None = self._database(partition).get(key)
        return value

    def scan(self, partition: int, start: bytes) -> Generator[tuple[bytes, bytes], None, None]:
        """The rows of the database from a key on, in order. An open iterator keeps the database locked: close it."""
        cursor = self._database(partition).iter()
        try:
            cursor.seek(start)
            while cursor.valid():
                key = cursor.key()
                if key != self.data.offset_key:
                    yield key, cursor.value()
                cursor.next()
        finally:
            del cursor

    def fingerprints(self, partition: int) -> Generator[bytes, None, None] | None:
        """A consistent look at a partition's rows, in portions of text; None where its database is not open.

        Each portion may be taken in another thread, and then raises `Unsafe` if the database was taken away meanwhile.
        It stays locked for as long as somebody has this generator.
        """
        database = self.data._dbs.get(partition)  # noqa: SLF001
        if database is None:
            return None
        snapshot, offset_key = database.snapshot(), self.data.offset_key
        found = next(iter(snapshot.items(from_key=offset_key)), None)
        offset = int(found[1]) if found is not None and found[0] == offset_key else None

        def rows() -> Generator[tuple[bytes, bytes], None, None]:
            for key, value in snapshot.items():
                if self.data._dbs.get(partition) is not database:  # noqa: SLF001
                    raise Unsafe(f"the database of partition {partition} was taken away")
                if key != offset_key:
                    yield key, value

        return audit.portions(offset, rows())

    def _database(self, partition: int) -> Any:
        try:
            return self.data._dbs[partition]  # noqa: SLF001 - never _db_for_partition: it opens what is not there
        except KeyError:
            raise Unsafe(f"the database of partition {partition} is not open on this worker") from None
