"""The table and the way out in memory: logs whose acknowledgements a test gives one by one; crashes that lose tails.

A record is sent (in flight), then taken by its log, then acknowledged. A crash may come in between: of what is in
flight, any number from the front may have been taken, and nobody was told.
"""

from bisect import bisect_left
from collections import defaultdict, deque
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from streamapp.core.decide import decide
from streamapp.core.effects import Bury, Change, Decision, Emit, Put, Row, RowKey, Track, place
from streamapp.core.errors import TooLarge, Unsafe
from streamapp.core.events import Event
from streamapp.core.model import DeadLetter, Entry, Outcome
from streamapp.dispatch.partition import Partition
from streamapp.wire import rows


class Receipt:
    """The promise of an acknowledgement."""

    def __init__(self) -> None:
        self._callbacks: list[Callable[[Any], None]] = []
        self._done = False
        self._offset: int | None = None
        self._error: BaseException | None = None
        self._cancelled = False

    def add_done_callback(self, callback: Callable[[Any], None], /) -> None:
        if self._done:
            callback(self)
        else:
            self._callbacks.append(callback)

    def done(self) -> bool:
        return self._done

    def cancelled(self) -> bool:
        return self._cancelled

    def exception(self) -> BaseException | None:
        assert not self._cancelled
        return self._error

    def result(self) -> int:
        assert self._done
        if self._error is not None:
            raise self._error
        assert self._offset is not None
        return self._offset

    def acknowledge(self, offset: int) -> None:
        self._offset = offset
        self._settle()

    def fail(self, error: BaseException) -> None:
        self._error = error
        self._settle()

    def cancel(self) -> None:
        self._cancelled = True
        self._settle()

    def _settle(self) -> None:
        assert not self._done
        self._done = True
        for callback in self._callbacks:
            callback(self)


@dataclass
class Log:
    """One partition of one topic."""

    records: list[Any] = field(default_factory=list)
    """What it has taken, by offset."""
    in_flight: deque[tuple[Any, Receipt]] = field(default_factory=deque)

    def send(self, record: Any) -> Receipt:
        receipt = Receipt()
        self.in_flight.append((record, receipt))
        return receipt

    def take(self, count: int = 1) -> None:
        """Take and acknowledge the next records, in the order of sending."""
        for _ in range(count):
            record, receipt = self.in_flight.popleft()
            self.records.append(record)
            receipt.acknowledge(len(self.records) - 1)

    def take_all(self) -> None:
        self.take(len(self.in_flight))

    def refuse(self, error: BaseException) -> None:
        """The next record fails."""
        _, receipt = self.in_flight.popleft()
        receipt.fail(error)

    def crash(self, kept: int = 0) -> None:
        """Nobody waits for acknowledgements any more; the log has taken the first few of what was in flight."""
        self.records.extend(record for record, _ in list(self.in_flight)[:kept])
        self.in_flight.clear()


class MemoryLedger:
    """A table: per partition a changelog and a database that follows it. Implements `dispatch.ports.Ledger`."""

    def __init__(self, max_row_bytes: int = 2**30) -> None:
        self.max_row_bytes = max_row_bytes
        self.changelogs: defaultdict[int, Log] = defaultdict(Log)
        self.databases: defaultdict[int, dict[bytes, bytes]] = defaultdict(dict)
        self.saved: defaultdict[int, int] = defaultdict(lambda: -1)
        """The changelog offset that each database has reached."""
        self.closed: set[int] = set()
        """Partitions whose database was taken away: it can't be read."""
        self.reads = 0
        self.scans = 0
        self.writes = 0

    def check_size(self, key: bytes, value: bytes | None) -> None:
        if len(key) + len(value or b"") > self.max_row_bytes:
            raise TooLarge(f"the row has {len(key) + len(value or b'')} bytes")

    def append(self, partition: int, key: bytes, value: bytes | None) -> Receipt:
        return self.changelogs[partition].send((key, value))

    def enter(self, partition: int, rows: Sequence[tuple[bytes, bytes | None]], last: Receipt) -> None:
        self.writes += 1
        for key, value in rows:
            _write(self.databases[partition], key, value)
        self.saved[partition] = last.result()
        self.check(partition)

    def get(self, partition: int, key: bytes) -> bytes | None:
        self.reads += 1
        return self._database(partition).get(key)

    def scan(self, partition: int, start: bytes) -> Generator[tuple[bytes, bytes], None, None]:
        self.scans += 1
        database = self._database(partition)
        keys = sorted(database)
        for key in keys[bisect_left(keys, start) :]:
            self.reads += 1
            yield key, database[key]

    def _database(self, partition: int) -> dict[bytes, bytes]:
        if partition in self.closed:
            raise Unsafe(f"the database of partition {partition} is not open on this worker")
        return self.databases[partition]

    # What tests do

    def check(self, partition: int) -> None:
        """The database is what its changelog says, exactly at the saved offset: neither ahead nor behind."""
        assert self.databases[partition] == self.rebuilt(partition, self.saved[partition] + 1)

    def rebuilt(self, partition: int, end: int | None = None) -> dict[bytes, bytes]:
        """A database made from the changelog alone."""
        database: dict[bytes, bytes] = {}
        for key, value in self.changelogs[partition].records[:end]:
            _write(database, key, value)
        return database

    def recover(self, partition: int, *, new_directory: bool = False) -> None:
        """What Faust does before a partition is used: read the changelog from the saved offset on."""
        if new_directory:
            self.databases[partition] = {}
            self.saved[partition] = -1
        for key, value in self.changelogs[partition].records[self.saved[partition] + 1 :]:
            _write(self.databases[partition], key, value)
        self.saved[partition] = len(self.changelogs[partition].records) - 1
        self.check(partition)


class MemoryOutlet:
    """The results and dead-letter topics. Implements `dispatch.ports.Outlet`."""

    def __init__(self, max_letter_bytes: int = 2**30) -> None:
        self.max_letter_bytes = max_letter_bytes
        self.results: defaultdict[int, Log] = defaultdict(Log)
        self.dead_letters: defaultdict[int, Log] = defaultdict(Log)

    def prepare(self, effect: Emit | Bury) -> Callable[[], Receipt]:
        if isinstance(effect, Emit):
            outcome = effect.outcome
            return lambda: self.report(outcome)
        letter = effect.letter
        if len(letter.original.value or b"") + len(letter.key or b"") > self.max_letter_bytes:
            raise TooLarge("the dead letter is too large")
        return lambda: self.dead_letters[letter.source.partition].send(letter)

    def report(self, outcome: Outcome) -> Receipt:
        return self.results[outcome.source.partition].send(outcome)

    # What tests do

    @property
    def logs(self) -> Iterator[Log]:
        yield from self.results.values()
        yield from self.dead_letters.values()

    def take_all(self) -> None:
        for log in list(self.logs):
            log.take_all()

    def taken(self, partition: int = 0) -> list[Outcome]:
        """The outcomes on the results topic."""
        return list(self.results[partition].records)

    def buried(self, partition: int = 0) -> list[DeadLetter]:
        return list(self.dead_letters[partition].records)


class Turns:
    """The turns of an event loop, taken by hand."""

    def __init__(self) -> None:
        self._steps: deque[Callable[[], None]] = deque()

    def __call__(self, step: Callable[[], None]) -> None:
        self._steps.append(step)

    def __len__(self) -> int:
        return len(self._steps)

    def turn(self) -> None:
        """Run what was waiting; what that makes waits for the next turn."""
        for _ in range(len(self._steps)):
            self._steps.popleft()()

    def crash(self) -> None:
        self._steps.clear()


class Table:
    """One partition whose folds are safe at once: for tests of decisions."""

    def __init__(self, ledger: MemoryLedger | None = None) -> None:
        self.ledger = ledger or MemoryLedger()
        self.partition = Partition(0, self.ledger, rows)
        self.recovered = list(self.partition.recover())
        """What is tracked at the start."""

    def fold(self, event: Event, *, keep: int | None = None) -> Decision:
        """Decide and write; with `keep`, only so many of the rows reach the changelog, as in a crash."""
        decision = decide(self.partition, event)
        for change in decision.changes[:keep]:
            self._write(change)
        return decision

    def _write(self, change: Change) -> None:
        row = self.partition.encode(change)
        self.partition.lay(change, row)
        receipt = self.ledger.append(0, row.key, row.value)
        self.ledger.changelogs[0].take()
        self.ledger.enter(0, [(row.key, row.value)], receipt)
        self.partition.entered(row)

    def remove(self, key: RowKey) -> None:
        """Take a row away, as retention does, or as if a crash had kept it from being written."""
        raw = rows.row_key(key)
        receipt = self.ledger.append(0, raw, None)
        self.ledger.changelogs[0].take()
        self.ledger.enter(0, [(raw, None)], receipt)

    def put(self, entry: Entry) -> None:
        """Write a row as another release has left it."""
        self._write(Put(place(entry), entry))

    def folds(self, *events: Event) -> Decision:
        """Fold several; answers the last decision."""
        decision = Decision()
        for event in events:
            decision = self.fold(event)
        return decision

    def again(self) -> "Table":
        """The same table at its next owner."""
        return Table(self.ledger)

    def entry(self, offset: int = 0, key: bytes | None = b"k") -> Entry:
        found = self.partition.entry(key, offset)
        assert found is not None
        return found

    def rows(self) -> dict[RowKey, Row]:
        return {rows.parse_key(key): rows.parse_row(value) for key, value in self.ledger.databases[0].items()}


def outcomes(decision: Decision) -> list[Outcome]:
    return [effect.outcome for effect in decision.effects if isinstance(effect, Emit)]


def letters(decision: Decision) -> list[DeadLetter]:
    return [effect.letter for effect in decision.effects if isinstance(effect, Bury)]


def tracked(decision: Decision) -> list[Entry]:
    return [effect.entry for effect in decision.effects if isinstance(effect, Track)]


def _write(database: dict[bytes, bytes], key: bytes, value: bytes | None) -> None:
    if value is None:
        database.pop(key, None)
    else:
        database[key] = value
