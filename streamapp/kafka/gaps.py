"""Whether a record is the next one: reads offsets as they arrive, asks for a record that was skipped. Writes nothing.

Nothing in Faust notices a record that is delivered too early, because the ones before it were lost on the way from the
client. So the next offset of every partition is known, from where reading started. A record beyond it is not folded;
the consumer goes back once. If the broker itself has nothing in between (retention, markers of transactions), the gap
is counted and reading goes on.
"""

import logging
import threading
from collections.abc import Iterable, Mapping
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
    """The next offset of each source partition. Told by the consumer's thread, asked by the agents."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._next: dict[TP, int] = {}
        self._asked: set[TP] = set()
        """Partitions whose reading has to go back."""
        self._first: dict[TP, int] = {}
        """After going back: the first offset that the broker has; -1 until it answers."""
        self.skipped = 0
        """Offsets that the broker did not have."""
        self.sought = 0
        """Times that reading went back."""

    def start(self, positions: Mapping[TP, int]) -> None:
        """Reading starts here, of these partitions and no others."""
        with self._lock:
            self._next = dict(positions)
            self._asked.clear()
            self._first.clear()

    def expects(self, tp: TP, offset: int) -> bool:
        """Whether this record is to be folded now; if so, the next one is expected from here on."""
        with self._lock:
            wanted = self._next.get(tp)
            if wanted is None or offset < wanted:
                return False  # given up meanwhile, or folded before reading went back
            if offset > wanted and self._first.get(tp) != offset:
                if tp not in self._first:
                    log.warning("expected offset %d of %s, got %d: reading again", wanted, tp, offset)
                    self._asked.add(tp)
                    self._first[tp] = -1
                    self.sought += 1
                return False
            if offset > wanted:
                self.skipped += offset - wanted
                log.warning("the broker has nothing between %d and %d of %s: going on", wanted, offset, tp)
            self._first.pop(tp, None)
            self._next[tp] = offset + 1
            return True

    def take_asked(self, wanted: Iterable[TP]) -> dict[TP, int]:
        """Where to go back to, before the next fetch of these partitions."""
        with self._lock:
            asked = {tp: self._next[tp] for tp in wanted if tp in self._asked}
            self._asked -= asked.keys()
            return asked

    def fetched(self, tp: TP, first: int) -> None:
        """A fetch that began after going back has brought this offset first."""
        with self._lock:
            if self._first.get(tp) == -1 and tp not in self._asked:
                self._first[tp] = first
