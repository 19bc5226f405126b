"""Which tasks are made: what a piece of asyncio code costs beyond itself."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def tasks_made() -> Iterator[list[str]]:
    """The names of the coroutines that get a task of their own in this loop meanwhile."""
    loop, made = asyncio.get_running_loop(), []

    def factory(loop: asyncio.AbstractEventLoop, coroutine: Any, **options: Any) -> "asyncio.Task[Any]":
        made.append(coroutine.__qualname__)
        return asyncio.Task(coroutine, loop=loop, **options)

    loop.set_task_factory(factory)
    try:
        yield made
    finally:
        loop.set_task_factory(None)
