"""What of one DAG may run as soon as there is room. Reads and writes nothing.

Two orders are followed in turn: who has waited longest to be served, and whose command came first. In turn alone, a
key with a thousand commands behind it is served as seldom as one with a single command, and is left over at the end,
when it can't be hurried any more, as its runs go one at a time. By age alone, such keys would hold up all others.
"""

from collections import OrderedDict
from collections.abc import Iterator
from datetime import datetime
from typing import Generic, Protocol, TypeVar

from sortedcontainers import SortedDict

Place = tuple[int, int]
"""Partition and offset."""


class Waiting(Protocol):
    """What can stand in the queue."""

    @property
    def place(self) -> Place:
        """Its name."""

    @property
    def came_at(self) -> datetime:
        """When its command was sent."""

    @property
    def ending(self) -> bool:
        """Whether it needs no room, so that it must not stand behind those that do."""


W = TypeVar("W", bound=Waiting)


class DagQueue(Generic[W]):
    """A queue with two orders."""

    def __init__(self) -> None:
        self._endings: OrderedDict[Place, W] = OrderedDict()
        self._turns: OrderedDict[Place, W] = OrderedDict()
        self._by_age: SortedDict[tuple[datetime, Place], W] = SortedDict()
        self._oldest_next = False

    def __len__(self) -> int:
        return len(self._endings) + len(self._turns)

    def __iter__(self) -> Iterator[W]:
        yield from self._endings.values()
        yield from self._turns.values()

    @property
    def head(self) -> W:
        """Who is to be served next."""
        if self._endings:
            return next(iter(self._endings.values()))
        if self._oldest_next:
            oldest: W = self._by_age.peekitem(0)[1]
            return oldest
        return next(iter(self._turns.values()))

    def append(self, waiting: W) -> None:
        """Wait for its turn."""
        if waiting.ending:
            self._endings[waiting.place] = waiting
        else:
            self._turns[waiting.place] = waiting
            self._by_age[waiting.came_at, waiting.place] = waiting

    def pop(self) -> W:
        """Serve the head."""
        head = self.head
        if head.place not in self._endings:
            self._oldest_next = not self._oldest_next
        self.remove(head)
        return head

    def remove(self, waiting: W) -> None:
        """Wait no longer."""
        if self._endings.pop(waiting.place, None) is None:
            del self._turns[waiting.place]
            del self._by_age[waiting.came_at, waiting.place]
