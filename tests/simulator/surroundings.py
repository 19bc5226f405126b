"""What surrounds a worker's parts: reads and writes the modelled logs; nothing may leave, or enter, too early."""

from collections import defaultdict
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import lru_cache
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

from faust.types import TP
from sortedcontainers import SortedDict

from streamapp.application import Tracker
from streamapp.core.effects import Bury, Decision, Emit
from streamapp.core.events import Event
from streamapp.core.model import Entry, Outcome, Status
from streamapp.core.run_id import run_id
from streamapp.dispatch.fold import Folds
from streamapp.wire import rows
from tests.simulator.broker import CHANGELOG, COMMANDS, DEAD_LETTERS, RESULTS, SOURCES
from tests.simulator.scheduler import Future
from tests.support.manual_clock import START
from tests.support.memory import Receipt

if TYPE_CHECKING:
    from tests.simulator.worker import Worker
    from tests.simulator.world import World

APP = "app"
CODEC = cast("Any", SimpleNamespace(**vars(rows) | {"parse_row": lru_cache(maxsize=10_000)(rows.parse_row)}))
"""The product's, which parses the same bytes once: what it answers can't be changed. Implements `RowCodec`."""
SHORTEST_SLEEP_MS = 40
"""Polls of the product that are shorter are stretched to this: they would be most of all events."""


class WorkerClock:
    """The virtual time on one machine. Implements `streamapp.clock.Clock`."""

    def __init__(self, world: "World", worker: "Worker", skew: timedelta) -> None:
        self._world = world
        self._worker = worker
        self._start = START + skew

    def now(self) -> datetime:
        return self._start + timedelta(milliseconds=self._world.now)

    def set_by(self, step: timedelta) -> None:
        """Somebody, or something, sets it; what is monotonic goes on."""
        self._start += step

    def monotonic(self) -> float:
        return self._world.now / 1000

    async def sleep(self, delay: timedelta) -> None:
        future = Future()
        delay_ms = max(delay // timedelta(milliseconds=1), SHORTEST_SLEEP_MS)
        self._world.after(delay_ms, self._worker, future.set_result)
        self._world.idle(2)
        await future


@dataclass
class Database:
    """One partition's rows in a directory, and the changelog offset that they stand for."""

    rows: SortedDict = field(default_factory=SortedDict)
    offset: int = -1

    def write(self, key: bytes, value: bytes | None) -> None:
        if value is None:
            self.rows.pop(key, None)
        else:
            self.rows[key] = value


Directory = defaultdict[int, Database]


class Ledger:
    """The table of one worker. Implements `dispatch.ports.Ledger`."""

    def __init__(self, worker: "Worker", world: "World", directory: Directory) -> None:
        self._worker = worker
        self._world = world
        self.directory = directory
        self.appended: list[Receipt] = []
        """Since a test last looked."""

    def check_size(self, key: bytes, value: bytes | None) -> None:
        """Everything fits."""

    def append(self, partition: int, key: bytes, value: bytes | None) -> Receipt:
        receipt = self._worker.producer.send(TP(CHANGELOG, partition), (key, value))
        self.appended.append(receipt)
        return receipt

    def enter(self, partition: int, rows: Sequence[tuple[bytes, bytes | None]], last: Receipt) -> None:
        database = self.directory[partition]
        end = last.result()
        if self._world.broker.logs[TP(CHANGELOG, partition)][database.offset + 1 : end + 1] != list(rows):
            self._world.violation(f"{self._worker.name}: the rows of {partition} are not those of the changelog")
        for key, value in rows:
            database.write(key, value)
        database.offset = end

    def get(self, partition: int, key: bytes) -> bytes | None:
        value: bytes | None = self.directory[partition].rows.get(key)
        return value

    def scan(self, partition: int, start: bytes) -> Generator[tuple[bytes, bytes], None, None]:
        found = self.directory[partition].rows
        for key in found.irange(minimum=start):
            yield key, found[key]

    def recover(self, partition: int) -> None:
        """What Faust does before a partition is used: read the changelog from the saved offset on."""
        database, log = self.directory[partition], self._world.broker.logs[TP(CHANGELOG, partition)]
        for key, value in log[database.offset + 1 :]:
            database.write(key, value)
        database.offset = len(log) - 1


class Outlet:
    """The way out; nothing may leave before its rows are safe. Implements `dispatch.ports.Outlet`."""

    def __init__(self, worker: "Worker", world: "World") -> None:
        self._worker = worker
        self._world = world
        self.safe_after: dict[int, tuple[Emit | Bury, Receipt | None]] = {}

    def prepare(self, effect: Emit | Bury) -> Callable[[], Receipt]:
        def send() -> Receipt:
            _, last = self.safe_after.pop(id(effect), (effect, Receipt()))
            if last is not None and not last.done():
                self._world.violation(f"{effect} left before its rows were safe")
            if isinstance(effect, Emit):
                return self.report(effect.outcome)
            return self._worker.producer.send(TP(DEAD_LETTERS, effect.letter.source.partition), effect.letter)

        return send

    def report(self, outcome: Outcome) -> Receipt:
        if outcome.source.partition not in self._worker.assignment:  # its next owner may see, and say, something else
            self._world.violation(f"{self._worker.name} tells of {outcome.source}, which is not its own any more")
        return self._worker.producer.send(TP(RESULTS, outcome.source.partition), outcome)


class NotedFolds(Folds):
    """The product's, which also tell the outlet after which row each effect may leave."""

    noted: Outlet

    def fold(self, source: Any, partition: Any, event: Event, ack: Callable[[], None]) -> Decision:
        ledger = cast("Ledger", self._ledger)
        ledger.appended.clear()
        decision = super().fold(source, partition, event, ack)
        last = ledger.appended[-1] if ledger.appended else None
        for effect in decision.effects:
            if isinstance(effect, Emit | Bury):
                self.noted.safe_after[id(effect)] = effect, last
        return decision


class NotedTracker(Tracker):
    """The product's, which also notes which runs the table knows."""

    known: set[str]

    def track(self, entry: Entry) -> None:
        if entry.status is Status.TRIGGERED:
            self.known.add(entry.run_id or run_id(APP, entry.id, entry.round, entry.run_attempt))
        super().track(entry)


class App:
    """What the agents ask of the Faust app."""

    commands_topic = COMMANDS

    def __init__(self, worker: "Worker", partitions: int) -> None:
        self._worker = worker
        self._partitions = partitions
        self.lease = worker.lease
        self.gaps = worker.gaps

    def partition_counts(self) -> dict[str, int]:
        return dict.fromkeys((*SOURCES, CHANGELOG), self._partitions)

    def assigned_commands(self) -> set[TP]:
        return {TP(COMMANDS, number) for number in self._worker.assignment}

    def assigned_sources(self) -> dict[str, set[int]]:
        return {name: set(self._worker.assignment) for name in SOURCES}
