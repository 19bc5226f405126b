"""How often Kafka's client asks which broker leads a partition. Reads and writes nothing itself.

Where a partition has no leader, the client asks again as soon as it has been answered, or nobody has: with the one
broker of an installation shutting down, a worker asked 1,800 times a second, and said so with two lines each time
(the same loop, in its fetches: https://github.com/aio-libs/aiokafka/issues/1155).
"""

from datetime import timedelta
from typing import Any

from streamapp.clock import Clock

PAUSE = timedelta(milliseconds=100)
"""Between two questions about the same topics, as the clients of Apache Kafka make it (`retry.backoff.ms`)."""


def pace(client: Any, clock: Clock) -> None:
    """Have a client ask no sooner than after a pause, unless it is for other topics."""
    ask = client._metadata_update  # noqa: SLF001
    asked_for: frozenset[str] | None = None
    pause_ends = 0.0

    async def paced(cluster: Any, topics: Any) -> Any:
        nonlocal asked_for, pause_ends
        if asked_for == frozenset(topics or ()) and (left := pause_ends - clock.monotonic()) > 0:
            await clock.sleep(timedelta(seconds=left))
        try:
            return await ask(cluster, topics)
        finally:
            asked_for, pause_ends = frozenset(topics or ()), clock.monotonic() + PAUSE.total_seconds()

    client._metadata_update = paced  # noqa: SLF001
