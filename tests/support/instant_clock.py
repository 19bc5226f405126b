"""A clock whose sleepers wake at once, at the time they asked for."""

import asyncio
from datetime import UTC, datetime, timedelta


class InstantClock:
    """Time passes by sleeping, or by hand."""

    def __init__(self) -> None:
        self.elapsed = timedelta()
        self.slept: list[timedelta] = []

    def now(self) -> datetime:
        return datetime(2026, 1, 1, tzinfo=UTC) + self.elapsed

    def monotonic(self) -> float:
        return self.elapsed.total_seconds()

    async def sleep(self, delay: timedelta) -> None:
        self.slept.append(delay)
        self.elapsed += delay
        await asyncio.sleep(0)
