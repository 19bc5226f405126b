"""The four steps of a fold, log first. Reads events; writes rows, then sends effects, then acknowledges the source.

1. `decide`; every row and effect is encoded and its size checked before the first is sent. The rows go to the overlay,
   which reads see, and to the changelog.
2. The changelog has acknowledged them: they enter the database, in one atomic write with their changelog offset. So the
   database is never ahead of its changelog.
3. The effects leave: outcomes, dead letters, and what the index is to do next.
4. Their sends are acknowledged: the source event is acked, in offset order. An ack means done.

Folds are pipelined: the next event is decided while earlier ones wait. Driven by acknowledgements alone, so that a
simulator can drive it. A failed send stops everything at once: nothing queued behind it leaves.
"""

from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace

from streamapp.core.decide import decide
from streamapp.core.effects import Bury, Change, Decision, Effect, Emit, Steer, Track
from streamapp.core.errors import TooLarge, Unsafe
from streamapp.core.events import CommandReceived, Event
from streamapp.core.key import usable_key
from streamapp.core.model import Original, Reason, Rejection
from streamapp.dispatch.partition import Partition, PendingRow
from streamapp.dispatch.ports import Index, Ledger, Outlet, Receipt

SourcePartition = tuple[str, int]
"""Topic and partition of the log that an event was read from; acks go out in its offset order."""


@dataclass(slots=True)
class _Fold:
    source: SourcePartition
    partition: Partition
    ack: Callable[[], None]
    rows: list[PendingRow]
    effects: list[Effect]
    sends: list[Callable[[], Receipt]]
    logged: list[Receipt] = field(default_factory=list)
    sent: list[Receipt] | None = None
    """None until the rows are safe."""


class Folds:
    """All folds of a worker that are under way."""

    def __init__(
        self,
        ledger: Ledger,
        outlet: Outlet,
        index: Index,
        soon: Callable[[Callable[[], None]], object],
        fail: Callable[[BaseException], None],
    ) -> None:
        """Build the pipeline.

        Args:
            ledger: The table.
            outlet: The way out for outcomes and dead letters.
            index: Told how entries stand, once their rows are safe.
            soon: Runs a callback in a later turn of the loop: all that one turn acknowledges is written at once.
            fail: Stops the worker; called once.
        """
        self._ledger = ledger
        self._outlet = outlet
        self._index = index
        self._soon = soon
        self._fail = fail
        self._logging: defaultdict[int, deque[_Fold]] = defaultdict(deque)
        self._acking: defaultdict[SourcePartition, deque[_Fold]] = defaultdict(deque)
        self._scheduled: set[object] = set()
        self.failed: BaseException | None = None
        self.acked = 0

    @property
    def open(self) -> int:
        """Folds that are not acked yet."""
        return sum(map(len, self._acking.values()))

    def fold(self, source: SourcePartition, partition: Partition, event: Event, ack: Callable[[], None]) -> Decision:
        """Take one event, in the offset order of its source partition; the steps follow by themselves.

        Whatever goes wrong stops the worker: an event that was not folded must not be followed by others.

        Raises:
            Unsafe: an earlier fold failed.
        """
        if self.failed is not None:
            raise Unsafe("an earlier fold failed") from self.failed
        try:
            decision, fold = self._prepare(source, partition, event, ack)
            self._begin(fold, decision)
            if isinstance(event, CommandReceived):
                partition.received(event.source.offset)
        except Exception as error:
            self.stop(error)
            raise
        return decision

    def pass_over(self, source: SourcePartition, partition: Partition, ack: Callable[[], None]) -> None:
        """Ack a record that means nothing, in its turn."""
        self._begin(_Fold(source, partition, ack, [], [], []), Decision())

    def remove(self, partition: Partition, removals: Sequence[Change]) -> None:
        """Remove rows that no event asks for: log first, in one atomic write.

        Raises:
            Unsafe: an earlier fold failed.
        """
        if self.failed is not None:
            raise Unsafe("an earlier fold failed") from self.failed
        rows = [partition.encode(change) for change in removals]
        source = "", partition.number
        self._begin(_Fold(source, partition, _nothing, rows, [], []), Decision(tuple(removals)))

    def _begin(self, fold: _Fold, decision: Decision) -> None:
        number = fold.partition.number
        self._acking[fold.source].append(fold)
        self._logging[number].append(fold)
        for change, row in zip(decision.changes, fold.rows, strict=True):
            fold.partition.lay(change, row)
            fold.logged.append(self._ledger.append(number, row.key, row.value))
        self._when(fold.logged, (self._enter, number), lambda: self._enter(number))

    def _prepare(
        self, source: SourcePartition, partition: Partition, event: Event, ack: Callable[[], None]
    ) -> tuple[Decision, _Fold]:
        while True:
            decision = decide(partition, event)
            try:
                return decision, self._encoded(source, partition, decision, ack)
            except TooLarge as error:
                smaller = _smaller(event, error)
                if smaller is None:
                    raise Unsafe(f"what follows from a record of {source} does not fit into Kafka: {error}") from error
                event = smaller

    def _encoded(
        self, source: SourcePartition, partition: Partition, decision: Decision, ack: Callable[[], None]
    ) -> _Fold:
        rows = [partition.encode(change) for change in decision.changes]
        for row in rows:
            self._ledger.check_size(row.key, row.value)
        sends = [self._outlet.prepare(effect) for effect in decision.effects if isinstance(effect, Emit | Bury)]
        return _Fold(source, partition, ack, rows, list(decision.effects), sends)

    def _enter(self, number: int) -> None:
        """Step 2 and 3, for all folds at the front whose rows are acknowledged."""
        queue = self._logging[number]
        safe: list[_Fold] = []
        while queue and all(receipt.done() for receipt in queue[0].logged):
            safe.append(queue.popleft())
        receipts = [receipt for fold in safe for receipt in fold.logged]
        for receipt in receipts:
            receipt.result()
        if receipts:
            self._ledger.enter(number, [(row.key, row.value) for fold in safe for row in fold.rows], receipts[-1])
        for fold in safe:
            for row in fold.rows:
                fold.partition.entered(row)
        for fold in safe:
            self._leave(fold)

    def _leave(self, fold: _Fold) -> None:
        fold.sent = [send() for send in fold.sends]
        for effect in fold.effects:
            if isinstance(effect, Track):
                self._index.track(effect.entry)
            elif isinstance(effect, Steer):
                self._index.steer(fold.partition.number, effect.scope, stopped=effect.stopped)
        self._when(fold.sent, (self._ack, fold.source), lambda: self._ack(fold.source))

    def _ack(self, source: SourcePartition) -> None:
        """Step 4, in offset order."""
        queue = self._acking[source]
        while queue and queue[0].sent is not None and all(receipt.done() for receipt in queue[0].sent):
            fold = queue.popleft()
            fold.ack()
            self.acked += 1

    def _when(self, receipts: Iterable[Receipt], key: object, step: Callable[[], None]) -> None:
        """Run a step once per turn of the loop in which one of the receipts came in."""

        def answered(receipt: Receipt) -> None:
            error = Unsafe("a send was given up") if receipt.cancelled() else receipt.exception()
            if error is not None:  # at once: the fold's other sends may never be answered
                self.stop(error)
            else:
                self._schedule(key, step)

        waiting = False
        for receipt in receipts:
            waiting = True
            receipt.add_done_callback(answered)
        if not waiting:
            self._schedule(key, step)

    def _schedule(self, key: object, step: Callable[[], None]) -> None:
        if key in self._scheduled:
            return
        self._scheduled.add(key)
        self._soon(lambda: self._run(key, step))

    def _run(self, key: object, step: Callable[[], None]) -> None:
        self._scheduled.discard(key)
        if self.failed is not None:
            return
        try:
            step()
        except Exception as error:  # noqa: BLE001 - whatever it is, the order of steps can't be kept any more
            self.stop(error)

    def stop(self, error: BaseException) -> None:
        """Stop for good: nothing that is queued here leaves any more."""
        if self.failed is None:
            self.failed = error
            self._fail(error)


def _nothing() -> None:
    """What is acked where no record was read."""


def _smaller(event: Event, error: TooLarge) -> Event | None:
    """The same record, with less to follow from it: first it is rejected, then its dead letter names it only."""
    if not isinstance(event, CommandReceived):
        return None
    content = event.content
    if not isinstance(content, Rejection):
        rejection = Rejection(reason=Reason.TOO_LARGE, detail=str(error), id=content.id, command=content.command)
        return replace(event, content=rejection, policy=None)
    key = usable_key(event.key)
    if (event.original, event.key) == (Original(None), key):
        return None
    detail = f"its bytes are too many for a dead letter and stand at {event.source} only; {content.detail}"
    return replace(event, key=key, original=Original(None), content=replace(content, detail=detail))
