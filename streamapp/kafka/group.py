"""A group that does not take this worker in: reads the errors of Kafka's client, stops the process. Writes nothing.

The client then waits for somebody to look at its error, whom Faust does not have: a worker that is refused would stand
there for good, and one that can't join again would keep its partitions for as long as its heartbeats are answered.
"""

import asyncio
from collections.abc import Callable
from typing import Any

from aiokafka.errors import InvalidSessionTimeoutError

from streamapp.core.errors import ConfigError, Unsafe
from streamapp.kafka.lease import LeasedThread
from streamapp.settings import variable


class GroupThread(LeasedThread):
    """The consumer thread that leaves the process where it is refused."""

    async def subscribe(self, topics: Any) -> None:
        """Join the group; its coordinator exists from here on."""
        await super().subscribe(topics)
        leave_when_refused(self._consumer._coordinator, self._refused)  # noqa: SLF001

    def _refused(self, error: BaseException) -> None:
        if not self.app.should_stop:
            self.app.leave(explained(error, self.app.conf.id))


def leave_when_refused(coordinator: Any, leave: Callable[[BaseException], None]) -> None:
    """Be told what the group's coordinator would have somebody look at, and what its task has died of."""
    if getattr(coordinator, "watched", False):
        return
    coordinator.watched = True
    stock = coordinator._push_error_to_user  # noqa: SLF001

    def push(error: BaseException) -> Any:
        leave(error)
        return stock(error)

    def ended(task: "asyncio.Task[None]") -> None:
        error = None if task.cancelled() else task.exception()
        if error is not None:
            leave(error)

    coordinator._push_error_to_user = push  # noqa: SLF001
    coordinator._coordination_task.add_done_callback(ended)  # noqa: SLF001


def explained(error: BaseException, group: str) -> ConfigError | Unsafe:
    """What to say of it; a restart does not help where a setting does not fit."""
    if isinstance(error, InvalidSessionTimeoutError):
        return ConfigError(
            f"{variable('session_timeout')}: Kafka takes only what is between its own group.min.session.timeout.ms "
            "(6 s by default) and group.max.session.timeout.ms"
        )
    return Unsafe(f"Kafka does not take this worker into the group {group}: {error!r}")
