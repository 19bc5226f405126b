"""Until when this worker surely counts as a member: reads the coordinator's answers, stops the process when it is late.

A frozen process wakes up and sends what it had in hand, although others have long owned its partitions; its stale
changelog records would win. So the lease is checked at the last step before a produce request reaches the socket, and
before each request that starts a run; without it nothing is committed. It runs on the monotonic clock, which goes on
while the process is stopped.
"""

import logging
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from aiokafka.client import ConnectionGroup
from aiokafka.errors import DuplicateSequenceNumber, NodeNotReadyError, NoError, UnknownMemberIdError, for_code

from streamapp.clock import Clock
from streamapp.core.errors import Unsafe
from streamapp.kafka import exits
from streamapp.kafka.producer import StrictProducer
from streamapp.kafka.seek import SeekThread, is_a

log = logging.getLogger(__name__)

SAFE_SHARE = 0.9
"""Of the session time-out, counted from before the heartbeat was sent; the rest is for the way to the socket."""


class Lease:
    """The time until which the broker keeps this worker's membership."""

    def __init__(self, clock: Clock, session: timedelta, leave: Callable[[int], None] = exits.exit_now) -> None:
        self._clock = clock
        self._lasts = session.total_seconds() * SAFE_SHARE
        self._until: float | None = None
        self._leave = leave

    def now(self) -> float:
        """The time to renew from: take it before the request is sent."""
        return self._clock.monotonic()

    def renew(self, since: float) -> None:
        """The broker has answered a request that was sent at `since`."""
        self._until = max(since + self._lasts, self._until or 0.0)

    @property
    def remaining(self) -> timedelta:
        """How long it still lasts; long before the first assignment."""
        if self._until is None:
            return timedelta(seconds=self._lasts)
        return timedelta(seconds=self._until - self._clock.monotonic())

    @property
    def lasts(self) -> bool:
        """Whether nobody else can have this worker's partitions."""
        return self.remaining > timedelta(0)

    def check(self, before: str) -> None:
        """Stop the process if the lease has run out."""
        if not self.lasts:
            log.critical("the lease ran out %.1f s ago: leaving before %s", -self.remaining.total_seconds(), before)
            self._leave(exits.LEASE_LOST)


class LeasedThread(SeekThread):
    """The consumer thread that renews the lease with every answered heartbeat."""

    async def subscribe(self, topics: Any) -> None:
        """Join the group; its coordinator exists from here on."""
        await super().subscribe(topics)
        bind(self._consumer._coordinator, self.app.lease)  # noqa: SLF001


def bind(coordinator: Any, lease: Lease) -> None:
    """Renew a lease by what the group's coordinator answers, and refuse to commit once it has run out.

    A heartbeat that is answered and partitions that are given out renew it, from before the request: a process that is
    frozen between the answer and its handling gains no time. Kafka takes a commit from anybody once a group is empty:
    from a former member, too, whose successor has come and gone. What is not committed is read again, and no reason to
    leave: after an outage of Kafka's, the same worker joins again.
    """
    if getattr(coordinator, "leased", False):
        return
    coordinator.leased = True
    beat, ask = coordinator._do_heartbeat, coordinator._send_req  # noqa: SLF001

    async def heartbeat() -> Any:
        since = lease.now()
        answered = await beat()
        if answered:
            lease.renew(since)
        return answered

    async def send(request: Any) -> Any:
        if is_a(request, "OffsetCommitRequest"):
            await connect(coordinator)
            if not lease.lasts:
                raise UnknownMemberIdError("the lease has run out")
        since = lease.now()
        response = await ask(request)
        if is_a(request, "SyncGroupRequest") and for_code(response.error_code) is NoError:
            lease.renew(since)
        return response

    coordinator._do_heartbeat, coordinator._send_req = heartbeat, send  # noqa: SLF001


async def connect(coordinator: Any) -> None:
    """Connect to it, where that has to be; it may take longer than a lease lasts."""
    if coordinator.coordinator_id is not None:
        await coordinator._client.ready(coordinator.coordinator_id, group=ConnectionGroup.COORDINATION)  # noqa: SLF001


class LeasedProducer(StrictProducer):
    """The producer that writes nothing once the lease has run out, or after a batch that was refused."""

    async def on_start(self) -> None:
        """Put the check between the client and its socket."""
        await super().on_start()
        client = self._producer._sender.client  # noqa: SLF001
        stock = client.send
        lease: Lease = self.app.lease

        async def send(node_id: Any, request: Any, **kwargs: Any) -> Any:
            if not is_a(request, "ProduceRequest"):
                return await stock(node_id, request, **kwargs)
            if not await client.ready(node_id, **kwargs):  # which may take longer than the lease lasts
                raise NodeNotReadyError(f"no connection to node {node_id}")
            lease.check("writing to Kafka")
            if self.failed is not None:
                self.app.leave(self.failed)
            response = await stock(node_id, request, **kwargs)
            self.failed = self.failed or refusal(response)
            return response

        client.send = send


def refusal(response: Any) -> BaseException | None:
    """Why the broker refused one of the batches for good; None where it took them, or may when asked again.

    The client tells those who wait a few turns of the loop later; until then, the next batch must not leave.
    """
    for topic, partitions in response.topics:
        for partition in partitions:
            error = for_code(partition[1])
            if error not in {NoError, DuplicateSequenceNumber} and not error.retriable:
                return Unsafe(f"Kafka refused records of {topic}: {error.__name__}")
    return None
