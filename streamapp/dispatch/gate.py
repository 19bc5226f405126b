"""Backpressure on the commands topic: reads how full memory is, holds the intake and lets it go again.

Only commands are ever held; results and control flow on, because they are what empties memory.
"""

from collections.abc import Callable


class Gate:
    """Holds while there is any reason to."""

    def __init__(self, hold: Callable[[], None], release: Callable[[], None]) -> None:
        self._hold = hold
        self._release = release
        self._reasons: set[str] = set()

    @property
    def reasons(self) -> frozenset[str]:
        """Why commands are held now; empty when they are not."""
        return frozenset(self._reasons)

    def measure(self, reason: str, level: int, limit: int) -> None:
        """Hold for this reason above the limit, until the level has fallen to half of it."""
        if level >= limit:
            self.close(reason)
        elif level <= limit // 2:
            self.open(reason)

    def close(self, reason: str) -> None:
        """Hold. Said again at every event: a rebalance releases what it takes away."""
        self._reasons.add(reason)
        self._hold()

    def open(self, reason: str) -> None:
        """Take a reason away; the last one lets commands flow."""
        if reason in self._reasons:
            self._reasons.remove(reason)
            if not self._reasons:
                self._release()
