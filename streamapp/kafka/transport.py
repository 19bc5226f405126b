"""Plugs the mends into Faust: the transport, the consumer that drains before it gives partitions up, and the app."""

import logging
from collections.abc import Awaitable, Callable
from typing import Any

import faust
from faust.transport.drivers import aiokafka as driver
from faust.types import TP

from streamapp.clock import Clock
from streamapp.core.errors import ConfigError, Unsafe
from streamapp.kafka import delivery, exits
from streamapp.kafka.delivery import DirectConsumer
from streamapp.kafka.gaps import Gaps
from streamapp.kafka.group import GroupThread
from streamapp.kafka.intake import Intake
from streamapp.kafka.lease import Lease, LeasedProducer
from streamapp.kafka.recovery import RecoveryWatchdog
from streamapp.kafka.recreated import Originals

log = logging.getLogger(__name__)


class Consumer(DirectConsumer):
    """Drains what is under way before partitions are given up."""

    given_up = False
    """Whether there are none: the last were taken away, and the next are not assigned yet."""

    def _new_consumer_thread(self) -> GroupThread:
        delivery.install()
        return GroupThread(self, loop=self.loop, beacon=self.beacon)

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """Nothing may be half done when another worker takes over."""
        await self.app.give_up_partitions("partitions are revoked")
        await super().on_partitions_revoked(revoked)

    async def on_partitions_assigned(self, assigned: set[TP], generation_id: int = 0) -> None:
        """From here on, what is restored is ours."""
        self.given_up = False
        await super().on_partitions_assigned(assigned, generation_id)


class Transport(driver.Transport):  # type: ignore[misc]
    """Faust's transport, made of mended parts."""

    Consumer = Consumer
    Producer = LeasedProducer


class DurableApp(faust.App):  # type: ignore[misc]
    """A Faust app that keeps its word at rebalances, crashes and freezes."""

    clock: Clock
    commands_topic: str
    """What is fetched last, and what can be held."""
    producer: LeasedProducer
    written_topics: tuple[str, ...]
    """What is written to; the producer knows them before it writes."""
    lease: Lease
    gaps: Gaps
    """Of the sources."""
    restoring: Gaps
    """Of the changelogs, while the table is restored, and of those that are followed as standbys."""
    originals: Originals
    """The topics as this worker found them."""
    intake: Intake
    """Of commands, in bytes."""
    drain: Callable[[], Awaitable[None]]
    """Waits until everything under way is acked.

    Raises:
        Unsafe: it was not, in time.
    """
    prepare: Callable[[], Awaitable[None]]
    """Waits for what the worker needs before it joins the group."""

    async def on_first_start(self) -> None:
        """Make the data directory; Faust itself makes it only where its parents exist."""
        self.conf.datadir.mkdir(parents=True, exist_ok=True)
        await super().on_first_start()

    async def on_start(self) -> None:
        """Start only where the worker can work."""
        try:
            await self.prepare()
        except ConfigError as error:
            self.leave(error)
        await super().on_start()

    def _new_transport(self) -> Transport:
        return Transport(self.conf.broker_consumer, self)

    def _new_producer_transport(self) -> Transport:
        return Transport(self.conf.broker_producer, self)

    def on_init_dependencies(self) -> list[Any]:
        """Faust's own services, and the watchdog: services of `@app.service` start only once the table is restored."""
        return [*super().on_init_dependencies(), RecoveryWatchdog(self, loop=self.loop, beacon=self.beacon)]

    def partition_counts(self) -> dict[str, int | None]:
        """The partitions of every topic that is read, and of the changelog; None where Kafka does not tell just now."""
        names = {tp.topic for tp in self.consumer.assignment()} | {self.commands_topic}  # a standby may own none
        return {name: self.consumer.topic_partitions(name) for name in sorted(names)}

    async def look_at_topics(self) -> None:
        """Leave where a topic is no longer the one that was read; once partitions are assigned."""
        if error := await self.originals.look(self.consumer._thread._consumer._client):  # noqa: SLF001
            self.leave(error)

    def assigned_commands(self) -> set[TP]:
        """The partitions of the commands topic that this worker owns."""
        return {tp for tp in self.consumer.assignment() if tp.topic == self.commands_topic}

    def assigned_sources(self) -> dict[str, set[int]]:
        """The partitions that this worker owns of each topic that it folds."""
        assigned = self.consumer.assignment()
        return {name: {tp.partition for tp in assigned if tp.topic == name} for name in self.topics.acking_topics}

    def is_next(self, tp: TP, offset: int) -> bool:
        """Whether a record of a source is to be folded now; else it comes again, or was folded before."""
        expected = self.gaps.expects(tp, offset)
        if not expected and tp.topic == self.commands_topic:
            self.intake.dropped(tp, offset)
        return expected

    @staticmethod
    def leave(error: BaseException) -> None:
        """Stop the process at once: going on could lose or double something."""
        if isinstance(error, ConfigError):
            log.critical("stopping, and a restart would not help: %s", error)
            exits.exit_now(exits.CONFIG)
        log.critical("stopping at once, to be started again: %s", error, exc_info=error)
        exits.exit_now(exits.UNSAFE)

    async def crash(self, reason: BaseException) -> None:
        """End because of an error, within a grace: while Kafka is away, Faust would wait for it to come back."""
        exits.exit_later(exits.STUCK)
        await super().crash(reason)

    async def stop(self) -> None:
        """End orderly, within a grace."""
        exits.exit_later(exits.STUCK)
        await super().stop()

    async def give_up_partitions(self, why: str) -> None:
        """Stop folding, let everything under way end, commit. What can't be ended means leaving the process."""
        consumer: Any = self._consumer
        consumer.given_up = True
        consumer.stop_flow()
        self.flow_control.suspend()
        self.flow_control.clear()
        try:
            await self.drain()
            self.gaps.stop()
            self.intake.clear()
            await consumer.commit()
        except Unsafe as error:
            log.critical("%s, but not everything under way has ended: %s", why, error)
            self.leave(error)

    async def _stop_consumer(self) -> None:
        if self._consumer is not None:
            await self.give_up_partitions("the worker stops")
        await super()._stop_consumer()
