"""What the agents work with: one bundle, made by the application. Reads and writes nothing itself."""

import logging
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass, field
from typing import Any, TypeVar

from streamapp.airflow.guard import Guard
from streamapp.airflow.limit import Limit
from streamapp.clock import Clock
from streamapp.core.errors import Unavailable
from streamapp.core.events import Event
from streamapp.core.model import Instruction, Outcome
from streamapp.dispatch.dags import Dags
from streamapp.dispatch.fold import Folds
from streamapp.dispatch.follow import Follower
from streamapp.dispatch.gate import Gate
from streamapp.dispatch.partitions import Partitions
from streamapp.dispatch.ready import Ready
from streamapp.dispatch.reconcile import Reconciler
from streamapp.dispatch.sends import Sends
from streamapp.dispatch.trigger import Trigger
from streamapp.routes import Routes
from streamapp.wire.codec import CommandDecoder
from streamapp.wire.outcomes import OutcomeCodec
from streamapp.wire.patience import patiently

T = TypeVar("T")

log = logging.getLogger(__name__)


@dataclass(kw_only=True)
class Parts:
    """The moving parts of one worker."""

    clock: Clock
    routes: Routes
    commands: CommandDecoder
    outcomes: OutcomeCodec
    partitions: Partitions
    folds: Folds
    ready: Ready
    gate: Gate
    limit: Limit
    guard: Guard
    dags: Dags
    trigger: Trigger
    follower: Follower
    reconciler: Reconciler
    report: Callable[[Outcome], None]
    """Publishes an observation; a failed send stops the worker."""
    instruct: Callable[[Instruction, int], None]
    """Publishes an instruction for a partition."""
    sends: Sends
    """What these two have sent."""
    is_next: Callable[[Any, int], bool]
    """Whether the record at an offset of a source partition is the next to be folded; else it comes again."""
    caught_up: Callable[[], bool]
    """Whether all that the workers before have seen is folded."""
    may_start: Callable[[], None]
    """Leaves the process where this worker's membership has run out."""
    share: Callable[[Collection[int], int], None]
    """Takes the part of the permits that the owned partitions are of all."""
    ready_limit: int
    folds_limit: int
    later_limit: int = 100_000
    wake: Callable[[], None] = lambda: None
    """Tells the sink that there may be something to start."""
    passed_over: int = 0
    """Records of the results and control topics that could not be read."""
    waiting: set[str] = field(default_factory=set)
    """Topics whose next record waits for a part that is away."""

    def fold(self, message: Any, event: Event, ack: Callable[[], None]) -> None:
        """Fold an event read from a Kafka message, unless its partition is being given up: then it comes again."""
        partition = self.partitions.get(message.partition)
        if partition is None or not self.is_next(message.tp, message.offset):
            return
        self.folds.fold((message.topic, message.partition), partition, event, ack)
        self.measure()

    async def patiently(self, part: str, topic: str, ask: Callable[[], Awaitable[T]]) -> T:
        """The answer of a part that may be away; commands are held meanwhile, so that results and control flow on.

        Args:
            part: In a word.
            topic: Whose record can't be read without it.
            ask: For the answer.
        """

        async def once() -> T:
            try:
                return await ask()
            except Unavailable:
                self.gate.close(part)
                self.waiting.add(topic)
                raise

        try:
            return await patiently(once, self.clock)
        finally:
            self.waiting.discard(topic)
            self.gate.open(part)

    def pass_over(self, message: Any, ack: Callable[[], None]) -> None:
        """Ack, in its turn, a record that says nothing: only workers and operators may write these topics."""
        partition = self.partitions.get(message.partition)
        if partition is not None and self.is_next(message.tp, message.offset):
            self.passed_over += 1
            log.warning(
                "record passed over", extra={"action": "passed_over", "source": f"{message.tp} {message.offset}"}
            )
            self.folds.pass_over((message.topic, message.partition), partition, ack)

    def measure(self) -> None:
        """Hold commands while memory is full, and let them flow when it has emptied."""
        self.gate.measure("ready", len(self.ready), self.ready_limit)
        self.gate.measure("later", self.ready.later, self.later_limit)
        self.gate.measure("folds", self.folds.open, self.folds_limit)
