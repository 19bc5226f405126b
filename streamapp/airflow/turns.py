"""Whose turn it is, where even one request of each worker is too many. Reads the wall clock, answers yes or no. Pure.

Time is cut into slots, and each slot belongs to the owner of one partition, in their order: the workers agree without a
word. Clocks that are apart by more than a few hundredths of a second let requests meet now and then.
"""

from collections.abc import Collection
from datetime import datetime, timedelta

SLOT = timedelta(seconds=1)
"""Shorter slots would be lost to the ends that are left free, longer ones make a worker wait longer for its turn."""
LEFT_FREE = timedelta(milliseconds=60)
"""At the end of a turn nothing is begun any more: what was begun must end, and clocks differ."""
LONGEST_LEFT_FREE = SLOT / 2


def is_turn(owned: Collection[int], partitions: int, now: datetime, usual: timedelta) -> bool:
    """Whether the owner of some partitions may begin a request.

    Args:
        owned: The partitions of this worker.
        partitions: How many there are.
        now: The wall clock.
        usual: How long a request takes.
    """
    end = now + min(max(LEFT_FREE, usual * 4), LONGEST_LEFT_FREE)
    return all(_slot(at) % max(1, partitions) in owned for at in (now, end))


def _slot(at: datetime) -> int:
    return int(at.timestamp() // SLOT.total_seconds())
