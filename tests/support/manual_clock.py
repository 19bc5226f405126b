"""A clock that moves only when it is told to. Reads and writes nothing."""

import asyncio
import heapq
from datetime import UTC, datetime, timedelta
from itertools import count

START = datetime(2026, 1, 1, 12, tzinfo=UTC)


class ManualClock:
    """Time for tests and for the simulator: `sleep` returns once `advance` has passed its end."""

    def __init__(self, start: datetime = START) -> None:
        self._start = start
        self._passed = timedelta()
        self._sleepers: list[tuple[timedelta, int, asyncio.Future[None]]] = []
        self._order = count()

    def now(self) -> datetime:
        """The wall clock."""
        return self._start + self._passed

    def monotonic(self) -> float:
        """Seconds since the clock was made."""
        return self._passed.total_seconds()

    async def sleep(self, delay: timedelta) -> None:
        """Wait until `advance` has passed the delay."""
        future = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self._passed + delay, next(self._order), future))
        await future

    @property
    def sleeping(self) -> int:
        """How many wait."""
        return sum(not future.done() for _, _, future in self._sleepers)

    @property
    def next_wake(self) -> timedelta | None:
        """How far the next waiting one is away, None when nobody waits."""
        while self._sleepers and self._sleepers[0][2].done():
            heapq.heappop(self._sleepers)
        return self._sleepers[0][0] - self._passed if self._sleepers else None

    def advance(self, by: timedelta) -> None:
        """Let time pass; who has waited long enough goes on, the earliest first, once the event loop runs."""
        self._passed += by
        while self._sleepers and self._sleepers[0][0] <= self._passed:
            future = heapq.heappop(self._sleepers)[2]
            if not future.done():
                future.set_result(None)
