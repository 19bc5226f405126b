"""The partitions that this worker owns: reads the table when they are assigned, fills the index, writes nothing.

Between the moment in which partitions are given up and the rebuild after the next assignment, nothing is accepted:
neither events to fold nor dispatches to start.
"""

import logging
from collections.abc import Collection, Generator, Iterator, Mapping
from contextlib import closing
from typing import Any

from streamapp.core.model import Entry, Status
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

    def rebuild(self, numbers: Collection[int]) -> Generator[None, None, None]:
        """Take over these partitions, and no others: track every entry that is the first of its key, or holds none.

        It takes a step for each; others may go on in between. Given up meanwhile, the partitions are not taken over.
        """
        self.give_up()
        mine = self._open = {}
        for number in sorted(numbers):
            partition = mine[number] = Partition(number, self._ledger, self._codec)
            tracked = 0
            with closing(partition.standings()) as standings:
                for scope, standing in standings:
                    if standing.stopped:
                        self._index.steer(number, scope, stopped=True)
                    yield
                    if self._open is not mine:
                        return
            with closing(partition.recover()) as entries:
                for entry in entries:
                    self._index.inherit(entry)
                    tracked += 1
                    yield
                    if self._open is not mine:
                        return
            log.info(
                "partition rebuilt", extra={"action": "partition_rebuilt", "partition": number, "tracked": tracked}
            )
        self.accepting = True

    def drain(self) -> None:
        """Accept nothing new; what is under way may end, but for a rebuild, which comes to nothing."""
        self.accepting = False
        self._open = dict(self._open)

    def give_up(self) -> None:
        """Forget everything: the partitions may be others' now."""
        self.accepting = False
        self._index.drop(frozenset(self._open))
        self._open = {}

    def get(self, number: int) -> Partition | None:
        """A partition that events may be folded into, None while it isn't accepting."""
        return self._open.get(number) if self.accepting else None

    def entry(self, number: int, key: bytes | None, offset: int) -> Entry | None:
        """An entry as the changelog has it, None where the partition isn't ours or the entry is gone.

        What a fold has decided and Kafka has not acknowledged yet is not shown: nothing may follow from it.
        """
        partition = self.get(number)
        return None if partition is None else partition.safe_entry(key, offset)

    def may_run(self, mark: Mapping[str, Any]) -> bool:
        """Whether a run with this `_command` may be active: its command is on its way, or another worker's to tell."""
        number, command_id = mark.get("partition"), mark.get("id")
        partition = self.get(number) if isinstance(number, int) else None
        if partition is None or not isinstance(command_id, str):
            return True
        holder = partition.holder(command_id)
        entry = None if holder is None else partition.entry(holder.key, holder.offset)
        if entry is None or entry.status.terminal or entry.status is Status.BLOCKED:
            return False
        return (mark.get("round"), mark.get("attempt")) == (entry.round, entry.run_attempt)

    def is_waited_for(self, entry: Entry) -> bool:
        """Whether another command of its key waits for the end of an entry."""
        partition = self._open.get(entry.source.partition)
        return partition is not None and partition.is_waited_for(entry)

    def __iter__(self) -> Iterator[Partition]:
        return iter(self._open.values())

    def __len__(self) -> int:
        return len(self._open)
