"""Runs the work of a verb to its end. Reads: Ctrl-C. Writes: nothing."""

import asyncio
import os
import signal
from collections.abc import Coroutine
from contextlib import suppress
from datetime import timedelta
from typing import Any, TypeVar

T = TypeVar("T")

GRACE = timedelta(seconds=3)
"""How long clients may take to close after Ctrl-C; Kafka's has been seen not to come back from it."""
INTERRUPTED = 130
"""The exit code of a process that was interrupted: 128 and the number of the signal."""


def run_work(work: Coroutine[Any, Any, T]) -> T:
    """The result of the work.

    Raises:
        KeyboardInterrupt: Ctrl-C; where closing takes longer than the grace, the process ends.
    """
    return asyncio.run(_interruptible(work))


async def _interruptible(work: Coroutine[Any, Any, T]) -> T:
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    interrupted = False

    def interrupt() -> None:
        nonlocal interrupted
        assert task is not None
        if not interrupted:
            loop.call_later(GRACE.total_seconds(), os._exit, INTERRUPTED)
        interrupted = True
        task.cancel()

    with suppress(ValueError, RuntimeError):  # not in the main thread: nobody presses keys there
        loop.add_signal_handler(signal.SIGINT, interrupt)
    try:
        return await work
    except asyncio.CancelledError:
        if interrupted:
            raise KeyboardInterrupt from None
        raise
