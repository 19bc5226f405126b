"""Reads: names of faults and of parts to leave out. Writes: nothing. A worker in which something goes wrong on purpose.

    python -m tests.support.sabotage FAULT[,FAULT…] --datadir D worker …

Faults make happen what a real cluster does rarely. `without_…` leaves out what guards against it: a test that passes
with the guard has to fail without it.
"""

import asyncio
import logging
import sys
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from aiokafka.cluster import ClusterMetadata
from aiokafka.consumer import fetcher
from aiokafka.producer import sender
from faust.assignor.partition_assignor import PartitionAssignor

import streamapp
from streamapp.agents import pruner, rebalance, sequencer, vitals
from streamapp.agents.parts import Parts
from streamapp.core.effects import Track
from streamapp.dispatch.fold import Folds
from streamapp.dispatch.follow import Follower
from streamapp.dispatch.partition import Partition
from streamapp.dispatch.trigger import Trigger
from streamapp.kafka import (
    commit,
    dispatches,
    exits,
    fetch,
    gaps,
    group,
    lease,
    metadata,
    one_loop,
    recovery,
    recreated,
    restore,
    seek,
    store,
    transport,
)
from streamapp.observe import health
from streamapp.wire.outcomes import OutcomeCodec

# Faults


def leaderless() -> None:
    """While no broker answers, partitions have no leader: so says a broker of itself that shuts down."""
    stock = {name: getattr(ClusterMetadata, name) for name in ("failed_update", "update_metadata")}

    def failed(self: Any, exception: Any) -> Any:
        self.leaderless = True
        logging.getLogger("sabotage").error("nobody told who leads")
        return stock["failed_update"](self, exception)

    def told(self: Any, answer: Any) -> Any:
        self.leaderless = False
        return stock["update_metadata"](self, answer)

    leader = ClusterMetadata.leader_for_partition
    ClusterMetadata.failed_update, ClusterMetadata.update_metadata = failed, told
    ClusterMetadata.leader_for_partition = lambda self, tp: (
        -1 if getattr(self, "leaderless", False) else leader(self, tp)
    )


def slow_changelog() -> None:
    """Changelog records travel for a while."""
    _slow("-changelog", 0.3)


def slower_changelog() -> None:
    """Changelog records travel long enough to be on their way when a worker is frozen."""
    _slow("-changelog", 1.0)


def very_slow_changelog() -> None:
    """Changelog records travel longer than it takes until offsets are committed."""
    _slow("-changelog", 3.0)


def very_slow_results() -> None:
    """Outcomes travel longer than it takes until offsets are committed."""
    _slow("-results", 3.0)


def stuck_results() -> None:
    """Outcomes do not arrive as long as a test takes."""
    _slow("-results", 3600.0)


def very_slow_dead_letters() -> None:
    """Dead letters travel longer than it takes until offsets are committed."""
    _slow("-dead-letters", 3.0)


def _slow(suffix: str, seconds: float) -> None:
    """Records of a topic travel alone, as if their leader were another, slower broker."""
    underway = set()

    async def send_produce_request(self: Any, node_id: Any, batches: dict[Any, Any]) -> None:
        slow = {tp: batch for tp, batch in batches.items() if tp.topic.endswith(suffix)}
        quick = {tp: batch for tp, batch in batches.items() if tp not in slow}

        async def later() -> None:
            await asyncio.sleep(seconds)
            await sender.SendProduceReqHandler(self, slow).do(node_id)
            for tp in slow:
                self._muted_partitions.remove(tp)
            waiter = self._message_accumulator._waiter_future
            if not waiter.done():
                waiter.set_result(None)

        if slow:
            task = asyncio.create_task(later())
            underway.add(task)
            task.add_done_callback(underway.discard)
        if quick:
            await sender.SendProduceReqHandler(self, quick).do(node_id)
        self._in_flight.remove(node_id)
        for tp in quick:
            self._muted_partitions.remove(tp)

    sender.Sender._send_produce_req = send_produce_request


def lost_fetch() -> None:
    """Once, the first half of a batch of commands gets lost between Kafka's client and Faust."""
    stock = fetch.FetchThread._fetch_records
    lost: list[int] = []

    async def fetch_and_lose(self: Any, *args: Any, **kwargs: Any) -> Any:
        fetched = await stock(self, *args, **kwargs)
        for tp, records in fetched.items():
            if not lost and tp.topic == self.app.commands_topic and len(records) > 1:
                lost.append(len(records))
                fetched[tp] = records[len(records) // 2 :]
        return fetched

    fetch.FetchThread._fetch_records = fetch_and_lose


def stuck_recovery() -> None:
    """Once, changelog records that recovery waits for are drained elsewhere."""
    stock = fetch.FetchThread._fetch_first_things_first
    lost: set[Any] = set()

    async def fetch_and_lose(self: Any, *args: Any) -> Any:
        fetched = await stock(self, *args)
        if self.app.tables.recovery.in_recovery:
            for tp in list(fetched):
                if tp.topic.endswith("-changelog") and tp not in lost:
                    lost.add(tp)
                    del fetched[tp]
        return fetched

    fetch.FetchThread._fetch_first_things_first = fetch_and_lose


def lost_changelog() -> None:
    """Once for each partition, the middle of a batch of the changelog gets lost between Kafka's client and Faust."""
    stock = fetch.FetchThread._fetch_records
    lost: set[Any] = set()

    async def fetch_and_lose(self: Any, *args: Any, **kwargs: Any) -> Any:
        fetched = await stock(self, *args, **kwargs)
        for tp, records in fetched.items():
            if tp.topic.endswith("-changelog") and tp not in lost and len(records) > 2:
                lost.add(tp)
                fetched[tp] = [records[0], records[-1]]
        return fetched

    fetch.FetchThread._fetch_records = fetch_and_lose


def broken_follower() -> None:
    """The task that follows runs ends with an error once there is one."""
    _break(Follower, "_poll")


def broken_pruner() -> None:
    """The task that forgets ends with an error."""
    _break(pruner, "turn")


def broken_sink() -> None:
    """No dispatch can be tried."""
    _break(Trigger, "run")


def broken_settle() -> None:
    """No observation can be folded."""
    _break(OutcomeCodec, "decode")


def _break(owner: Any, name: str) -> None:
    def raise_(*_: Any, **__: Any) -> None:
        raise RuntimeError(f"{name} is broken on purpose")

    setattr(owner, name, raise_)


def blocked_loop() -> None:
    """The event loop stands still after the first fold."""
    stock = Parts.fold

    def fold(*args: Any) -> None:
        stock(*args)
        threading.Event().wait()

    Parts.fold = fold


def lost_acknowledgement() -> None:
    """Nobody hears that the first row of all is in the changelog."""
    stock = store.Rows.append
    lost: list[Any] = []

    def append(*args: Any) -> Any:
        sent = stock(*args)
        if not lost:
            lost.append(asyncio.get_running_loop().create_future())
            return lost[0]
        return sent

    store.Rows.append = append


def deaf_sequencer() -> None:
    """No command is ever taken in."""

    async def receive(*_: Any) -> None:
        await asyncio.get_running_loop().create_future()

    sequencer.receive = receive


def dead_fetcher() -> None:
    """Kafka's client stops fetching after the first fetch, as it does after an error of its own."""
    stock = fetcher.Fetcher._proc_fetch_request
    fetched: list[Any] = []

    async def once(*args: Any) -> Any:
        answer = await stock(*args)
        if fetched:
            raise RuntimeError("the fetcher is broken on purpose")
        fetched.append(answer)
        return answer

    fetcher.Fetcher._proc_fetch_request = once


def quick_vitals() -> None:
    """What makes no progress is given up soon."""
    vitals.LOOK_EVERY = timedelta(seconds=0.5)
    vitals.TICK_EVERY = timedelta(seconds=0.2)
    vitals.LOOP_STUCK_AFTER = timedelta(seconds=6)
    health.STALLED_AFTER = timedelta(seconds=8)


def small_buffers() -> None:
    """Few records are fetched before they can be folded."""
    dispatches.MAX_POLL_RECORDS, dispatches.STREAM_BUFFER = 50, 200


def rare_commits() -> None:
    """Nothing is committed before the end."""
    dispatches.COMMIT_EVERY_SECONDS = 3600.0


def short_grace() -> None:
    """A worker that does not end is not waited for as long."""
    stock = exits.exit_later
    exits.exit_later = lambda code: stock(code, timedelta(seconds=4))


def watch_flow() -> None:
    """Say in the log whether records could pass at the moment in which the index was rebuilt."""
    stock = rebalance.take_over

    async def take_over(app: Any, parts: Any) -> None:
        await stock(app, parts)
        passing = app.consumer.flow_active or app.flow_control.is_active()
        logging.getLogger(__name__).warning("after the rebuild, records %s", "pass" if passing else "wait")

    rebalance.take_over = take_over


def slow_rebuild() -> None:
    """Each first command of a key takes 5 ms to be read from the table, as if there were many more of them."""
    stock = Partition.recover

    def recover(self: Any) -> Any:
        for entry in stock(self):
            time.sleep(0.005)
            yield entry

    Partition.recover = recover


def early_alarm() -> None:
    """Faust announces a completed rebalance although the next one is pending."""
    stock = transport.DurableApp.give_up_partitions
    log = logging.getLogger(__name__)

    async def give_up(self: Any, why: str) -> None:
        await stock(self, why)
        if self.should_stop or not self.assigned_commands():
            return
        self.tables.recovery.signal_recovery_start.set()
        log.warning("alarm begins")
        await self.on_rebalance_complete.send()
        log.warning("alarm ends")

    transport.DurableApp.give_up_partitions = give_up


def unknown_results() -> None:
    """Once, who gives out the partitions does not know the results topic."""
    stock = PartitionAssignor._get_copartitioned_groups.__func__
    once = iter([True])

    def group(cls: Any, topics: set[str], *args: Any) -> Any:
        known = {topic for topic in topics if not (topic.endswith("-results") and next(once, False))}
        return stock(cls, known, *args)

    PartitionAssignor._get_copartitioned_groups = classmethod(group)


def late_ends() -> None:
    """From its second rebalance on, a worker is told where changelogs end only once its partitions are taken away."""
    stock, give_up = seek.SeekThread._highwaters, transport.DurableApp.give_up_partitions
    taken_away = asyncio.Event()
    generations: list[int] = []

    async def tell_late(self: Any, partitions: Any) -> Any:
        generation = self.app.consumer_generation_id
        if generation not in generations:
            generations.append(generation)
            taken_away.clear()
        if generation != generations[0]:
            await taken_away.wait()
        return await stock(self, partitions)

    async def give_up_loudly(self: Any, why: str) -> None:
        taken_away.set()
        await give_up(self, why)

    transport.DurableApp.give_up_partitions = give_up_loudly
    seek.SeekThread._highwaters = tell_late


def late_to_join() -> None:
    """A worker gives its partitions up and takes its time to join again; the others wait for it."""
    stock = transport.Consumer.on_partitions_revoked

    async def dawdle(self: Any, revoked: Any) -> None:
        await stock(self, revoked)
        if revoked and not self.app.should_stop:
            await asyncio.sleep(10)

    transport.Consumer.on_partitions_revoked = dawdle


# What may be left out


def without_log_first() -> None:
    """The stock order: rows enter the database at once, and effects leave at once."""

    def begin(self: Folds, fold: Any, decision: Any) -> None:
        number = fold.partition.number
        self._acking[fold.source].append(fold)
        for change, row in zip(decision.changes, fold.rows, strict=True):
            fold.partition.lay(change, row)
            fold.logged.append(self._ledger.append(number, row.key, row.value))
            database = self._ledger._database(number)
            if row.value is None:
                database.delete(row.key)
            else:
                database.put(row.key, row.value)
            fold.partition.entered(row)
        fold.sent = [send() for send in fold.sends]
        for effect in fold.effects:
            if isinstance(effect, Track):
                self._index.track(effect.entry)
        self._when([*fold.logged, *fold.sent], (self._ack, fold.source), lambda: self._ack(fold.source))

    Folds._begin = begin


def without_waiting_for_rows() -> None:
    """An event is acked at once, whatever its rows do."""
    stock = Folds._begin

    def begin(self: Folds, fold: Any, decision: Any) -> None:
        fold.ack()
        fold.ack = lambda: None
        stock(self, fold, decision)

    Folds._begin = begin


def without_waiting_for_sends() -> None:
    """An event is acked as soon as its effects have left, whether they arrive or not."""
    stock = Folds._leave

    def leave(self: Folds, fold: Any) -> None:
        stock(self, fold)
        fold.ack()
        fold.ack = lambda: None

    Folds._leave = leave


def without_ack_order() -> None:
    """An event is acked as soon as its own effects have arrived, whatever the ones before it do."""

    def ack(self: Folds, source: Any) -> None:
        queue = self._acking[source]
        arrived = [fold for fold in queue if fold.sent is not None and all(sent.done() for sent in fold.sent)]
        for fold in arrived:
            queue.remove(fold)
            fold.ack()

    Folds._ack = ack


def without_gaps() -> None:
    """Whatever is delivered is folded."""
    gaps.Gaps.expects = lambda *_: True


def without_restoring_in_order() -> None:
    """Whatever is delivered of a changelog is applied."""
    restore.OrderedRecovery.is_next = lambda *_: True


def without_sole_writer() -> None:
    """Offsets of the changelog may leap, whoever wrote in between."""
    stock = store.Rows.enter

    def enter(self: Any, partition: int, rows: Any, last: Any) -> None:
        self._offsets[partition] = last.result().offset - len(rows)
        stock(self, partition, rows, last)

    store.Rows.enter = enter


def without_catching_up() -> None:
    """What the workers before have seen is not waited for."""
    gaps.Gaps.caught_up = True


def without_lease() -> None:
    """A worker writes whatever its membership."""
    lease.Lease.check = lambda *_: None
    lease.Lease.remaining = timedelta(days=1)


def without_hold() -> None:
    """Commands are taken in however full memory is."""
    fetch.HoldingConsumer.hold = lambda *_: None


def without_watchdog() -> None:
    """Nobody looks whether recovery gets on."""

    async def look_away(*_: Any) -> None:
        pass

    recovery.RecoveryWatchdog._mend = look_away


def without_flow() -> None:
    """The flow of records is as Faust leaves it."""
    rebalance.stop_flow = lambda *_: None


def without_portions() -> None:
    """The index is rebuilt in one go."""
    rebalance.take_over.__defaults__ = (timedelta.max,)


def without_rebuild_guard() -> None:
    """The index is rebuilt whenever a rebalance is said to be complete."""
    rebalance.rebuild_allowed = lambda *_: True


def without_recreation_check() -> None:
    """Offsets that a topic never had are believed, and that a topic is the one that it was."""

    async def look_away(*_: Any, **__: Any) -> None:
        pass

    recreated.Originals.look = recreated.Originals.shrunk = look_away
    recreated.Originals.belied = lambda *_: None
    fetch.FetchThread._leaps = lambda *_: {}


def without_vitals() -> None:
    """Nobody looks whether the worker makes progress."""
    vitals.give_up_if = lambda *_: None
    vitals.Pulse.start = lambda *_: None


def without_one_loop() -> None:
    """Kafka's client runs in a thread of its own."""
    for name in [name for name, value in vars(one_loop.OneLoopThread).items() if callable(value)]:
        delattr(one_loop.OneLoopThread, name)
    without_recreation_check()  # which is asked for in the other loop


def without_group() -> None:
    """Nobody is told that the group does not take the worker in."""
    group.leave_when_refused = lambda *_: None


def without_pace() -> None:
    """Who leads a partition is asked for as soon as it was answered, or not."""
    metadata.pace = lambda *_: None


def without_exit() -> None:
    """A worker that should end takes the time it takes."""
    exits.exit_later = lambda *_: None


def without_commit() -> None:
    """Faust's own reckoning of what may be committed."""
    for name in ("ack", "_new_offset", "_add_gap", "_commit_offsets"):
        delattr(commit.CommittingConsumer, name)


def without_drain() -> None:
    """Partitions are given up whatever is under way."""

    async def give_up(*_: Any) -> None:
        pass

    transport.DurableApp.give_up_partitions = give_up


def main() -> None:
    """Spoil what is named, then run Faust."""
    for name in sys.argv.pop(1).split(","):
        fault: Callable[[], None] = globals()[name]
        fault()
    streamapp.app.main()


if __name__ == "__main__":
    main()
