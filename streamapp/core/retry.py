"""When a failed command is tried again: exponential, capped, jittered by a hash. Reads and writes nothing."""

import hashlib
from datetime import timedelta

from streamapp.core.model import Entry

UNSTARTED_ALLOWED = 3
"""Runs in which no task started that are tried again without counting as attempts."""


def retry_delay(entry: Entry) -> timedelta:
    """The wait before the attempt after `entry.attempt`: 50 to 100 % of the doubled delay.

    The jitter is a hash of id and attempt, so that two workers that fold the same event decide the same.
    """
    assert entry.policy is not None
    delay, longest = entry.policy.retry_delay, entry.policy.retry_delay_max
    if timedelta() < delay < longest:
        doubled = 2 ** min(max(entry.attempt - 1, 0), 64)
        # The product may be more than a timedelta holds.
        delay = delay * doubled if doubled < longest / delay else longest
    digest = hashlib.sha256(f"{entry.id}-{entry.round}.{entry.attempt}".encode()).digest()
    share = 0.5 + int.from_bytes(digest[:4], "big") / 2**33
    return delay * share
