"""Reads: a condition, in the event loop. Writes: nothing. Waits for it with a deadline, never for a while."""

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")


async def until(condition: Callable[[], T | Awaitable[T]], within_seconds: float = 30.0) -> T:
    """Ask again and again, letting the loop run, until the condition holds; return what made it hold."""
    deadline = time.monotonic() + within_seconds
    pause = 0.01
    while True:
        answer = condition()
        if inspect.isawaitable(answer):
            answer = await answer
        if answer:
            return answer
        assert time.monotonic() < deadline, f"not within {within_seconds:g} s; last seen: {answer!r}"
        await asyncio.sleep(pause)
        pause = min(pause * 1.5, 0.5)
