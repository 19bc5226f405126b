"""Looks commands up in this worker's partitions. Reads the table, a bounded part for each question; writes nothing.

The table is in the order of keys, not of time. So what changed last is known from the outcomes that left; the rest is
read in the table's order, until the bound is reached. Reading gives way to the folds after every few rows, and one
question is answered at a time, so that many readers slow each other down and not the commands.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Iterator
from contextlib import aclosing
from dataclasses import dataclass
from sys import maxsize

from streamapp.console.fields import Fields, command_fields, hold_fields, more_fields
from streamapp.console.reading import Reading, read
from streamapp.console.waits import Waits, count_before
from streamapp.console.worker import Worker
from streamapp.core.effects import OfKey, Queued, Settled
from streamapp.core.model import TERMINAL, Entry, Status
from streamapp.dispatch.partition import Partition
from streamapp.wire import rows
from streamapp.wire.times import to_text

HISTORY = 50
"""Commands of one key that have ended, in an answer about the key."""
QUEUE = 200
"""Commands of one key that have not ended, in an answer about the key."""
PASSED_OVER = frozenset({Status.DUPLICATE, Status.REJECTED})
"""How a command ends whose id another partition had before, so that Airflow had its run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which commands are asked for."""

    statuses: frozenset[Status] = frozenset()
    """Empty: all."""
    dag_id: str | None = None

    def takes(self, status: str, dag_id: str | None) -> bool:
        """Whether a command with this status, of this DAG, is one of them."""
        return (not self.statuses or status in self.statuses) and self.dag_id in {None, dag_id}

    def __call__(self, entry: Entry) -> bool:
        """Whether this is one of them."""
        return self.takes(entry.status, entry.policy.dag_id if entry.policy else None)

    @property
    def kinds(self) -> list[bytes]:
        """The parts of the table in which they can stand."""
        terminal = {status.terminal for status in self.statuses or Status}
        return [*([rows.QUEUES, rows.FREE] if False in terminal else []), *([rows.SETTLED] if True in terminal else [])]


@dataclass(slots=True)
class Found:
    """Commands, and whether there may be more."""

    commands: list[Fields]
    truncated: bool
    complete: bool
    """Whether all of this worker's partitions were looked at."""


@dataclass(slots=True)
class KeyFound:
    """What is known of one key."""

    queue: Found
    history: Found
    holds: list[Fields]
    """Where it is on hold."""


class Queries:
    """Questions to this worker's part of the table."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._turn = asyncio.Lock()

    @property
    def complete(self) -> bool:
        """Whether all of this worker's partitions can be read now."""
        return self._worker.partitions.accepting

    async def command(self, command_id: str) -> Fields | None:
        """The command that holds an id; of several partitions, the one that `standing` puts last."""
        reading = Reading(self._worker)
        found: list[tuple[Partition, Entry]] = []
        for partition in reading.partitions:
            holder = partition.holder(command_id)
            entry = partition.safe_entry(holder.key, holder.offset) if holder else None
            if entry is not None:
                found.append((partition, entry))
        if not found:
            return None
        partition, entry = max(found, key=lambda item: standing(item[1].status, to_text(item[1].recorded_at)))
        before = None
        if not entry.status.terminal:
            async with self._turn:
                before = await count_before(reading, partition, entry)
            if not reading.here:
                return await self.command(command_id)
            entry = partition.safe_entry(entry.key, entry.source.offset) or entry  # it may have come to its turn
        waiting = Waits(self._worker).sentence(partition, entry, before)
        return command_fields(entry, waiting) | more_fields(entry)

    async def commands(self, wanted: Wanted, limit: int) -> Found:
        """Commands, those first that changed last."""
        async with self._turn:
            reading = Reading(self._worker)
            chosen: dict[tuple[int, int], tuple[Partition, Entry]] = {}
            more = False
            async with aclosing(_candidates(reading, wanted)) as candidates:
                async for partition, entry in candidates:
                    place = partition.number, entry.source.offset
                    if place in chosen or not wanted(entry):
                        continue
                    if len(chosen) == limit:
                        more = True
                        break
                    chosen[place] = partition, entry
            found = self._found(reading, chosen.values(), truncated=more or reading.passed_by)
        found.commands.sort(key=newest, reverse=True)
        return found

    async def key(self, key: bytes) -> KeyFound:
        """A key's commands: those that have not ended in their order, then the last ones that have."""
        async with self._turn:
            reading = Reading(self._worker)
            queue: list[tuple[Partition, Entry]] = []
            history: list[tuple[Partition, Entry]] = []
            for partition in reading.partitions:
                queue += [(partition, entry) async for entry in _active(reading, partition, key)]
                history += [(partition, entry) for entry in await _last_ended(reading, partition, key)]
            queue.sort(key=lambda item: (item[1].source.partition, item[1].source.offset))
            history.sort(key=lambda item: (item[1].at, item[1].source.offset), reverse=True)
            return KeyFound(
                self._found(reading, queue[:QUEUE], truncated=reading.passed_by or len(queue) > QUEUE),
                self._found(reading, history[:HISTORY], truncated=len(history) > HISTORY),
                list(_holds(reading, key)),
            )

    def _found(self, reading: Reading, entries: Iterable[tuple[Partition, Entry]], *, truncated: bool) -> Found:
        if not reading.here:  # what they wait for can't be looked up any more
            return Found([], truncated, complete=False)
        waits = Waits(self._worker)
        fields = [command_fields(entry, waits.sentence(partition, entry)) for partition, entry in entries]
        return Found(fields, truncated, complete=reading.complete)


def standing(status: str, recorded_at: str) -> tuple[bool, bool, str]:
    """How commands of one id are sorted: who asks means one that has not ended, else one that ran, else the newest."""
    return status not in TERMINAL, status not in PASSED_OVER, recorded_at


def newest(fields: Fields) -> tuple[str, int]:
    """What commands are sorted by where the last change counts."""
    return fields["at"], fields["source"]["offset"]


async def _candidates(reading: Reading, wanted: Wanted) -> AsyncGenerator[tuple[Partition, Entry], None]:
    async for partition, entry in reading.latest():
        yield partition, entry
    for kind in wanted.kinds:
        async for partition, entry in reading.scan(kind):
            if wanted(entry):
                now = partition.safe_entry(entry.key, entry.source.offset)  # a crash may have left an old row behind
                if now is not None:
                    yield partition, now


async def _active(reading: Reading, partition: Partition, key: bytes) -> AsyncIterator[Entry]:
    """A key's commands that have not ended, the front of its queue at least."""
    seek, count, more = rows.row_key(Queued(key, 0)), 0, True
    while more and count <= QUEUE and await reading.give_way():
        slice_, more = read(partition, seek, lambda name: isinstance(name, Queued) and name.key == key)
        for name, entry in slice_:
            if reading.spent(entry):
                return
            seek = rows.row_key(name) + b"\0"
            now = partition.safe_entry(key, entry.source.offset)
            if now is not None and not now.status.terminal:
                count += 1
                yield now
    async for entry in reading.scan_partition(partition, rows.FREE):
        if entry.key == key and not entry.status.terminal:
            yield entry


def _holds(reading: Reading, key: bytes) -> Iterator[Fields]:
    for partition in reading.partitions if reading.here else ():
        standing = partition.standing(OfKey(key))
        if standing is not None and standing.stopped:
            yield hold_fields(partition.number, standing)


async def _last_ended(reading: Reading, partition: Partition, key: bytes) -> list[Entry]:
    """The last of a key's commands that have ended, one more than are shown.

    Their rows stand in the order of offsets, so where the last ones start is found by halving.
    """
    low, high = 0, maxsize
    while low < high and await reading.give_way():
        middle = (low + high) // 2
        if len(_ended(partition, key, middle, HISTORY + 2)) > HISTORY + 1:
            low = middle + 1
        else:
            high = middle
    return _ended(partition, key, low, HISTORY + 1) if await reading.give_way() else []


def _ended(partition: Partition, key: bytes, offset: int, limit: int) -> list[Entry]:
    found: list[Entry] = []
    seek, more = rows.row_key(Settled(key, offset)), True
    while more and len(found) < limit:
        left = limit - len(found)
        slice_, more = read(partition, seek, lambda name: isinstance(name, Settled) and name.key == key, left)
        found += [entry for _, entry in slice_]
        seek = rows.row_key(slice_[-1][0]) + b"\0" if slice_ else seek
    return found
