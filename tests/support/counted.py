"""A worker's real folds, table state and index on a real RocksDB, every operation counted. Kafka answers when asked to.

Reads and writes: one database, with the options of the worker's own table.
"""

from base64 import b64encode
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from faust.stores.rocksdb import RocksDBOptions
from rocksdict import WriteBatch

from streamapp.core.effects import Identity, Queued, Settled, place
from streamapp.core.events import CommandReceived
from streamapp.core.model import Entry, Holder, RunState, Status
from streamapp.dispatch.fold import Folds
from streamapp.dispatch.partitions import Partitions
from streamapp.dispatch.prune import Offsets, Pruner
from streamapp.dispatch.ready import Ready
from streamapp.kafka.dispatches import TABLE_OPTIONS
from streamapp.wire import rows
from tests.support.builders import TOPIC, entry, observed, received, run_ended, triggered
from tests.support.manual_clock import ManualClock
from tests.support.memory import Log, Receipt, Turns

COMMANDS, RESULTS = (TOPIC, 0), ("results", 0)
BATCH = 20_000
RETENTION = timedelta(days=7)


class CountedRocks:
    """One partition's changelog, which keeps nothing, and its database. Implements `dispatch.ports.Ledger`."""

    def __init__(self, directory: Path) -> None:
        self.database: Any = RocksDBOptions(**TABLE_OPTIONS).open(directory)
        self.changelog = Log()
        self.counts: Counter[str] = Counter()

    def check_size(self, key: bytes, value: bytes | None) -> None:
        pass

    def append(self, partition: int, key: bytes, value: bytes | None) -> Receipt:
        self.counts["changelog records"] += 1
        return self.changelog.send((key, value))

    def enter(self, partition: int, rows: Sequence[tuple[bytes, bytes | None]], last: Receipt) -> None:
        self.counts["atomic writes"] += 1
        self.counts["rows written"] += len(rows)
        self.write(rows)

    def get(self, partition: int, key: bytes) -> bytes | None:
        self.counts["gets"] += 1
        found: bytes | None = self.database.get(key)
        return found

    def scan(self, partition: int, start: bytes) -> Generator[tuple[bytes, bytes], None, None]:
        self.counts["seeks"] += 1
        cursor = self.database.iter()
        try:
            cursor.seek(start)
            while cursor.valid():
                self.counts["steps"] += 1
                yield cursor.key(), cursor.value()
                cursor.next()
        finally:
            del cursor

    # What tests do

    def write(self, rows: Iterable[tuple[bytes, bytes | None]]) -> None:
        batch = WriteBatch(raw_mode=True)
        for key, value in rows:
            if value is None:
                batch.delete(key)
            else:
                batch.put(key, value)
        self.database.write(batch)

    def close(self) -> None:
        self.database.close()


class CountedOutlet:
    """The results topic, which keeps nothing."""

    def __init__(self) -> None:
        self.log = Log()
        self.sent: Counter[Status] = Counter()

    def prepare(self, effect: Any) -> Callable[[], Receipt]:
        def send() -> Receipt:
            self.sent[effect.outcome.status] += 1
            return self.log.send(None)

        return send


@dataclass
class Stage:
    """The parts of a worker that owns one partition."""

    ledger: CountedRocks
    clock: ManualClock = field(default_factory=ManualClock)

    def __post_init__(self) -> None:
        self.outlet = CountedOutlet()
        self.turns = Turns()
        self.failures: list[BaseException] = []
        self.ready = Ready(self.clock, wake=lambda: None)
        self.partitions = Partitions(self.ledger, rows, self)
        self.folds = Folds(self.ledger, self.outlet, self, soon=self.turns, fail=self.failures.append)
        self.pruner = Pruner(self.partitions, self.folds, self.clock, retention=RETENTION)
        self.offset = 0
        list(self.partitions.rebuild({0}))

    def track(self, one: Entry) -> None:
        self.tracked = one
        self.ready.track(one)

    inherit = track

    def drop(self, partitions: frozenset[int]) -> None:
        self.ready.drop(partitions)

    # Filling it without folds

    def fill(self, ended: int = 0, queued: int = 0, key: bytes = b"hot", first: Entry | None = None) -> None:
        """Write many rows as if folds had: ended commands of many keys, or a queue of one key.

        Args:
            ended: How many have ended, at this moment.
            queued: How many stand in the key's queue.
            key: The queue's.
            first: How its first entry stands, where it differs from the others.
        """
        some = entry(key=b"old 000", status=Status.SUCCEEDED, attempt=1, at=self.clock.now(), original=None)
        settled, holder = template(some)
        for start in range(self.offset, self.offset + ended, BATCH):
            batch: list[tuple[bytes, bytes | None]] = []
            for offset in range(start, min(start + BATCH, self.offset + ended)):
                name = b"old %03d" % (offset % 1000)
                batch.append((rows.row_key(Settled(name, offset)), settled(offset, name)))
                batch.append((rows.row_key(Identity(f"c{offset}")), holder(offset, name)))
            self.ledger.write(batch)
        self.offset += ended
        waiting, holder = template(entry(key=key))
        batch = []
        for offset in range(self.offset, self.offset + queued):
            batch.append((rows.row_key(Queued(key, offset)), waiting(offset, key)))
            batch.append((rows.row_key(Identity(f"c{offset}")), holder(offset, key)))
        if first is not None:
            first = replace(first, source=entry(self.offset).source, id=f"c{self.offset}", key=key)
            batch.append((rows.row_key(place(first)), rows.row_value(first)))
        self.ledger.write(batch)
        self.offset += queued
        list(self.partitions.rebuild({0}))

    # The way of a command

    def accept(self, key: bytes | None, **fields: Any) -> CommandReceived:
        event = received(self.offset, key=key, at=self.clock.now(), **fields)
        self.offset += 1
        self._fold(COMMANDS, event)
        return event

    def start(self) -> Entry:
        """The sink takes the next dispatch, and its run is made."""
        note = self.ready.take()
        assert note is not None
        one = self.partitions.entry(0, note.key, note.source.offset)
        assert one is not None
        self._fold(RESULTS, observed(triggered(one), at=self.clock.now()))
        self.ready.done(note, None)
        return self.tracked

    def end(self, one: Entry, result: RunState = RunState.SUCCESS) -> None:
        self._fold(RESULTS, observed(run_ended(one, result), at=self.clock.now()))

    def prune(self) -> None:
        """One turn of the pruner, with everything committed."""
        places = Offsets(self.offset, self.offset)
        self.pruner.turn({COMMANDS: places, RESULTS: places}, TOPIC)
        self.answer()

    def cost(self, act: Callable[[], Any]) -> dict[str, int]:
        """What an action does with the table."""
        before = self.ledger.counts.copy()
        act()
        return {name: count for name, count in (self.ledger.counts - before).items() if count}

    def _fold(self, source: tuple[str, int], event: Any) -> None:
        partition = self.partitions.get(0)
        assert partition is not None
        self.folds.fold(source, partition, event, lambda: None)
        self.answer()

    def answer(self) -> None:
        """Kafka acknowledges everything; nothing is kept."""
        while self.folds.open:
            for log in (self.ledger.changelog, self.outlet.log):
                log.take_all()
                log.records.clear()
            self.turns.turn()
        assert not self.failures


def template(one: Entry) -> tuple[Callable[[int, bytes], bytes], Callable[[int, bytes], bytes]]:
    """Fast ways to make the row of an entry like this one, and its id row, at another offset and for another key."""
    offset, key = 123456789, b"the key"
    samples = [replace(one, source=replace(one.source, offset=offset), id=f"c{offset}", key=key), Holder(key, offset)]
    values = [rows.row_value(sample) for sample in samples]

    def maker(value: bytes) -> Callable[[int, bytes], bytes]:
        return lambda at, name: value.replace(b"%d" % offset, b"%d" % at).replace(b64encode(key), b64encode(name))

    return maker(values[0]), maker(values[1])
