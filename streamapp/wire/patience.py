"""Waits until a part answers that is needed to go on. Reads and writes nothing itself."""

import logging
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import TypeVar

from streamapp.clock import Clock
from streamapp.core.errors import Unavailable

T = TypeVar("T")

FIRST_WAIT = timedelta(milliseconds=500)
LONGEST_WAIT = timedelta(seconds=10)
"""Work stands still meanwhile: this is also how long it may go on standing once the part is back."""

logger = logging.getLogger(__name__)


async def patiently(ask: Callable[[], Awaitable[T]], clock: Clock) -> T:
    """The answer, asked for again and again while the part is `Unavailable`; says so once, and when it is over."""
    wait = FIRST_WAIT
    since: float | None = None
    while True:
        try:
            answer = await ask()
        except Unavailable as error:
            if since is None:
                since = clock.monotonic()
                logger.warning("%s: waiting, nothing is rejected for that", error, extra={"action": "wait_begins"})
            await clock.sleep(wait)
            wait = min(wait * 2, LONGEST_WAIT)
        else:
            if since is not None:
                seconds = clock.monotonic() - since
                logger.warning("answered after %.1f s", seconds, extra={"action": "wait_ends"})
            return answer
