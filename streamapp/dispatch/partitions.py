"""The partitions that this worker owns: reads the table when they are assigned, fills the index, writes nothing.

Between the moment in which partitions are given up and the rebuild after the next assignment, nothing is accepted:
neither events to fold nor dispatches to start.
"""

import logging
from collections.abc import Collection, Iterator

from streamapp.core.model import Entry
from streamapp.dispatch.partition import Partition
from streamapp.dispatch.ports import Index, Ledger, RowCodec

log = logging.getLogger(__name__)


class Partitions:
    """Partition numbers and their states in memory."""

    def __init__(self, ledger: Ledger, codec: RowCodec, index: Index) -> None:
        self._ledger = ledger
        self._codec = codec
        self._index = index
        self._open: dict[int, Partition] = {}
        self.accepting = False
        """Whether events may be folded and dispatches started."""

    def rebuild(self, numbers: Collection[int]) -> None:
        """Take over these partitions, and no others: track every entry that is the first of its key, or holds none."""
        self.give_up()
        for number in sorted(numbers):
            partition = Partition(number, self._ledger, self._codec)
            self._open[number] = partition
            tracked = 0
            for entry in partition.recover():
                self._index.inherit(entry)
                tracked += 1
            log.info(
                "partition rebuilt", extra={"action": "partition_rebuilt", "partition": number, "tracked": tracked}
            )
        self.accepting = True

    def drain(self) -> None:
        """Accept nothing new; what is under way may end."""
        self.accepting = False

    def give_up(self) -> None:
        """Forget everything: the partitions may be others' now."""
        self.accepting = False
        self._index.drop(frozenset(self._open))
        self._open.clear()

    def get(self, number: int) -> Partition | None:
        """A partition that events may be folded into, None while it isn't accepting."""
        return self._open.get(number) if self.accepting else None

    def entry(self, number: int, key: bytes | None, offset: int) -> Entry | None:
        """An entry as the changelog has it, None where the partition isn't ours or the entry is gone.

        What a fold has decided and Kafka has not acknowledged yet is not shown: nothing may follow from it.
        """
        partition = self.get(number)
        return None if partition is None else partition.safe_entry(key, offset)

    def __iter__(self) -> Iterator[Partition]:
        return iter(self._open.values())

    def __len__(self) -> int:
        return len(self._open)
