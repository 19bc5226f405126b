"""What is fetched, and when: reads record batches from Kafka's client, puts back what outlived its time.

Stock Faust hands the client its live set of partitions. A rebalance empties that set, and to the client an empty set
means *all* partitions: records vanish, and recovery may wait for them for ever (FETCH). Results and control are fetched
before commands and standbys' changelogs, because the client empties one partition's whole chunk before it looks at the
next. While commands are held, the rest of a batch still goes through (HOLD).
"""

import logging
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any

from aiokafka.errors import IllegalStateError, KafkaError
from faust.transport.drivers import aiokafka as driver
from faust.types import TP

from streamapp.kafka import headers, metadata
from streamapp.kafka.one_loop import OneLoopThread
from streamapp.kafka.recreated import Originals, went_back

log = logging.getLogger(__name__)

FETCH_MAX_WAIT_MS = 200
"""How long a broker may wait for records; Faust's fixed 1500 ms delays every look-up behind a long poll."""
RESTORING_FETCH_MAX_WAIT_MS = 50
"""The same while a table is restored: the next chunk of its changelog may have to wait behind such a fetch."""


class FetchThread(OneLoopThread):
    """The client that reads from Kafka, with fetches that can't outlive their generation."""

    def _create_worker_consumer(self, transport: Any) -> Any:
        headers.install()
        consumer = super()._create_worker_consumer(transport)
        consumer._fetch_max_wait_ms = RESTORING_FETCH_MAX_WAIT_MS  # noqa: SLF001
        consumer._isolation_level = "read_committed"  # noqa: SLF001 - a command of an aborted transaction never was
        self.app.originals.bind(consumer)
        metadata.pace(consumer._client, self.app.clock)  # noqa: SLF001
        return consumer

    def topic_partitions(self, topic: str) -> int | None:
        """How many partitions a topic has; stock knows it in the group's leader alone."""
        numbers = self._consumer.partitions_for_topic(topic) if self._consumer is not None else None
        return len(numbers) if numbers else None

    async def _fetch_records(
        self,
        consumer: Any,
        active_partitions: set[TP],
        timeout: float | None = None,  # noqa: ASYNC109 - Faust's own
        max_records: int | None = None,
    ) -> dict[TP, list[Any]]:
        generation, wanted = self.app.consumer_generation_id, frozenset(active_partitions)
        if not wanted:
            return {}
        for gaps in (self.app.gaps, self.app.restoring):
            for tp, offset in gaps.take_asked(wanted).items():
                consumer.seek(tp, offset)
        wait_ms = RESTORING_FETCH_MAX_WAIT_MS if self.app.tables.recovery.in_recovery else FETCH_MAX_WAIT_MS
        consumer._fetcher._fetch_max_wait_ms = wait_ms  # noqa: SLF001
        fetched = await self._fetch_first_things_first(consumer, wanted, timeout, max_records)
        if leaps := self._leaps(fetched, active_partitions, generation):
            await self._account_for(consumer, leaps)
        if fetched and self.app.originals.due:
            client = consumer._client  # noqa: SLF001
            node = client.cluster.leader_for_partition(next(iter(fetched)))
            if error := await self.app.originals.look(client, node=node):
                self.app.leave(error)
        for tp in list(fetched):
            if self._is_stale(tp, active_partitions, generation):
                _put_back(consumer, tp, fetched.pop(tp))
            else:
                self._gaps_of(tp).fetched(tp, [record.offset for record in fetched[tp]])
                if tp.topic == self.app.commands_topic:
                    self.app.intake.fetched(tp, fetched[tp])
        self._tell_positions(consumer)
        return fetched

    def _is_stale(self, tp: TP, active_partitions: set[TP], generation: int) -> bool:
        outlived = generation != self.app.consumer_generation_id or not self.consumer.flow_active
        return outlived or tp not in active_partitions

    def _gaps_of(self, tp: TP) -> Any:
        return self.app.restoring if tp.topic in self.app.tables.changelog_topics else self.app.gaps

    def _leaps(
        self, fetched: Mapping[TP, list[Any]], active_partitions: set[TP], generation: int
    ) -> dict[TP, tuple[int, int]]:
        """Partitions of which the client goes on elsewhere than where it was; each with the two offsets.

        Where there is nothing at its position, it reads from the beginning, whatever the reason.
        """
        leaps = {}
        for tp, records in fetched.items():
            read, position = self._gaps_of(tp).returned(tp), records[0].offset
            if read not in {None, position} and not self._is_stale(tp, active_partitions, generation):
                leaps[tp] = read, position
        return leaps

    async def _account_for(self, consumer: Any, leaps: Mapping[TP, tuple[int, int]]) -> None:
        for tp, (read, position) in leaps.items():
            if position < read:
                if error := await self._went_back(consumer, tp, read, position):
                    self.app.leave(error)
            elif tp.topic not in self.app.tables.changelog_topics:  # they are compacted
                self.app.add_future(_tell_of_deleted(consumer, tp, read, position))

    async def _went_back(self, consumer: Any, tp: TP, read: int, position: int) -> Exception | None:
        originals: Originals = self.app.originals
        client, end = consumer._client, (await consumer.end_offsets([tp]))[tp]  # noqa: SLF001
        if end < read:
            what = f"{tp.topic} partition {tp.partition} was read up to offset {read}, but it ends at {end}"
            return await originals.shrunk(client, tp.topic, what, sure=True)
        if error := await originals.look(client):
            return error
        # A standby that has no database yet reads its changelog from the beginning, whatever was read of it before.
        return None if tp.topic in self.app.tables.changelog_topics else went_back(tp, position, read)

    def _tell_positions(self, consumer: Any) -> None:
        for tp in self.app.gaps.behind() & frozenset(consumer.assignment()):
            state = consumer._subscription.subscription.assignment.state_value(tp)  # noqa: SLF001
            if state.has_valid_position:
                self.app.gaps.reached(tp, state.position)

    async def _fetch_first_things_first(
        self,
        consumer: Any,
        wanted: frozenset[TP],
        timeout: float | None,  # noqa: ASYNC109 - Faust's own
        max_records: int | None,
    ) -> dict[TP, list[Any]]:
        patient = {self.app.commands_topic, *self.app.tables.changelog_topics}
        urgent = frozenset(tp for tp in wanted if tp.topic not in patient)
        if not urgent or urgent == wanted:
            return await super()._fetch_records(consumer, wanted, timeout, max_records)  # type: ignore[no-any-return]
        fetched = await super()._fetch_records(consumer, urgent, 0, max_records)
        room = (max_records or 1) - sum(map(len, fetched.values()))
        if room > 0:
            more = await super()._fetch_records(consumer, wanted, 0 if fetched else timeout, room)
            for tp, records in more.items():
                fetched[tp] = [*fetched.get(tp, ()), *records]
        return fetched  # type: ignore[no-any-return]


async def _tell_of_deleted(consumer: Any, tp: TP, read: int, position: int) -> None:
    """Say so where records are gone; elsewhere the client has passed what is none, such as a transaction's marker."""
    with suppress(KafkaError):
        if (await consumer.beginning_offsets([tp]))[tp] > read:
            log.error(
                "up to %d records of %s partition %d, from offset %d on, were deleted before they were read",
                *(position - read, tp.topic, tp.partition, read),
            )


def _put_back(consumer: Any, tp: TP, records: list[Any]) -> None:
    """Read these again, unless reading was sent elsewhere since they were taken."""
    with suppress(IllegalStateError):  # no longer ours: nothing to put back
        state = consumer._subscription.subscription.assignment.state_value(tp)  # noqa: SLF001
        # Behind the last record, the client may have passed what is none: a transaction's marker, say.
        if state.has_valid_position and state.position > records[-1].offset:
            consumer.seek(tp, records[0].offset)


class HoldingConsumer(driver.Consumer):  # type: ignore[misc]
    """A consumer whose commands can be held back while everything else flows."""

    held: frozenset[TP] = frozenset()
    full: frozenset[str] = frozenset()
    """Topics whose stream's buffer nears its end; it says so once, until it has room again."""

    def hold(self, tps: Iterable[TP]) -> None:
        """Fetch no more from these partitions; what is fetched already still comes."""
        new = frozenset(tps) - self.held
        self.held |= new
        for topic in {tp.topic for tp in new}:
            self._stop_fetching(topic)

    def release(self) -> None:
        """Fetch from all partitions again."""
        tps, self.held = self.held, frozenset()
        for topic in {tp.topic for tp in tps} - self.full:
            self._fetch_again(topic)

    def resume_partitions(self, tps: Iterable[TP]) -> None:
        """Fetch from these, but for what is held: a full index is, before Faust resumes what it was rebuilt for."""
        super().resume_partitions(tps)
        topics, self.held = {tp.topic for tp in self.held}, frozenset()
        for topic in topics:
            self.hold(self._of_topic(topic))

    def on_buffer_full(self, tp: TP) -> None:
        """A stream's buffer nears its end: stock stops this partition, and waits for ever once the others fill it."""
        if tp.topic in self.app.tables.changelog_topics:
            return  # nobody would wake a standby that is stopped in mid-rebalance, and its records never wait for long
        self.full |= {tp.topic}
        self._stop_fetching(tp.topic)

    def on_buffer_drop(self, tp: TP) -> None:
        """A stream's buffer has room again; stock also wakes partitions that are held, lost or in recovery."""
        self.full -= {tp.topic}
        self._fetch_again(tp.topic)

    def _stop_fetching(self, topic: str) -> None:
        for other in self._of_topic(topic):
            super().on_buffer_full(other)

    def _fetch_again(self, topic: str) -> None:
        for other in self._of_topic(topic) & self._buffered_partitions - self.held:
            self._buffered_partitions.discard(other)
            if other not in self._paused_partitions and not self.app.rebalancing:
                self._get_active_partitions().add(other)

    def _of_topic(self, topic: str) -> set[TP]:
        return {tp for tp in self.assignment() if tp.topic == topic}

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """Forget what was held: it is another generation now."""
        self._buffered_partitions.clear()
        self.held = frozenset()
        self.full = frozenset()
        await super().on_partitions_revoked(revoked)
