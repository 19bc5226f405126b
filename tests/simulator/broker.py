"""Kafka, modelled: reads what producers send, keeps logs and committed offsets. A record lands before it is answered.

A producer writes one batch of a partition at a time, checks its lease at the last step, and nothing leaves it after a
refusal. What is on its way when the worker dies still lands; what is not is lost.
"""

from collections import defaultdict, deque
from functools import partial
from typing import TYPE_CHECKING, Any

from faust.types import TP

from streamapp.core.errors import Unsafe
from tests.support.memory import Receipt

if TYPE_CHECKING:
    from tests.simulator.worker import Worker
    from tests.simulator.world import World

COMMANDS, RESULTS, CONTROL = "commands", "results", "control"
DEAD_LETTERS, CHANGELOG = "dead-letters", "changelog"
SOURCES = (RESULTS, CONTROL, COMMANDS)
"""In the order of fetching."""
MARKER = object()
"""An offset without a record: the end of a transaction."""

SLOWEST_MS = 900
"""How late a batch may land; between the end of a lease and that of its session lies 1 s."""

Batch = list[tuple[Any, Receipt]]


class Broker:
    """The logs."""

    def __init__(self, world: "World") -> None:
        self._world = world
        self.logs: defaultdict[TP, list[Any]] = defaultdict(list)
        self.committed: dict[TP, int] = {}

    def append(self, tp: TP, record: Any) -> int:
        """Take a record; who reads this log is told that there is more."""
        log = self.logs[tp]
        log.append(record)
        self._world.appended(tp, len(log) - 1, record)
        return len(log) - 1

    def end(self, tp: TP) -> int:
        return len(self.logs[tp])

    def commit(self, worker: "Worker", generation: int, offsets: dict[TP, int]) -> bool:
        """Take a commit of a member of the present generation."""
        if not self._world.group.is_member(worker, generation):
            return False
        self._world.judge_commit(offsets)
        self.committed.update(offsets)
        return True


class Producer:
    """What a worker sends."""

    def __init__(self, worker: "Worker", world: "World") -> None:
        self._worker = worker
        self._world = world
        self._queues: defaultdict[TP, deque[tuple[Any, Receipt]]] = defaultdict(deque)
        self._busy: set[TP] = set()
        self._failed: BaseException | None = None

    @property
    def empty(self) -> bool:
        return not self._busy

    def send(self, tp: TP, record: Any) -> Receipt:
        receipt = Receipt()
        self._queues[tp].append((record, receipt))
        if tp not in self._busy:
            self._busy.add(tp)
            self._world.after(self._world.delay(5), self._worker, partial(self._write, tp))
        return receipt

    def _write(self, tp: TP) -> None:
        worker, world = self._worker, self._world
        worker.lease.check("writing to Kafka")
        if self._failed is not None:
            worker.leave(self._failed)
        queue = self._queues[tp]
        batch = [queue.popleft() for _ in range(world.random.randint(1, len(queue)))]
        refused = world.chance("refused_produce")
        slow = world.chance("slow_produce")
        delay = world.random.randint(100, 800) if slow else min(world.delay(world.plan.kafka_ms), SLOWEST_MS)
        world.after(delay, None, partial(self._land, tp, batch, refused))

    def _land(self, tp: TP, batch: Batch, refused: bool) -> None:
        world = self._world
        offset = self._world.broker.end(tp)
        if not refused:
            if tp.topic == CHANGELOG:
                world.judge_writer(self._worker, tp.partition)
            for record, _ in batch:
                world.broker.append(tp, record)
        world.after(
            world.delay(world.plan.kafka_ms),
            self._worker,
            partial(self._answered, tp, batch, None if refused else offset),
        )

    def _answered(self, tp: TP, batch: Batch, offset: int | None) -> None:
        if offset is None:
            self._failed = Unsafe(f"Kafka refused records of {tp}")
            batch[0][1].fail(self._failed)
            return
        for number, (_, receipt) in enumerate(batch):
            receipt.acknowledge(offset + number)
        if self._queues[tp]:
            self._world.after(0, self._worker, partial(self._write, tp))
        else:
            self._busy.discard(tp)
