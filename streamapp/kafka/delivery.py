"""Hands records over without four tasks for each: reads what was fetched, fills the streams' queues.

Stock Faust starts these tasks to notice when it should no longer wait for room in a queue. Nearly always there is room,
and nothing to wait for: a sixth of a worker's work was that. And each record of a stream waits for a turn of the event
loop of its own: a system call, and all that is written or sent once for each turn (docs/benchmarks/speed.md).
"""

import asyncio
import importlib
from collections.abc import Awaitable, Callable, Coroutine, Generator, Sequence
from contextlib import suppress
from functools import partial
from inspect import iscoroutine
from types import coroutine
from typing import Any

from streamapp.kafka.commit import CommittingConsumer

TURN_SECONDS = 0.005
"""Records are handed over for so long before others have a turn."""


def install() -> None:
    """Have Faust's streams hand over several records in one turn; stock sleeps for none before each."""
    with suppress(ImportError):  # where Faust came without its C code, its slower twin stays as it is
        streams: Any = importlib.import_module("faust._cython.streams")
        streams.sleep = Turns().give_way


class Turns:
    """When to let others have a turn. All streams share one: it is one event loop that they hold up."""

    def __init__(self) -> None:
        self._until = 0.0

    async def give_way(self, seconds: float) -> None:
        """Sleep for none, unless the present turn has only begun."""
        loop = asyncio.get_running_loop()
        if loop.time() >= self._until:
            await asyncio.sleep(seconds)  # noqa: TID251 - takes no time
            self._until = loop.time() + TURN_SECONDS


class DirectConsumer(CommittingConsumer):
    """A consumer that begins to deliver a record at once, and waits as stock Faust does where it has to."""

    async def sleep(self, n: Any) -> None:
        """Sleep for so many seconds; for none between any two fetches, which stock makes and cancels a task for."""
        if n:
            await super().sleep(n)
        else:
            await asyncio.sleep(0)  # noqa: TID251 - takes no time

    async def wait_first(self, *coros: Any, **kwargs: Any) -> Any:
        """Wait for the first of several: of two where it is the delivery of a record, and what would interrupt it."""
        wait = partial(super().wait_first, **kwargs)
        if len(coros) != 2 or not iscoroutine(coros[0]):
            return await wait(*coros)
        return await begin(coros[0], coros[1:], wait)


async def begin(
    first: Coroutine[Any, Any, Any], others: Sequence[Any], wait: Callable[..., Awaitable[Any]]
) -> Any | None:
    """Let the first go on until it waits for something; only then wait for it and the others.

    Args:
        first: Not begun yet.
        others: Coroutines that are not begun either.
        wait: Waits for several.
    """
    try:
        waits_for = first.send(None)
    except BaseException as end:
        for other in others:
            other.close()
        if isinstance(end, StopIteration):
            return None
        raise
    return await wait(_rest(first, waits_for), *others)


async def _rest(begun: Coroutine[Any, Any, Any], waits_for: Any) -> Any:
    """A real coroutine: mode takes anything else for an event."""
    return await _go_on(begun, waits_for)


@coroutine
def _go_on(begun: Coroutine[Any, Any, Any], waits_for: Any) -> Generator[Any, Any, Any]:
    """What is left of a coroutine that has begun and waits for a future."""
    while True:
        step: Callable[[], Any]
        try:
            yield waits_for
        except BaseException as error:  # noqa: BLE001 - a cancellation, too, is the coroutine's to handle
            step = partial(begun.throw, error)
        else:
            step = partial(begun.send, None)
        try:
            waits_for = step()
        except StopIteration as end:
            return end.value
