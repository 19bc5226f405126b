"""One worker: the product's own parts, wired as the application wires them, between the modelled Kafka and Airflow.

Reads the three logs as `kafka.fetch` and the agents do; writes what the parts write. What Faust does in between, its
streams, its flow and its seeks, is here a few plain lines.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from functools import partial
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

from faust.types import TP

from streamapp.agents import follower as timers
from streamapp.agents import pruner, rebalance, sink
from streamapp.agents.parts import Parts
from streamapp.airflow.breaker import Breaker
from streamapp.airflow.guard import Guard
from streamapp.airflow.limit import Limit
from streamapp.application import waits_for_end
from streamapp.core.effects import OfDag, OfKey
from streamapp.core.errors import Unsafe
from streamapp.core.events import Event, Instructed, Observed
from streamapp.core.model import Instruction, Outcome, Source, Standing
from streamapp.dispatch.dags import Dags
from streamapp.dispatch.follow import Follower
from streamapp.dispatch.gate import Gate
from streamapp.dispatch.partitions import Partitions
from streamapp.dispatch.prune import Pruner
from streamapp.dispatch.ready import Note, Ready
from streamapp.dispatch.reconcile import Reconciler
from streamapp.dispatch.sends import Sends
from streamapp.dispatch.trigger import Trigger
from streamapp.kafka.gaps import Gaps
from streamapp.kafka.lease import Lease
from streamapp.routes import Routes
from tests.simulator.airflow import Port
from tests.simulator.broker import COMMANDS, CONTROL, MARKER, RESULTS, SOURCES, Producer
from tests.simulator.group import SESSION_MS
from tests.simulator.surroundings import (
    APP,
    CODEC,
    App,
    Directory,
    Ledger,
    NotedFolds,
    NotedTracker,
    Outlet,
    WorkerClock,
)
from tests.support.memory import Receipt

if TYPE_CHECKING:
    from tests.simulator.world import World

POLL = timedelta(seconds=1)
RECONCILE = timedelta(seconds=12)
DAG_MISSING_GRACE = timedelta(seconds=6)
AIRFLOW_TIMEOUT = timedelta(seconds=1)
"""So short that the trigger's own measure of doubt is what counts."""
PERMITS = 8
READY_LIMIT = 4
LATER_LIMIT = 6
FOLDS_LIMIT = 12
HEARTBEAT_MS = 3000
COMMIT_MS = 1500
TIMER_MS = 500
PRUNE_MS = 1500
LEARN_MS = 4000
REBUILD_AT_ONCE = timedelta(0)
"""Partitions may be given up after each row."""


class Left(BaseException):
    """The process has ended, on its own decision; nothing after it is run."""


class Worker:
    """A process, from its start to its end."""

    def __init__(self, world: "World", machine: int, life: int, directory: Directory, skew: timedelta) -> None:
        self.world = world
        self.machine = machine
        self.name = f"worker {machine}.{life}"
        self.alive = True
        self.frozen = False
        self.deaf_until = 0
        self.deferred: list[Callable[[], None]] = []
        self.generation = 0
        self.assignment: frozenset[int] = frozenset()
        self.must_reach: dict[TP, int] = {}
        """Where results and control ended at the takeover."""
        self.done: dict[TP, int] = {}
        """The offset after the last acked record."""
        self._epoch = 0
        self._giving_up = False
        self._joins = 0
        self._joining = True
        """Whether the group has still to answer."""
        self._positions: dict[TP, int] = {}
        self._buffers: dict[str, deque[tuple[TP, int, Any]]] = {topic: deque() for topic in SOURCES}
        self._planned: set[Any] = set()
        self._held = False
        self._following = False
        self.producer = Producer(self, world)
        self.clock = WorkerClock(world, self, skew)
        self.lease = Lease(
            self.clock, timedelta(milliseconds=SESSION_MS), leave=lambda code: self.leave(Unsafe(f"exit {code}"))
        )
        self.gaps = Gaps()
        self.ledger = Ledger(self, world, directory)
        self.app = cast("Any", App(self, world.plan.partitions))
        self.parts = self._new_parts(world)
        self.pruner = Pruner(
            self.parts.partitions,
            self.parts.folds,
            self.clock,
            retention=world.plan.retention,
            shortest=lambda: world.plan.shortest_memory,
        )
        for begin, delay in ((self._beat, HEARTBEAT_MS), (self._commit_now_and_then, COMMIT_MS)):
            world.after(world.random.randint(1, delay), self, begin)
        if world.plan.prunes:
            world.after(PRUNE_MS, self, self._prune)
        world.after(world.delay(50), self, self._join)

    def _new_parts(self, world: "World") -> Parts:
        port = Port(world.airflow, self, world)
        outlet = Outlet(self, world)
        limit = Limit(PERMITS, self.clock, self._wake)
        guard = Guard(port, limit, Breaker(), self.clock, self._wake)
        dags = Dags(
            guard.reading,
            self.clock,
            wanted=lambda: ready.dags,
            changed=lambda: ready.caps_changed(),  # noqa: PLW0108 - made at the same time
        )
        ready = Ready(self.clock, self._wake, dags.cap)
        sends = Sends(self.leave)
        report = sends.counted(outlet.report)
        runs = Follower(
            guard.reading,
            self.clock,
            report=report,
            app_id=APP,
            poll_interval=POLL,
            reconcile_interval=RECONCILE,
            is_waited_for=lambda entry: waits_for_end(entry, self.parts),
        )
        trigger = Trigger(
            guard.starting,
            self.clock,
            app_id=APP,
            dag_missing_grace=DAG_MISSING_GRACE,
            lease=timedelta(milliseconds=SESSION_MS),
            request_timeout=AIRFLOW_TIMEOUT,
            outages=lambda: guard.breaker.opened,
        )
        tracker = NotedTracker(ready, runs, trigger)
        tracker.known = world.known_runs
        folds = NotedFolds(self.ledger, outlet, tracker, soon=partial(world.after, 0, self), fail=self.leave)
        folds.noted = outlet
        return Parts(
            clock=self.clock,
            routes=Routes(None),
            commands=cast("Any", None),
            outcomes=cast("Any", None),
            partitions=Partitions(self.ledger, CODEC, tracker),
            folds=folds,
            ready=ready,
            gate=Gate(hold=self._hold, release=self._release),
            limit=limit,
            guard=guard,
            dags=dags,
            trigger=trigger,
            follower=runs,
            reconciler=Reconciler(
                runs,
                port,
                self.clock,
                app_id=APP,
                may_run=lambda mark: self.parts.partitions.may_run(mark),  # noqa: PLW0108 - made at the same time
            ),
            report=report,
            instruct=sends.counted(self._instruct),
            sends=sends,
            is_next=self.gaps.expects,
            caught_up=lambda: self.gaps.caught_up,
            may_start=lambda: self.lease.check("starting a run"),
            share=limit.share,
            ready_limit=READY_LIMIT,
            later_limit=LATER_LIMIT,
            folds_limit=FOLDS_LIMIT,
            wake=self._wake,
        )

    # The process

    def leave(self, error: BaseException) -> None:
        """End at once; nobody but the session time-out tells the group."""
        raise Left(str(error)) from error

    def freeze(self) -> None:
        self.frozen = True

    def thaw(self) -> None:
        if self.alive and self.frozen:
            self.frozen = False
            self.world.say(self.name, "wakes up")
            self.world.scheduler.thaw(self)

    def stop(self) -> None:
        """End orderly."""
        if not self._giving_up:
            self._giving_up = True
            self._epoch += 1
            self.world.scheduler.spawn(self, self._stop())

    async def _stop(self) -> None:
        await self._give_up()
        self.world.group.leave(self)
        self.world.bury(self, "stops")

    def _instruct(self, instruction: Instruction, partition: int) -> Receipt:
        return self.producer.send(TP(CONTROL, partition), instruction)

    def _plan(self, what: Any, delay_ms: int, step: Callable[[], None]) -> None:
        """Plan a step, unless it is planned already."""
        if what not in self._planned:
            self._planned.add(what)

            def run() -> None:
                self._planned.discard(what)
                step()

            self.world.after(delay_ms, self, run)

    # The group

    def _beat(self) -> None:
        world = self.world
        world.after(HEARTBEAT_MS, self, self._beat)
        world.idle(2)
        if world.now < self.deaf_until:
            return
        since = self.lease.now()
        if world.group.heartbeat(self):
            world.after(world.delay(10), self, partial(self.lease.renew, since))
        elif self._joins and not self._giving_up and (not self._joining or not world.group.is_member(self)):
            self._giving_up = True
            self._epoch += 1
            world.scheduler.spawn(self, self._rejoin())

    async def _rejoin(self) -> None:
        await self._give_up()
        self._giving_up = False
        self._join()

    def _join(self) -> None:
        self._joins += 1
        self._joining = True
        self.world.group.join(self, self._joins)

    async def _give_up(self) -> None:
        """End what is under way, commit; what can't be ended means leaving the process."""
        for buffer in self._buffers.values():
            buffer.clear()
        self._held = False
        try:
            await rebalance.end_folds(self.app, self.parts)
        except Unsafe as error:
            self.leave(error)
        self.gaps.stop()
        self.assignment = frozenset()
        committed = self.world.broker.commit(self, self.generation, self._committable())
        self.world.say(self.name, f"gives its partitions up, {'' if committed else 'not '}committed")

    def assigned(self, join: int, generation: int, numbers: frozenset[int], since_ms: int) -> None:
        """The group has answered a join: these partitions are ours."""
        if self._giving_up or join != self._joins:
            return
        self.lease.renew(since_ms / 1000)
        self.generation, self._joining = generation, False
        self.world.say(self.name, f"is assigned {sorted(numbers)}")
        self._epoch += 1
        self.world.after(self.world.delay(100), self, partial(self._restore, self._epoch, numbers))

    def _restore(self, epoch: int, numbers: frozenset[int]) -> None:
        if epoch != self._epoch:
            return
        for number in sorted(numbers):
            self.ledger.recover(number)
        self.world.after(self.world.delay(50), self, partial(self._seek, epoch, numbers))

    def _seek(self, epoch: int, numbers: frozenset[int]) -> None:
        if epoch != self._epoch:
            return
        broker = self.world.broker
        self._positions = {
            tp: broker.committed.get(tp, 0) for tp in (TP(topic, n) for topic in SOURCES for n in sorted(numbers))
        }
        ends = {tp: broker.end(tp) for tp in self._positions if tp.topic != COMMANDS}
        self.gaps.start(self._positions, ends)
        self.done = dict(self._positions)
        self.must_reach = ends
        self.assignment = numbers
        self.world.after(self.world.delay(10), self, partial(self._take_over, epoch))

    def _take_over(self, epoch: int) -> None:
        if epoch == self._epoch:
            self.world.scheduler.spawn(self, self._rebuild(epoch))

    async def _rebuild(self, epoch: int) -> None:
        await rebalance.take_over(self.app, self.parts, REBUILD_AT_ONCE)
        if epoch != self._epoch:
            return
        if not self._following:
            self._following = True
            follower, reconciler, guard = self.parts.follower, self.parts.reconciler, self.parts.guard
            looks = reconciler.run(), reconciler.look_up_unknown()
            for work in (follower.run(), follower.run_errands(), follower.watch_hints(), *looks, guard.watch()):
                self.world.scheduler.spawn(self, work)
            self._learn()
        self._fetch_soon()

    # Reading

    def more(self, tp: TP) -> None:
        """There is a new record."""
        if tp.partition in self.assignment:
            self._fetch_soon()

    def _fetch_soon(self) -> None:
        self._plan("fetch", self.world.delay(15), self._fetch)

    def _hold(self) -> None:
        if not self._held:
            self.world.counts["holds"] += 1
        self._held = True

    def _release(self) -> None:
        self._held = False
        self._fetch_soon()

    def _fetch(self) -> None:
        if not self.parts.partitions.accepting:
            return
        world = self.world
        for tp, offset in self.gaps.take_asked(list(self._positions)).items():
            self._positions[tp] = offset
        waiting = [tp for tp, position in self._positions.items() if position < world.broker.end(tp)]
        urgent = [tp for tp in waiting if tp.topic != COMMANDS] or ([] if self._held else waiting)
        if urgent:
            tp = world.random.choice(urgent)
            position = self._positions[tp]
            log = world.broker.logs[tp][position : position + world.random.randint(1, 6)]
            records = [(tp, position + n, record) for n, record in enumerate(log) if record is not MARKER]
            self._positions[tp] = position + len(log)
            if records:
                self.gaps.fetched(tp, [offset for _, offset, _ in records])
                self._deliver(tp.topic, records)
        for behind in sorted(self.gaps.behind()):
            self.gaps.reached(behind, self._positions[behind])
        self._wake()
        held = self._held and all(tp.topic == COMMANDS for tp in waiting)
        if waiting and not held:
            self._fetch_soon()
        elif self.gaps.behind():
            self._plan("fetch", 200, self._fetch)

    def _deliver(self, topic: str, records: list[tuple[TP, int, Any]]) -> None:
        self._buffers[topic].extend(records)
        self._plan(topic, self.world.delay(5), partial(self._stream, topic))

    def _stream(self, topic: str) -> None:
        """One turn of an agent."""
        buffer = self._buffers[topic]
        if not buffer:
            return
        tp, offset, record = buffer.popleft()
        if buffer:
            self._plan(topic, self.world.delay(3), partial(self._stream, topic))
        if buffer and buffer[0][0] == tp and self.world.chance("lost_delivery"):  # only what follows can tell
            self.world.say(self.name, f"never sees {tp.topic} {tp.partition} {offset}")
            self._fetch_soon()
            return
        message = SimpleNamespace(topic=topic, partition=tp.partition, offset=offset, tp=tp)
        ack = partial(self._ack, tp, offset)
        event = self._event(tp, offset, record)
        if event is None:
            self.parts.pass_over(message, ack)
        else:
            self.world.counts["folds"] += 1
            self.world.say(self.name, f"reads {tp.topic} {tp.partition} {offset}: {_shown(record)}")
            if topic == COMMANDS:
                self._judge_memory(tp.partition, offset, record)
            self.parts.fold(message, event, ack)
        self._fetch_soon()  # a record that was skipped is asked for again

    def _judge_memory(self, number: int, offset: int, record: Any) -> None:
        """What is read again must find its entry: it would be run again."""
        partition = self.parts.partitions.get(number)
        ours = self.world.group.owners.get(number) is self
        if ours and partition is not None and offset in self.world.recorded[number]:
            self.world.counts["redelivered"] += 1
            if partition.entry(record.key, offset) is None:
                self.world.violation(f"{self.name}: {record.source} is read again, and its entry was forgotten")

    def _event(self, tp: TP, offset: int, record: Any) -> Event | None:
        if record is None:
            return None
        now = self.clock.now()
        if tp.topic == COMMANDS:
            return cast("Event", replace(record, at=now))
        if tp.topic == RESULTS:
            return None if record.source.partition != tp.partition else Observed(key=record.key, outcome=record, at=now)
        return Instructed(source=Source(CONTROL, tp.partition, offset), instruction=record, at=now)

    def _ack(self, tp: TP, offset: int) -> None:
        self.gaps.acked(tp, offset)
        if tp in self.done:
            if offset < self.done[tp]:
                self.world.violation(f"{self.name}: {tp} {offset} was acked after {self.done[tp] - 1}")
            self.done[tp] = offset + 1

    def _committable(self) -> dict[TP, int]:
        committed = self.world.broker.committed
        return {tp: offset for tp, offset in self.done.items() if offset > committed.get(tp, 0)}

    def _commit_now_and_then(self) -> None:
        world = self.world
        world.after(COMMIT_MS, self, self._commit_now_and_then)
        world.idle()
        offsets = self._committable()
        if offsets and self.assignment and not world.chance("failed_commit"):
            world.after(world.delay(8), None, partial(self._commit, self._epoch, self.generation, offsets))

    def _commit(self, epoch: int, generation: int, offsets: dict[TP, int]) -> None:
        if self.world.broker.commit(self, generation, offsets):
            self.world.after(self.world.delay(8), self, partial(self._committed, epoch, offsets))

    def _committed(self, epoch: int, offsets: dict[TP, int]) -> None:
        if epoch == self._epoch:
            self.gaps.committed(offsets)

    def _prune(self) -> None:
        self.world.after(PRUNE_MS, self, self._prune)
        self.world.idle()
        before = self.pruner.pruned
        pruner.turn(self.app, self.parts, self.pruner)
        self.world.counts["pruned"] += self.pruner.pruned - before

    # The sink and the timers

    def _wake(self) -> None:
        if not self.alive:  # what it was at is cleared away whenever Python gets round to it
            return
        if "sink" not in self._planned and sink.available(self.parts):
            self._plan("sink", self.world.delay(4), self._start_one)
        ready = self.parts.ready
        if ready._later or ready._deadlines or self.parts.gate.reasons:
            self._plan("timers", TIMER_MS, self._let_time_pass)

    def _let_time_pass(self) -> None:
        self.world.idle()
        timers.let_time_pass(self.parts)
        self.parts.measure()
        self._wake()

    def _learn(self) -> None:
        """Look at a DAG now and then."""
        self.world.after(LEARN_MS, self, self._learn)
        self.world.idle()
        self.world.scheduler.spawn(self, self.parts.dags.look())

    def _start_one(self) -> None:
        if sink.available(self.parts):
            note = sink.take(self.parts)
            assert note is not None
            self._judge_stops(note)
            self.world.scheduler.spawn(self, self._start(note))
            self._wake()

    def _judge_stops(self, note: Note) -> None:
        """Nothing of a key on hold or of a paused DAG is started; what may have been started is settled."""
        partition = self.parts.partitions.get(note.source.partition)
        assert partition is not None
        scopes = [OfDag(""), OfDag(note.dag_id), *([OfKey(note.key)] if note.key is not None else [])]
        for scope in scopes:
            standing = partition._stored(scope)
            if isinstance(standing, Standing) and standing.stopped and not note.ending:
                self.world.violation(f"{self.name} starts {note.source} although {scope} is stopped")

    async def _start(self, note: Note) -> None:
        await sink.start(self.parts, note)
        self.parts.limit.release()
        self.parts.measure()
        self._wake()


def _shown(record: Any) -> str:
    if isinstance(record, Outcome):
        return f"{record.source.offset} {record.status} {record.attempt} {record.result or ''}"
    return str(getattr(record, "control_id", None) or getattr(getattr(record, "content", None), "id", record))
