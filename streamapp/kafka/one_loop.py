"""Talks to Kafka in the event loop that everything else runs in. Reads and writes nothing itself.

Stock runs the client in a second thread with a loop of its own. Each call to it, several for each command, wakes the
other thread, and the two take turns at the interpreter's lock (docs/benchmarks/speed.md). It also goes on telling the
group that all is well while the loop that does the work stands still.
"""

import asyncio
from collections.abc import Callable
from typing import Any

from faust.transport.drivers import aiokafka as driver
from mode.utils.futures import maybe_async


class OneLoopThread(driver.AIOKafkaConsumerThread):  # type: ignore[misc]
    """Faust's thread around Kafka's client, without the thread."""

    _serving: "asyncio.Task[None]"

    def __init__(self, consumer: Any, *, loop: asyncio.AbstractEventLoop, **kwargs: Any) -> None:
        super().__init__(consumer, loop=loop, thread_loop=loop, **kwargs)

    async def start(self) -> None:
        """Go on once the client has started.

        Raises:
            Exception: what kept it from that.
        """
        self._thread_started.set()
        self._thread_running = running = self.parent_loop.create_future()
        self._serving = self.parent_loop.create_task(self._serve())
        self._serving.add_done_callback(_look_at_error)
        try:
            await running
        finally:
            self._thread_running = None

    async def call_thread(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Call it here and now."""
        return await maybe_async(function(*args, **kwargs))

    async def on_thread_started(self) -> None:
        """No queue of calls to start."""

    async def _gather_remaining_tasks(self) -> None:
        """Those of the loop are others', too."""


def _look_at_error(serving: "asyncio.Task[None]") -> None:
    """The whole app has been told of it; asyncio would say that nobody has."""
    if not serving.cancelled():
        serving.exception()
