"""The index of what may run now. Reads how entries stand (`track`); hands out dispatches; writes nothing.

It is memory only and is rebuilt from the table whenever partitions are assigned: losing it loses no work. It holds a
small note for each first entry of a key, never the commands behind it. Notes that may run stand in one queue for each
DAG, served in turn, so that a DAG at its cap never stands in another's way; those that must wait for a time are sorted
by it.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import IntEnum, auto
from itertools import islice, takewhile

from sortedcontainers import SortedDict

from streamapp.clock import Clock
from streamapp.core.effects import Scope
from streamapp.core.model import Entry, Source, Status
from streamapp.dispatch.dag_queue import DagQueue, Place
from streamapp.dispatch.dags import UNKNOWN_CAP
from streamapp.dispatch.stops import Stops
from streamapp.dispatch.turns import Turns

OVERDUE_AGAIN_AFTER = timedelta(seconds=10)
"""A passed deadline that led to nothing is told again: the clock of the worker that folds it may be behind."""

AT_ONCE = 100
"""Notes that are woken, told or set aside in one go: a hundred thousand may be due at the same moment, and heartbeats
have to go on."""


class Phase(IntEnum):
    """What the index knows of an entry. Numbers: phases are counted at every event, and theirs is a fast hash."""

    QUEUED = auto()
    """May run as soon as there is a permit and room for its DAG."""
    LATER = auto()
    """Waits for a time; or its deadline has passed, and it waits for its verdict."""
    STOPPED = auto()
    """An operator has stopped its key or its DAG."""
    BACKING_OFF = auto()
    """Was tried in vain, and waits for the next try."""
    BUSY = auto()
    """Handed to the sink."""
    REPORTED = auto()
    """The sink has reported what it saw; the fold of that report comes next."""
    RUNNING = auto()
    """Its run exists; the follower watches it."""


STARTING = frozenset({Phase.QUEUED, Phase.BUSY, Phase.REPORTED, Phase.BACKING_OFF})
"""What counts against the bound: all that is neither running nor put off by its producer or its policy."""

OUTSTANDING = frozenset({Phase.BUSY, Phase.REPORTED, Phase.RUNNING})
"""What counts against the cap of a DAG."""


@dataclass(frozen=True, slots=True)
class DagFigures:
    """How a DAG stands on this worker."""

    queued: int
    """Commands that could start if there were room."""
    outstanding: int
    """Runs that are asked for or have not ended."""
    cap: int
    """How many of them there may be: this worker's share."""


@dataclass(slots=True, eq=False)
class Note:
    """One entry in the index."""

    source: Source
    key: bytes | None
    dag_id: str
    cap: int | None
    """Runs of the DAG that may be outstanding; None: as many as the DAG itself says."""
    phase: Phase
    run_attempt: int
    came_at: datetime
    """When its command was sent, says its record, as partitions are taken in one after the other; at the latest when it
    was taken in, as producers may write any time."""
    ending: bool
    """Whether it has a verdict that waits for a POST to be settled; settling needs no room for its DAG."""
    deadline: datetime | None = None
    """After this it is not handed out any more; None also once it is ending."""
    settling: bool = False
    """Whether it was ending when it was handed out."""
    stopped: bool = False
    """Whether an operator has had it stopped since it was last handed out."""
    wakes_at: datetime | None = None
    told_at: datetime | None = None
    """When its deadline is told, or told again."""

    @property
    def place(self) -> Place:
        """The note's name."""
        return self.source.partition, self.source.offset


class Ready:
    """What may run now, what may run later, and what is running."""

    def __init__(
        self, clock: Clock, wake: Callable[[], None], cap_of: Callable[[str], int] = lambda _: UNKNOWN_CAP
    ) -> None:
        """Build an empty index.

        Args:
            clock: For `not_before`, retries and deadlines.
            wake: Called when there may be something new to take.
            cap_of: Runs of a DAG that may be outstanding, where its route does not say.
        """
        self._cap_of = cap_of
        self._clock = clock
        self._wake = wake
        self._notes: dict[Place, Note] = {}
        self._queues: dict[str, DagQueue[Note]] = {}
        self._turns = Turns()
        self._outstanding: Counter[str] = Counter()
        self._tried: Counter[str] = Counter()
        """By DAG, how many were tried in vain and wait for the next try."""
        self._phases: Counter[Phase] = Counter()
        self._later: SortedDict[tuple[datetime, Place], Note] = SortedDict()
        self._deadlines: SortedDict[tuple[datetime, Place], Note] = SortedDict()
        self._share = (1, 1)
        self._stops = Stops()
        self._stopped: dict[Place, Note] = {}

    # What is told

    def track(self, entry: Entry) -> None:
        """Note how an entry now stands."""
        place = entry.source.partition, entry.source.offset
        old = self._notes.get(place)
        same = old is not None and old.run_attempt == entry.run_attempt
        if old is not None and same and old.phase is Phase.BUSY and (entry.dispatchable or entry.settling):
            old.ending = entry.settling  # the sink has it; `done` sees to the rest
            if old.ending:
                self._forget_deadline(old)
            return
        if old is not None and same and old.phase is Phase.REPORTED and entry.dispatchable:
            return  # asked for again, its run could be created although a refusal is about to be folded
        if old is not None:
            self._drop(old)
        if not entry.status.terminal and entry.status is not Status.BLOCKED:
            self._add(entry)
        self._wake()

    def knows(self, note: Note) -> bool:
        """Whether a dispatch is still the one that was handed out: its partition never went, not even for a while."""
        return self._notes.get(note.place) is note

    def done(self, note: Note, retry_after: timedelta | None) -> None:
        """Take a dispatch back from the sink: reported (None), or to be tried again after a while."""
        if not self.knows(note):
            return  # its partition went, or another worker's report was folded meanwhile
        if retry_after is None:
            self._move(note, Phase.REPORTED)
        elif note.ending and not note.settling:
            self._enqueue(note)  # the verdict came meanwhile
        else:
            self._postpone(note, self._clock.now() + retry_after, Phase.BACKING_OFF)
        self._wake()

    def forget(self, note: Note) -> None:
        """A dispatch is no longer due."""
        if self.knows(note):
            self._drop(note)
            self._wake()

    def steer(self, partition: int, scope: Scope, *, stopped: bool) -> None:
        """Stop a key or a DAG, or let it go on; what the sink has, it has."""
        self._stops.set(partition, scope, stopped=stopped)
        if stopped:
            queued = [note for queue in self._queues.values() for note in queue if note.source.partition == partition]
            for note in queued:
                if self._must_stop(note):
                    self._leave_queue(note)
                    self._enqueue(note)
        else:
            for note in [note for note in self._stopped.values() if note.source.partition == partition]:
                if not self._must_stop(note):
                    self._enqueue(note)
        self._wake()

    def drop(self, partitions: frozenset[int]) -> None:
        """Forget all entries of partitions that were taken away."""
        self._stops.drop(partitions)
        for note in [note for note in self._notes.values() if note.source.partition in partitions]:
            self._drop(note)

    def share(self, owned: int, total: int) -> None:
        """Tell which part of all partitions this worker owns: its part of each DAG's cap."""
        self._share = (owned, max(total, 1))
        self.caps_changed()

    def caps_changed(self) -> None:
        """Another number of runs of a DAG may be outstanding than before."""
        self._turns.look_at_all()
        self._wake()

    # What is asked

    def __len__(self) -> int:
        """Entries that may run now, are being started or could not be: what bounds the intake of commands.

        While Airflow is away, they become more and more.
        """
        return sum(self._phases[phase] for phase in STARTING)

    @property
    def later(self) -> int:
        """Entries that wait for a time or an operator: each first one of a key, and each one without a key."""
        return self._phases[Phase.LATER] + self._phases[Phase.STOPPED]

    @property
    def figures(self) -> dict[str, int]:
        """How many entries are in which phase."""
        return {phase.name.lower(): self._phases[phase] for phase in Phase}

    def note(self, source: Source) -> Note | None:
        """What is known of an entry; None where it is not here to be started or followed."""
        return self._notes.get((source.partition, source.offset))

    def waits_for(self, dag_id: str) -> bool:
        """Whether something of this DAG may run and does not: there is no room for it, or no permit."""
        return dag_id in self._queues

    @property
    def dags(self) -> set[str]:
        """The DAGs that have something to start or to wait for."""
        return {*self._queues, *self._outstanding, *self._tried}

    @property
    def by_dag(self) -> dict[str, DagFigures]:
        """How these DAGs stand."""
        return {dag_id: self._figures_of(dag_id) for dag_id in sorted(self.dags)}

    def take(self) -> Note | None:
        """The next dispatch, from the DAGs in turn."""
        dag = self._open_dag()
        if dag is None:
            return None
        queue = self._queues[dag]
        note = queue.pop()
        self._turns.served(dag)
        self._forget_if_empty(dag)
        self._move(note, Phase.BUSY)
        note.settling = note.ending
        return note

    @property
    def takeable(self) -> bool:
        """Whether `take` would give something."""
        return self._open_dag() is not None

    def advance(self) -> list[Note]:
        """Let the time pass: what was to run later may run; answers the entries whose deadline has passed.

        Some of each at a time. Those are answered again after a while, until they are tracked with a verdict or a run.
        """
        now = self._clock.now()
        due = _due(self._later, now)
        for note in due:
            self._wake_up(note)
            self._enqueue(note)
        if due:
            self._wake()
        overdue = _due(self._deadlines, now)
        for note in overdue:
            self._set_aside(note)
            del self._deadlines[note.told_at, note.place]
            self._tell_at(note, now + OVERDUE_AGAIN_AFTER)
        return overdue

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
            came_at=min(entry.recorded_at, entry.timings.accepted_at or entry.recorded_at),
            ending=entry.settling,
        )
        self._notes[note.place] = note
        self._count(note, 1)
        if note.ending:
            self._enqueue(note)
        elif entry.dispatchable:
            if entry.not_before is not None and entry.not_before > self._clock.now():
                self._postpone(note, entry.not_before, Phase.LATER)
            else:
                self._enqueue(note)
            if entry.deadline is not None:
                note.deadline = entry.deadline
                self._tell_at(note, entry.deadline)

    def _drop(self, note: Note) -> None:
        self._count(note, -1)
        del self._notes[note.place]
        self._forget_deadline(note)
        self._wake_up(note)
        if note.phase is Phase.QUEUED:
            self._leave_queue(note)
        self._stopped.pop(note.place, None)

    def _must_stop(self, note: Note) -> bool:
        return not note.ending and self._stops.cover(note.source, note.key, note.dag_id)

    def _enqueue(self, note: Note) -> None:
        self._stopped.pop(note.place, None)
        if self._must_stop(note):
            self._stopped[note.place] = note
            note.stopped = True
            self._move(note, Phase.STOPPED)
            return
        self._move(note, Phase.QUEUED)
        self._queues.setdefault(note.dag_id, DagQueue()).append(note)
        self._turns.join(note.dag_id)

    def _leave_queue(self, note: Note) -> None:
        self._queues[note.dag_id].remove(note)
        self._turns.look_again(note.dag_id)  # another one is its head, which may have a cap of its own
        self._forget_if_empty(note.dag_id)

    def _forget_if_empty(self, dag_id: str) -> None:
        if not self._queues[dag_id]:
            del self._queues[dag_id]
            self._turns.leave(dag_id)

    def _postpone(self, note: Note, until: datetime, phase: Phase) -> None:
        self._move(note, phase)
        note.wakes_at = until
        self._later[until, note.place] = note

    def _wake_up(self, note: Note) -> None:
        if note.wakes_at is not None:
            del self._later[note.wakes_at, note.place]
            note.wakes_at = None

    def _tell_at(self, note: Note, at: datetime) -> None:
        note.told_at = at
        self._deadlines[at, note.place] = note

    def _forget_deadline(self, note: Note) -> None:
        if note.told_at is not None:
            del self._deadlines[note.told_at, note.place]
        note.told_at = note.deadline = None

    def _set_aside(self, note: Note) -> None:
        """Don't hand out a note whose deadline has passed; what the sink has, it has."""
        if note.phase is Phase.QUEUED:
            self._leave_queue(note)
            self._move(note, Phase.LATER)
        self._wake_up(note)

    def _move(self, note: Note, phase: Phase) -> None:
        self._count(note, -1)
        note.phase = phase
        self._count(note, 1)

    def _count(self, note: Note, by: int) -> None:
        self._phases[note.phase] += by
        if note.phase is Phase.BACKING_OFF:
            _add_to(self._tried, note.dag_id, by)
        elif note.phase in OUTSTANDING:
            _add_to(self._outstanding, note.dag_id, by)
            if by < 0:
                self._turns.look_again(note.dag_id)

    def _open_dag(self) -> str | None:
        overdue = 0
        while overdue < AT_ONCE and (dag := self._turns.first) is not None:
            head = self._queues[dag].head
            if self._overdue(head):
                overdue += 1
                self._set_aside(head)
                if dag in self._queues:
                    self._turns.served(dag)  # thousands may follow, and other DAGs must not wait for that
            elif head.ending or self._outstanding[dag] < self._cap(head):
                return dag
            else:
                self._turns.stand_aside(dag)
        return None

    def _figures_of(self, dag_id: str) -> DagFigures:
        queue = self._queues.get(dag_id)
        cap = self._cap(queue.head) if queue else self._share_of(self._cap_of(dag_id))
        return DagFigures(queued=len(queue or ()), outstanding=self._outstanding[dag_id], cap=cap)

    def _overdue(self, note: Note) -> bool:
        return note.deadline is not None and note.deadline <= self._clock.now()

    def _cap(self, note: Note) -> int:
        return self._share_of(self._cap_of(note.dag_id) if note.cap is None else note.cap)

    def _share_of(self, cap: int) -> int:
        owned, total = self._share
        return max(1, cap * owned // total)


def _due(notes: SortedDict[tuple[datetime, Place], Note], now: datetime) -> list[Note]:
    """Those whose time has come, the earliest first."""
    return [note for _, note in islice(takewhile(lambda item: item[0][0] <= now, notes.items()), AT_ONCE)]


def _add_to(counter: Counter[str], dag_id: str, by: int) -> None:
    counter[dag_id] += by
    if not counter[dag_id]:
        del counter[dag_id]
