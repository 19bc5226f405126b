"""Permits for requests to Airflow. Reads how long requests take and how they end; writes nothing.

Beyond the database connections of Airflow's API server it wedges and running tasks die, so there is a hard bound for
all workers together, well below them; each worker has its share. Under it, a gradient of latencies finds how many in
flight are of use. Whoever takes a permit gives it back.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager
from datetime import timedelta

from streamapp.airflow.gradient import Gradient
from streamapp.airflow.turns import is_turn
from streamapp.clock import Clock


class Limit:
    """This worker's permits.

    Triggers ask for one and go without (`try_acquire`); reads wait for one (`reading`) and come first, so that no load
    of triggers can starve the polls that find out which keys may go on.

    Args:
        total: For all workers together.
        clock: For turns.
        wake: Called when there may be a permit for a trigger.
    """

    def __init__(self, total: int, clock: Clock, wake: Callable[[], None] = lambda: None) -> None:
        if total < 1:
            raise ValueError("a limit must let at least one request through")
        self._total = total
        self._clock = clock
        self._wake = wake
        self._owned: Collection[int] = {0}
        self._partitions = 1
        self._bound = total
        self._in_flight = 0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self.gradient = Gradient(total)

    @property
    def bound(self) -> int:
        """The most that this worker may have in flight."""
        return self._bound

    @property
    def limit(self) -> int:
        """What it may have in flight now."""
        return max(1, self.gradient.number)

    @property
    def in_turns(self) -> bool:
        """Whether the workers take turns: one request of each would be too many."""
        return self.gradient.number == 0

    @property
    def in_flight(self) -> int:
        """Permits given out."""
        return self._in_flight

    @property
    def free(self) -> bool:
        """Whether a trigger would get a permit."""
        return self._in_flight < self.limit and not self._waiting and self._my_turn()

    def share(self, owned: Collection[int], partitions: int) -> None:
        """Take the part of the total that the owned partitions are of all, at least one.

        After a loss of partitions more may be in flight than the new bound; no permit is given until enough came back.
        """
        self._owned, self._partitions = owned, max(1, partitions)
        self._bound = max(1, self._total * len(owned) // self._partitions)
        self.gradient.share(self._bound, self._partitions / max(1, len(owned)) - 1)
        self._hand_over()

    def restart(self) -> None:
        """Begin with one request in flight again."""
        self.gradient.restart()
        self._hand_over()

    def try_acquire(self) -> bool:
        """Take a permit, if there is one that nobody waits for."""
        if not self.free:
            return False
        self._in_flight += 1
        return True

    def release(self) -> None:
        """Give a permit back."""
        if self._in_flight == 0:
            raise ValueError("no permit is out")
        self._in_flight -= 1
        self._hand_over()

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[None]:
        """A permit for a request that waits for one, before all triggers."""
        if self._in_flight < self.limit and not self._waiting:
            self._in_flight += 1
        else:
            await self._wait()
        try:
            yield
        finally:
            self.release()

    def _my_turn(self) -> bool:
        if not self.in_turns:
            return True
        if self.gradient.rests(self._clock.monotonic()):
            return False
        usual = timedelta(seconds=self.gradient.recent or 0.0)
        return is_turn(self._owned, self._partitions, self._clock.now(), usual)

    async def _wait(self) -> None:
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn in self._waiting:
                self._waiting.remove(turn)
                self._hand_over()
            elif not turn.cancelled():  # it was given a permit in the same moment
                self.release()
            raise

    def _hand_over(self) -> None:
        """Give what is free to who waits for it, the first one first."""
        while self._waiting and self._in_flight < self.limit:
            turn = self._waiting.popleft()
            if not turn.done():
                self._in_flight += 1
                turn.set_result(None)
        if self.free:
            self._wake()
