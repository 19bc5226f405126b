"""This worker's requests to Airflow: each has a permit. Reads nothing; takes permits and gives them back."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager

from streamapp.airflow.permits import Ask, Permits, Source
from streamapp.clock import Clock


class Limit:
    """Where this worker's requests get their permits: of its own, or lent by another worker.

    A trigger takes a permit that is in hand; one is asked for when there is something to start. A read waits for one.

    Args:
        total: For all workers together.
        clock: For latencies.
        wake: Called when there is a permit for a trigger.
    """

    def __init__(self, total: int, clock: Clock, wake: Callable[[], None] = lambda: None) -> None:
        self._total = total
        self._wake = wake
        self._owned: frozenset[int] = frozenset({0})
        self._lent: frozenset[int] = frozenset()
        self._partitions = 1
        self.own = Permits(total, clock)
        self._source: Source | None = self.own
        self._asks: dict[Ask, None] = {}
        self._for_trigger: Ask | None = None
        self._hand: deque[Source] = deque()
        self._out: deque[Source] = deque()
        """Where the permits of triggers are from that are under way."""
        self._reads = 0

    @property
    def source(self) -> Source:
        """Where permits come from; its own, while it isn't known yet."""
        return self.own if self._source is None else self._source

    @property
    def in_flight(self) -> int:
        """Requests of this worker that have a permit."""
        return len(self._out) + self._reads

    def share(self, owned: Collection[int], partitions: int) -> None:
        """Have the part of the total that the owned partitions are of all, rounded down, but at least one.

        After a loss of partitions more may be in flight than the new bound; no permit is given until enough came back.
        """
        self._owned, self._partitions = frozenset(owned), max(1, partitions)
        self._set_bound()

    def lend(self, partitions: Collection[int]) -> None:
        """Have the part of these partitions, too: their workers borrow permits from this one."""
        self._lent = frozenset(partitions)
        self._set_bound()

    def use(self, source: Source | None) -> None:
        """Take permits from another source from now on; None: from nowhere, until it is known from where."""
        before = self._source
        if source is before:
            return
        asks = tuple(self._asks)
        for ask in asks:
            if before is not None:
                before.withdraw(ask)  # before anything comes back, which would be given to it
        self._source = source
        while self._hand:
            self._hand.popleft().give_back()
        for ask in asks:
            if source is not None and ask in self._asks and source.ask(ask):
                ask.granted()
        self._wake()

    def has_permit(self, *, wanted: bool) -> bool:
        """Whether a trigger may start now. A permit that is wanted is asked for, one that isn't is given back."""
        if not wanted:
            self._decline()
            return False
        if not self._hand and self._for_trigger is None:
            self._for_trigger = Ask(reading=False, granted=self._take_in_hand)
            if self._ask(self._for_trigger):
                self._for_trigger = None
                self._hand.append(self.source)
        return bool(self._hand)

    def try_acquire(self) -> bool:
        """Take a permit for a trigger, if there is one."""
        if not self.has_permit(wanted=True):
            return False
        self._out.append(self._hand.popleft())
        return True

    def release(self) -> None:
        """Give the permit of a trigger back.

        Raises:
            ValueError: none is out.
        """
        if not self._out:
            raise ValueError("no permit is out")
        self._out.popleft().give_back()  # the oldest: it may be of a source that is no longer used

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[None]:
        """A permit for a request that waits for one, before all triggers."""
        source = await self._wait()
        self._reads += 1
        try:
            yield
        finally:
            self._reads -= 1
            source.give_back()

    def _set_bound(self) -> None:
        self.own.share(max(1, self._total * len(self._owned | self._lent) // self._partitions))

    def _ask(self, ask: Ask) -> bool:
        if self._source is not None and self._source.ask(ask):
            return True
        self._asks[ask] = None
        return False

    def _take_in_hand(self) -> None:
        assert self._for_trigger is not None
        del self._asks[self._for_trigger]
        self._for_trigger = None
        self._hand.append(self.source)
        self._wake()

    def _decline(self) -> None:
        ask, self._for_trigger = self._for_trigger, None
        if ask is not None:
            self._withdraw(ask)
        while self._hand:
            self._hand.popleft().give_back()

    def _withdraw(self, ask: Ask) -> None:
        del self._asks[ask]
        if self._source is not None:
            self._source.withdraw(ask)

    async def _wait(self) -> Source:
        turn: asyncio.Future[Source] = asyncio.get_running_loop().create_future()

        def granted() -> None:
            self._asks.pop(ask)
            if turn.done():  # cancelled in the same moment
                self.source.give_back()
            else:
                turn.set_result(self.source)

        ask = Ask(reading=True, granted=granted)
        if self._ask(ask):
            return self.source
        try:
            return await turn
        except asyncio.CancelledError:
            if ask in self._asks:
                self._withdraw(ask)
            elif not turn.cancelled():  # it was given a permit in the same moment
                turn.result().give_back()
            raise
