"""Reads the worker's figures, again and again; ends the process when only a restart helps. Writes to the log only.

A supervisor sees a process that has ended, and none that has come to a stop within. Two things are looked at: whether
the worker makes progress (`observe.health`), by a task in the event loop; and whether the loop itself turns, by a
thread beside it.
"""

import asyncio
import faulthandler
import logging
import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from mode import Service

from streamapp.agents.parts import Parts
from streamapp.kafka import exits
from streamapp.kafka.transport import DurableApp
from streamapp.kafka.unread import unread
from streamapp.observe import health
from streamapp.observe.figures import Figures

log = logging.getLogger(__name__)

LOOK_EVERY = timedelta(seconds=5)
"""Each look asks the brokers once where the topics end."""
TICK_EVERY = timedelta(seconds=1)
LOOP_STUCK_AFTER = timedelta(seconds=120)
"""Of the thread's own waking time. Long before, the session has run out, and others have the partitions."""
STDERR = 2


class Vitals:
    """What is known of the worker's progress."""

    def __init__(self, app: DurableApp, parts: Parts) -> None:
        self._app = app
        self._parts = parts
        self._uptake = health.Uptake()
        self.untaken: dict[str, timedelta] = {}
        """Topics whose records nobody takes in, and for how long."""

    async def look(self) -> None:
        """Find out whether what there is to be read is read, and whether it still is what was read before."""
        if self._parts.partitions.accepting:
            await self._app.look_at_topics()
        readings = await unread(self._app) if self._parts.partitions.accepting else None
        held = {self._app.commands_topic} if self._parts.gate.reasons else set()
        self.untaken = self._uptake.look(readings, held | self._parts.waiting, self._parts.clock.monotonic())


def register(app: DurableApp, parts: Parts, vitals: Vitals, figures: Callable[[], Figures]) -> Callable[[], Any]:
    """Make the service; answer what starts it, before the worker waits for anything."""

    class VitalsService(Service):  # type: ignore[misc]
        def __init__(self, **kwargs: Any) -> None:
            super().__init__(**kwargs)
            self._pulse = Pulse()

        async def on_start(self) -> None:
            self._pulse.start(asyncio.get_running_loop())

        @Service.task
        async def _look(self) -> None:
            while not self.should_stop:
                await parts.clock.sleep(LOOK_EVERY)
                await vitals.look()
                give_up_if(health.live(figures()))

        async def on_stop(self) -> None:
            self._pulse.stop()

    async def start() -> None:
        await app.add_runtime_dependency(VitalsService(loop=app.loop, beacon=app.beacon))

    return start


def give_up_if(verdict: health.Verdict, leave: Callable[[int], None] = exits.exit_now) -> None:
    """End the process for a verdict that is not good: each has its own bound behind it."""
    if not verdict.ok:
        log.critical("no progress, so the worker stops itself, to be started again: %s", "; ".join(verdict.problems))
        leave(exits.STUCK)


class Pulse:
    """A thread that sees whether the event loop turns.

    It counts its own wakings, not the clock: while the process is frozen, neither counts, and after the thaw the loop
    has all of its time. What holds Python's lock stops this thread, too; that is for a probe from outside to see.
    """

    def __init__(self, end: Callable[[], None] | None = None) -> None:
        """Not started yet.

        Args:
            end: What to do when the loop is stuck; leaves the process by default.
        """
        self._end = end or leave_at_once
        self._stopped = threading.Event()
        self._beat = threading.Event()

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Watch a loop."""
        threading.Thread(target=self._watch, args=(loop,), name="pulse", daemon=True).start()

    def stop(self) -> None:
        """Watch no longer."""
        self._stopped.set()

    def _watch(self, loop: asyncio.AbstractEventLoop) -> None:
        missed = timedelta(0)
        self._beat.set()
        while not self._stopped.wait(TICK_EVERY.total_seconds()):
            if not self._beat.is_set():
                missed += TICK_EVERY
                if missed >= LOOP_STUCK_AFTER:
                    self._end()
                    return
                continue
            missed = timedelta(0)
            self._beat.clear()
            try:
                loop.call_soon_threadsafe(self._beat.set)
            except RuntimeError:  # closed
                return


def leave_at_once() -> None:
    """Show where every thread stands, and end the process, whatever the log does."""

    def say() -> None:
        faulthandler.dump_traceback(STDERR)  # Faust has put something else in the place of sys.stderr
        log.critical("the event loop has not turned for %s: leaving", LOOP_STUCK_AFTER)

    exits.exit_regardless(exits.STUCK, say)
