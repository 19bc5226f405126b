"""Virtual time: reads a heap of what is to happen, runs one thing after the other. Writes nothing.

Coroutines of the product are driven by hand here: they wait for a `Future` of ours, and go on in an event of their own.
What belongs to a worker happens only while it lives, and waits while it is frozen.
"""

import asyncio
import heapq
from collections.abc import Callable, Coroutine, Generator, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import count
from typing import Any, Protocol


class Owner(Protocol):
    """Whose event it is."""

    alive: bool
    frozen: bool
    deferred: list[Callable[[], None]]


class Future:
    """What a coroutine waits for; there is no event loop behind it."""

    __slots__ = ("_done", "_error", "_value", "_waiter")

    def __init__(self) -> None:
        self._done = False
        self._value: Any = None
        self._error: BaseException | None = None
        self._waiter: Callable[[], None] | None = None

    def done(self) -> bool:
        return self._done

    def cancelled(self) -> bool:
        return False

    def set_result(self, value: Any = None) -> None:
        self._done, self._value = True, value
        if self._waiter is not None:
            self._waiter()

    def set_exception(self, error: BaseException) -> None:
        self._error = error
        self.set_result()

    def wait(self, waiter: Callable[[], None]) -> None:
        if self._done:
            waiter()
        else:
            self._waiter = waiter

    def __await__(self) -> Generator["Future", None, Any]:
        if not self._done:
            yield self
        if self._error is not None:
            raise self._error
        return self._value


class Scheduler:
    """What is to happen, in the order of its time; at the same time, in the order of its planning."""

    def __init__(self) -> None:
        self.now = 0
        """Milliseconds since the beginning."""
        self._heap: list[tuple[int, int, Owner | None, Callable[[], None]]] = []
        self._order = count()

    def after(self, delay_ms: float, owner: Owner | None, action: Callable[[], None]) -> None:
        """Plan an event; of nobody's with None."""
        heapq.heappush(self._heap, (self.now + delay_ms, next(self._order), owner, action))

    def pop(self) -> tuple[Owner | None, Callable[[], None]] | None:
        """The next event that may happen, at its time; None when nothing is to happen any more."""
        while self._heap:
            at, _, owner, action = heapq.heappop(self._heap)
            self.now = at
            if owner is None:
                return owner, action
            if owner.alive:
                if not owner.frozen:
                    return owner, action
                owner.deferred.append(action)
        return None

    def thaw(self, owner: Owner) -> None:
        """What waited happens now, in the order in which it should have happened."""
        waiting, owner.deferred = owner.deferred, []
        for action in waiting:
            self.after(0, owner, action)

    def spawn(self, owner: Owner, coroutine: Coroutine[Any, Any, Any]) -> None:
        """Run a coroutine of the product until it waits; it goes on in events of its owner."""
        try:
            future = coroutine.send(None)
        except StopIteration:
            return
        assert isinstance(future, Future)
        future.wait(partial(self.after, 0, owner, partial(self.spawn, owner, coroutine)))


class _Loop:
    """What `asyncio.Event` asks of a running loop."""

    def create_future(self) -> Future:
        return Future()


@contextmanager
def as_running_loop() -> Iterator[None]:
    """Let `asyncio.Event` make futures of ours."""
    asyncio._set_running_loop(_Loop())  # type: ignore[arg-type]
    try:
        yield
    finally:
        asyncio._set_running_loop(None)
