"""Whether a record is the next one: reads offsets as they arrive, asks for a record that was skipped. Writes nothing.

Nothing in Faust notices a record that is delivered too early, because the ones before it were lost on the way from the
client. So the next offset of every partition is known, from where reading started. A record beyond it is not folded;
the consumer goes back to it. Where the broker itself has nothing (retention, markers of transactions), Kafka's client
has shown so: it loses nothing within what it returns. Such a gap is counted and reading goes on.
"""

import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from faust.types import TP

from streamapp.kafka.fetch import HoldingConsumer

log = logging.getLogger(__name__)


class _Unread(dict[TP, int | None]):
    """Faust's memory of what it delivered, always empty: it would drop what is read again."""

    def __getitem__(self, tp: TP) -> None:
        return None


class RereadingConsumer(HoldingConsumer):
    """A consumer that delivers what was fetched again; whether it is the next record is asked of `Gaps`."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._read_offset = _Unread()


class Gaps:
    """The next offset of each partition. Told by the consumer, asked by whoever takes the records.

    One for the sources, asked by the agents; one for the changelogs, asked by whoever restores or follows them.
    """

    def __init__(self) -> None:
        self._next: dict[TP, int] = {}
        self._asked: set[TP] = set()
        """Partitions whose reading has to go back."""
        self._returned: dict[TP, int] = {}
        """The offset after the last record that Kafka's client returned."""
        self._done: dict[TP, int] = {}
        """The offset after the last record that is acked."""
        self._committed: dict[TP, int] = {}
        """The offset from which the next owner would read."""
        self._behind: dict[TP, int] | None = None
        """Partitions that have not been read and acked up to where they ended when reading started; None: not begun."""
        self._there: dict[TP, int] = {}
        """Of those: the offset after the last record that stood there then, as far as the client has returned it."""
        self._holes: dict[TP, dict[int, int]] = {}
        """Offsets that the broker has no record for, each to the next one that it has."""
        self.skipped = 0
        """Offsets that the broker did not have."""
        self.sought = 0
        """Times that reading went back."""

    def start(self, positions: Mapping[TP, int], ends: Mapping[TP, int]) -> None:
        """Reading starts here, of these partitions and no others.

        Args:
            positions: The first offset of each that is to be folded.
            ends: Of those that have to be read up to here before anything new is begun.
        """
        self._next = dict(positions)
        self._returned = dict(positions)
        self._done = dict(positions)
        self._committed = dict(positions)
        self._behind = {tp: end for tp, end in ends.items() if end > positions[tp]}
        self._there = dict(positions)
        self._holes = {tp: {} for tp in positions}
        self._asked.clear()

    def go_to(self, positions: Mapping[TP, int], following: Mapping[TP, int]) -> None:
        """Reading of these partitions goes on elsewhere.

        Args:
            positions: Where the client reads from now on.
            following: The first offset of each that is to be taken, at its position or beyond, where none is known yet.
        """
        for tp, position in positions.items():
            self._next.setdefault(tp, following[tp])
            self._returned[tp] = position
            self._holes[tp] = {}
            self._asked.discard(tp)

    def stop(self) -> None:
        """Partitions are given up."""
        self._next.clear()
        self._asked.clear()
        self._behind = None

    def acked(self, tp: TP, offset: int) -> None:
        """A record, and all before it, are done."""
        self._done[tp] = offset + 1

    def committed(self, offsets: Mapping[TP, int]) -> None:
        """The broker has taken these offsets: what stands before them is never read again."""
        self._committed.update(offsets)

    def in_hand(self) -> dict[TP, tuple[int, int]]:
        """Of each source partition: the next offset to be folded, and the one after the last that the client gave."""
        return {tp: (offset, self._returned[tp]) for tp, offset in self._next.items()}

    def returned(self, tp: TP) -> int | None:
        """The offset after the last record that the client gave, or where it was sent since."""
        return self._returned.get(tp)

    def offsets(self) -> dict[TP, tuple[int, int]]:
        """Of each source partition: the next offset to be folded, and the committed one."""
        return {tp: (offset, self._committed[tp]) for tp, offset in self._next.items()}

    @property
    def caught_up(self) -> bool:
        """Whether all is done that stood in the logs when reading started.

        The worker before may have seen something that changes what is to be done next.
        """
        return self._behind is not None and not self._behind

    def behind(self) -> frozenset[TP]:
        """The partitions that are not caught up."""
        return frozenset(self._behind or ())

    def reached(self, tp: TP, position: int) -> None:
        """The client would read on from here; what stands before has been returned, or does not exist."""
        if self._behind and position >= self._behind.get(tp, position + 1) and self._done[tp] >= self._there[tp]:
            del self._behind[tp]

    def expects(self, tp: TP, offset: int) -> bool:
        """Whether this record is to be folded now; if so, the next one is expected from here on."""
        wanted = self._next.get(tp)
        if wanted is None or offset < wanted:
            return False  # given up meanwhile, or folded before reading went back
        if offset > wanted:
            if self._holes[tp].get(wanted) != offset:
                self._go_back(tp, wanted, offset)
                return False
            del self._holes[tp][wanted]
            self.skipped += offset - wanted
            log.info("the broker has nothing from %d to %d of %s: going on", wanted, offset - 1, tp)
        self._next[tp] = offset + 1
        return True

    def _go_back(self, tp: TP, wanted: int, offset: int) -> None:
        if tp not in self._asked and self._returned[tp] > wanted:
            log.warning("expected offset %d of %s, got %d: reading again", wanted, tp, offset)
            self._asked.add(tp)
            self.sought += 1

    def take_asked(self, wanted: Iterable[TP]) -> dict[TP, int]:
        """Where to go back to, before the next fetch of these partitions."""
        asked = {tp: self._next[tp] for tp in wanted if tp in self._asked}
        self._asked -= asked.keys()
        for tp, offset in asked.items():
            self._returned[tp] = offset
            self._holes[tp].clear()
        return asked

    def fetched(self, tp: TP, offsets: Sequence[int]) -> None:
        """Kafka's client has returned these records, without losing any in between: gaps are the broker's own."""
        if tp not in self._returned:
            return
        expected = self._returned[tp]
        if offsets[-1] - expected + 1 != len(offsets):
            for offset in offsets:
                if offset > (hole := max(expected, self._next.get(tp, 0))):
                    self._holes[tp][hole] = offset
                expected = offset + 1
        self._returned[tp] = offsets[-1] + 1
        if (end := (self._behind or {}).get(tp)) is not None:
            self._there[tp] = max((offset + 1 for offset in offsets if offset < end), default=self._there[tp])
