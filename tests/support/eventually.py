"""Reads: whatever the check reads. Writes: nothing. Waits for a condition with a deadline, never for a while."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def eventually(check: Callable[[], T], *, seconds: float = 30.0, every_seconds: float = 0.1) -> T:
    """Return what `check` returns once its assertions hold; at the deadline, let its last AssertionError through.

    So the message says what was still missing, because the assertion says it.
    """
    deadline = time.monotonic() + seconds
    while True:
        try:
            return check()
        except AssertionError as error:
            if time.monotonic() > deadline:
                error.add_note(f"(waited {seconds:.0f} s for this)")
                raise
        time.sleep(every_seconds)
