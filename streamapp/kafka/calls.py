"""Calls from the main thread to the one that talks to Kafka, without three tasks for each. Reads and writes nothing.

Before each call, stock waits for an event that is set once and for all, with a task for it and two for what would
interrupt that wait. A fetch is such a call, so there are several for each command (docs/benchmarks/speed.md).
"""

from mode import Service
from mode.threads import MethodQueue, MethodQueueWorker


class _Worker(MethodQueueWorker):  # type: ignore[misc]
    """Carries out one call after the other, until it is cancelled."""

    @Service.task
    async def _method_queue_do_work(self) -> None:
        calls = self.method_queue
        while not calls.should_stop:
            await calls._process_enqueued(await calls._queue.get())  # noqa: SLF001


class Calls(MethodQueue):  # type: ignore[misc]
    """The calls that are under way or wait."""

    Worker = _Worker
