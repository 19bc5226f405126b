"""How many bytes of commands are in hand: told what is fetched and what is done, tells it to whoever holds them back.

Streams and folds are bounded by their number. That says little of memory where one command may be as large as 10,000.
"""

from collections import defaultdict, deque
from collections.abc import Callable, Sequence
from typing import Any

from faust.types import TP


class Intake:
    """The records of the commands topic that are fetched and not acked yet."""

    def __init__(self) -> None:
        self.watch: Callable[[int], object] = lambda _: None
        """Called with the bytes whenever they have changed."""
        self._records: defaultdict[TP, deque[tuple[int, int]]] = defaultdict(deque)
        """By partition, the offset and the bytes of each."""
        self._bytes = 0

    def fetched(self, tp: TP, records: Sequence[Any]) -> None:
        """Kafka's client has returned these; what is read again is in hand once."""
        self._drop(tp, records[0].offset)
        waiting = self._records[tp]
        for record in records:
            size = len(record.key or b"") + len(record.value or b"")
            size += sum(len(name) + len(value or b"") for name, value in record.headers)
            waiting.append((record.offset, size))
            self._bytes += size
        self.watch(self._bytes)

    def dropped(self, tp: TP, offset: int) -> None:
        """A record, and what follows it, is read again, or was done before: held for it, commands would stay held."""
        self._drop(tp, offset)
        self.watch(self._bytes)

    def _drop(self, tp: TP, offset: int) -> None:
        waiting = self._records[tp]
        while waiting and waiting[-1][0] >= offset:
            self._bytes -= waiting.pop()[1]

    def acked(self, tp: TP, offset: int) -> None:
        """A record, and all before it, are done."""
        waiting = self._records.get(tp)
        if waiting is None:
            return
        while waiting and waiting[0][0] <= offset:
            self._bytes -= waiting.popleft()[1]
        self.watch(self._bytes)

    def clear(self) -> None:
        """Partitions are given up, and what was not done with them."""
        self._records.clear()
        self._bytes = 0
        self.watch(0)
