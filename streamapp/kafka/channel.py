"""A channel that an agent pulls from: reads an index when, and only when, something may be taken. Writes nothing.

Faust wipes the queues of `app.channel()` at every rebalance, and hands items out before there is a permit for them.
This channel's one queue, shared by all actors of its agent, is a view of an index: an item leaves it only at the moment
in which it may run.
"""

from collections.abc import Callable
from typing import Any

import faust
from faust.channels import Channel
from mode.utils.queues import ThrowableQueue


class _View(ThrowableQueue):  # type: ignore[misc]
    """An asyncio queue without items of its own. Outside flow control: a rebalance neither clears nor blocks it."""

    def __init__(self, app: faust.App, available: Callable[[], bool], take: Callable[[], Any]) -> None:
        self._available = available
        self._take = take
        super().__init__(maxsize=0, flow_control=app.flow_control, clear_on_resume=False)

    def qsize(self) -> int:
        return int(self._available())

    def empty(self) -> bool:
        return not self._available() and not self._errors

    def _get(self) -> Any:
        item = self._take()
        self.wake()
        return item

    def clear(self) -> None:
        """Nothing to clear: the index is its owner's."""

    def wake(self) -> None:
        """Let one waiting actor look; it wakes the next when there is more."""
        if self._available():
            self._wakeup_next(self._getters)


class PullChannel(Channel):  # type: ignore[misc]
    """Hands out what an index has to give."""

    def __init__(
        self,
        app: faust.App,
        *,
        available: Callable[[], bool] | None = None,
        take: Callable[[], Any] | None = None,
        queue: _View | None = None,
        **kwargs: Any,
    ) -> None:
        """Build the channel.

        Args:
            app: The Faust app.
            available: Whether `take` would give something now.
            take: Gives the next item; called only when `available()`.
            queue: Set when Faust clones the channel for an actor: all of them share one queue.
            **kwargs: Faust's own.
        """
        if queue is None:
            assert available is not None
            assert take is not None
            queue = _View(app, available, take)
        super().__init__(app, queue=queue, **kwargs)

    def clone(self, *, is_iterator: bool | None = None, **_: Any) -> "PullChannel":
        """A view of the same queue."""
        return PullChannel(
            self.app,
            queue=self.queue,
            root=self._root if self._root is not None else self,
            is_iterator=self.is_iterator if is_iterator is None else is_iterator,
        )

    def wake(self) -> None:
        """Say that there may be something to take. May be called from any place in the loop, as often as one likes."""
        self.queue.wake()
