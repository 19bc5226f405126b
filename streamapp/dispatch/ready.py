"""The index of what may run now. Reads how entries stand (`track`); hands out dispatches; writes nothing.

It is memory only and is rebuilt from the table whenever partitions are assigned: losing it loses no work. It holds a
small note for each first entry of a key, never the commands behind it. Notes that may run stand in one queue for each
DAG, served in turn, so that a DAG at its cap never stands in another's way; those that must wait for a time stand in a
heap.
"""

import heapq
from collections import Counter, OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum, auto
from itertools import count

from streamapp.clock import Clock
from streamapp.core.model import Entry, Source, Status


class Phase(Enum):
    """What the index knows of an entry."""

    QUEUED = auto()
    """May run as soon as there is a permit and room for its DAG."""
    LATER = auto()
    """Waits for a time."""
    BUSY = auto()
    """Handed to the sink."""
    REPORTED = auto()
    """The sink has reported what it saw; the fold of that report comes next."""
    RUNNING = auto()
    """Its run exists; the follower watches it."""


@dataclass(slots=True, eq=False)
class Note:
    """One entry in the index."""

    source: Source
    key: bytes | None
    dag_id: str
    cap: int
    """Runs of the DAG that may be outstanding."""
    phase: Phase
    run_attempt: int
    ending: bool
    """Whether it has a verdict that waits for a POST to be settled; settling needs no room for its DAG."""

    @property
    def place(self) -> tuple[int, int]:
        """Partition and offset: the note's name."""
        return self.source.partition, self.source.offset


class Ready:
    """What may run now, what may run later, and what is running."""

    def __init__(self, clock: Clock, wake: Callable[[], None]) -> None:
        """Build an empty index.

        Args:
            clock: For `not_before`, retries and deadlines.
            wake: Called when there may be something new to take.
        """
        self._clock = clock
        self._wake = wake
        self._notes: dict[tuple[int, int], Note] = {}
        self._queues: OrderedDict[str, deque[Note]] = OrderedDict()
        self._outstanding: Counter[str] = Counter()
        self._phases: Counter[Phase] = Counter()
        self._later: list[tuple[datetime, int, Note]] = []
        self._deadlines: list[tuple[datetime, int, Note]] = []
        self._order = count()
        self._share = (1, 1)
        self.draining = False
        """While partitions are being given up, nothing new starts."""

    # What is told

    def track(self, entry: Entry) -> None:
        """Note how an entry now stands."""
        place = entry.source.partition, entry.source.offset
        old = self._notes.get(place)
        pending = entry.dispatchable or entry.ending is not None
        if old is not None and old.phase is Phase.BUSY and pending and old.run_attempt == entry.run_attempt:
            old.ending = entry.ending is not None  # the sink has it; `done` sees to the rest
            return
        if old is not None:
            self._drop(old)
        if not entry.status.terminal and entry.status is not Status.BLOCKED:
            self._add(entry)
        self._wake()

    def done(self, note: Note, retry_after: timedelta | None) -> None:
        """Take a dispatch back from the sink: reported (None), or to be tried again after a while."""
        if self._notes.get(note.place) is not note:
            return  # its partition went, or another worker's report was folded meanwhile
        if retry_after is None:
            self._move(note, Phase.REPORTED)
        elif note.ending:
            self._enqueue(note)
        else:
            self._postpone(note, self._clock.now() + retry_after)
        self._wake()

    def drop(self, partitions: frozenset[int]) -> None:
        """Forget all entries of partitions that were taken away."""
        for note in [note for note in self._notes.values() if note.source.partition in partitions]:
            self._drop(note)

    def share(self, owned: int, total: int) -> None:
        """Tell which part of all partitions this worker owns: its part of each DAG's cap."""
        self._share = (owned, max(total, 1))
        self._wake()

    # What is asked

    def __len__(self) -> int:
        """Entries that may run now, or are being started: what bounds the intake of commands."""
        return self._phases[Phase.QUEUED] + self._phases[Phase.BUSY] + self._phases[Phase.REPORTED]

    @property
    def figures(self) -> dict[str, int]:
        """How many entries are in which phase."""
        return {phase.name.lower(): self._phases[phase] for phase in Phase}

    def take(self) -> Note | None:
        """The next dispatch, from the DAGs in turn."""
        dag = self._open_dag()
        if dag is None:
            return None
        note = self._queues[dag].popleft()
        self._queues.move_to_end(dag)
        if not self._queues[dag]:
            del self._queues[dag]
        self._move(note, Phase.BUSY)
        return note

    @property
    def takeable(self) -> bool:
        """Whether `take` would give something."""
        return self._open_dag() is not None

    def advance(self) -> list[Note]:
        """Let the time pass: what was to run later may run; answers entries whose deadline has passed, once each."""
        now = self._clock.now()
        while self._later and self._later[0][0] <= now:
            note = heapq.heappop(self._later)[2]
            if self._notes.get(note.place) is note and note.phase is Phase.LATER:
                self._enqueue(note)
                self._wake()
        expired: list[Note] = []
        while self._deadlines and self._deadlines[0][0] <= now:
            note = heapq.heappop(self._deadlines)[2]
            if self._notes.get(note.place) is note and note.phase is not Phase.RUNNING and not note.ending:
                expired.append(note)
        return expired

    def next_time(self) -> datetime | None:
        """When `advance` will have something to do."""
        times = [heap[0][0] for heap in (self._later, self._deadlines) if heap]
        return min(times, default=None)

    # Inside

    def _add(self, entry: Entry) -> None:
        assert entry.policy is not None
        note = Note(
            source=entry.source,
            key=entry.key,
            dag_id=entry.policy.dag_id,
            cap=entry.policy.max_in_flight,
            phase=Phase.RUNNING,
            run_attempt=entry.run_attempt,
            ending=entry.ending is not None,
        )
        self._notes[note.place] = note
        self._count(note, 1)
        if note.ending:
            self._enqueue(note)
        elif entry.dispatchable:
            if entry.not_before is not None and entry.not_before > self._clock.now():
                self._postpone(note, entry.not_before)
            else:
                self._enqueue(note)
            if entry.deadline is not None:
                heapq.heappush(self._deadlines, (entry.deadline, next(self._order), note))

    def _drop(self, note: Note) -> None:
        self._count(note, -1)
        del self._notes[note.place]
        if note.phase is Phase.QUEUED:
            queue = self._queues[note.dag_id]
            queue.remove(note)
            if not queue:
                del self._queues[note.dag_id]

    def _enqueue(self, note: Note) -> None:
        self._move(note, Phase.QUEUED)
        self._queues.setdefault(note.dag_id, deque()).append(note)

    def _postpone(self, note: Note, until: datetime) -> None:
        self._move(note, Phase.LATER)
        heapq.heappush(self._later, (until, next(self._order), note))

    def _move(self, note: Note, phase: Phase) -> None:
        self._count(note, -1)
        note.phase = phase
        self._count(note, 1)

    def _count(self, note: Note, by: int) -> None:
        self._phases[note.phase] += by
        if note.phase in {Phase.BUSY, Phase.REPORTED, Phase.RUNNING}:
            self._outstanding[note.dag_id] += by
            if not self._outstanding[note.dag_id]:
                del self._outstanding[note.dag_id]

    def _open_dag(self) -> str | None:
        if self.draining:
            return None
        for dag, queue in self._queues.items():
            note = queue[0]
            if note.ending or self._outstanding[dag] < self._cap(note):
                return dag
        return None

    def _cap(self, note: Note) -> int:
        owned, total = self._share
        return max(1, note.cap * owned // total)
