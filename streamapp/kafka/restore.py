"""Restoring tables in order: reads changelogs of own partitions and of standbys, writes what follows into databases.

Stock Faust takes any record whose offset is higher than the last, forgets what its queue still has whenever it resumes
the flow, and applies records of partitions that have gone. Here a record is taken only where it is the next one. What
follows enters the database at once, in one atomic write with its offset, so that a database that was a standby's is as
good as an owner's, and the other way round.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from faust.tables.manager import TableManager
from faust.tables.recovery import Recovery, ServiceStopped
from faust.types import TP
from faust.types.tuples import Message
from mode import Service
from mode.utils.queues import ThrowableQueue

from streamapp.core.errors import Unsafe

BATCH = 1000
"""Records that are written together. One takes about 0.1 ms, and nothing else happens meanwhile."""


class OrderedRecovery(Recovery):  # type: ignore[misc]
    """Faust's recovery, with its own way of taking records in."""

    num_samples_required_for_estimate = 3
    """Batches, after which the log tells how long it will take."""
    _last_active_event_processed_at: float | None = None

    def applied(self, tp: TP) -> int | None:
        """The last record of a changelog partition that the database has; -1 for none, None where nobody has looked."""
        return self._offsets_of(tp).get(tp)

    def _offsets_of(self, tp: TP) -> Counter[TP]:
        offsets: Counter[TP] = self.active_offsets if tp in self.active_tps else self.standby_offsets
        return offsets

    def standbys(self) -> dict[int, int]:
        """The partitions that are followed for others, each with the records that are known and not taken in yet."""
        return {tp.partition: self._behind(tp) for tp in sorted(self.standby_tps)}

    def _behind(self, tp: TP) -> int:
        last: int = self.standby_highwaters.get(tp, -1)
        applied = self.applied(tp)
        subscription = self.app.consumer._thread._consumer._subscription.subscription  # noqa: SLF001 - knows it fresher
        if subscription is not None and subscription.assignment is not None and tp in subscription.assignment.tps:
            last = max(last, (subscription.assignment.state_value(tp).highwater or 0) - 1)
        return max(last - (-1 if applied is None else applied), 0)

    def _set_recovery_started(self) -> None:
        """Stock clears the signal with every record, also when nobody has waited for it yet."""
        super()._set_recovery_started()
        self.signal_recovery_end.clear()

    async def _wait(self, coro: Any, timeout: float | None = None) -> None:  # noqa: ASYNC109 - Faust's own
        """Stock takes a wait that was too long for its own end: it restores nothing more, at no rebalance to come."""
        try:
            await super()._wait(coro, timeout)
        except ServiceStopped:
            if not self.should_stop:
                error = Unsafe(f"Kafka took too long to say where partitions begin and end: more than {timeout} s")
                self.app.leave(error)
                raise error from None
            raise

    async def _build_offsets(self, consumer: Any, tps: set[TP], destination: Counter[TP], title: str) -> None:
        await super()._build_offsets(consumer, tps, destination, title)
        if title == "active":  # where their changelogs end was asked before; of standbys it is asked later
            await self._compare(consumer, {tp: destination[tp] for tp in tps}, self.active_highwaters)

    async def _build_highwaters(self, consumer: Any, tps: set[TP], destination: Counter[TP], title: str) -> None:
        before = {tp: self.standby_offsets[tp] for tp in tps}
        await super()._build_highwaters(consumer, tps, destination, title)
        if title == "standby":
            await self._compare(consumer, before, destination)

    async def _compare(self, consumer: Any, offsets: Mapping[TP, int], highwaters: Mapping[TP, int]) -> None:
        """Leave where a database has more than its changelog.

        Stock ends in a crash then, again and again, or does not see it where the changelog has one record.
        """
        for tp, offset in offsets.items():
            if offset > max(last := highwaters[tp], 0):  # 0 is also said of a database that has nothing
                what = (
                    f"the database of partition {tp.partition} has offset {offset}, but {tp.topic} ends at {last + 1}"
                )
                client = consumer._thread._consumer._client  # noqa: SLF001
                self.app.leave(await self.app.originals.shrunk(client, tp.topic, what, sure=False))

    @Service.task
    async def _slurp_changelogs(self) -> None:
        queue = self.tables.changelog_queue
        while not self.should_stop:
            messages = [(await queue.get()).message, *_waiting(queue)]
            try:
                self.take(messages)
            except Exception as error:  # noqa: BLE001 - what was expected and not written must not be followed by more
                self.app.leave(error)
            self._measure(messages)
            self._tell()

    def take(self, messages: Iterable[Message]) -> None:
        """Write those of these records that are the next of their partitions."""
        following: defaultdict[TP, list[Message]] = defaultdict(list)
        for message in messages:
            if self._follows(message.tp) and self.is_next(message.tp, message.offset):
                following[message.tp].append(message)
        for tp, fresh in following.items():
            offset = fresh[-1].offset
            self.tp_to_table[tp].follow(tp.partition, [(message.key, message.value) for message in fresh], offset)
            self._offsets_of(tp)[tp] = offset

    def _follows(self, tp: TP) -> bool:
        """Whether this worker only reads a partition; once it is restored, an owner's database is the folds' alone."""
        if tp not in self.standby_tps and not (tp in self.active_tps and self.in_recovery):
            return False
        return bool(self.tp_to_table[tp].is_open(tp.partition))

    def is_next(self, tp: TP, offset: int) -> bool:
        """Whether a record follows the last one that was taken; else reading goes back to the one that does."""
        return bool(self.app.restoring.expects(tp, offset))

    def _measure(self, messages: Sequence[Message]) -> None:
        """Note what Faust's log tells of a recovery that takes long."""
        now, before = self.app.lease.now(), self._last_active_event_processed_at
        if before is not None and self.in_recovery:
            self._processing_times.append((now - before) / len(messages))
            if len(self._processing_times) > BATCH:
                self._processing_times.popleft()
        self._active_events_received_at.update((message.tp, now) for message in messages)
        self._last_active_event_processed_at = self._last_flush_at = now

    def _tell(self) -> None:
        if self.in_recovery and not self.need_recovery():
            self._set_recovery_ended()
            self.signal_recovery_end.set()
        if not self.tables.standbys_ready and not self.standby_remaining_total():
            self.tables.on_standbys_ready()


def _waiting(queue: Any) -> Iterable[Message]:
    """What else is in the queue, up to a batch."""
    for _ in range(min(queue.qsize(), BATCH - 1)):
        yield queue.get_nowait().message


class OrderedTables(TableManager):  # type: ignore[misc]
    """Faust's manager of tables, with the recovery that looks at the order of records."""

    _recovery: OrderedRecovery | None = None
    _changelog_queue: ThrowableQueue | None

    @property
    def recovery(self) -> OrderedRecovery:
        """The service that restores tables, and follows those of others."""
        if self._recovery is None:
            self._recovery = OrderedRecovery(self.app, self, beacon=self.beacon, loop=self.loop)
        return self._recovery

    @property
    def changelog_queue(self) -> ThrowableQueue:
        """Records of changelogs. Stock empties it when the flow is resumed, and standbys would be behind after that."""
        if self._changelog_queue is None:
            self._changelog_queue = self.app.FlowControlQueue(maxsize=self.app.conf.stream_buffer_maxsize)
        return self._changelog_queue
