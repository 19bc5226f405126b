"""Finds what commands wait for: reads the worker's moving parts at one moment. Writes nothing."""

from collections.abc import Iterator

from streamapp.console.reading import Reading, read
from streamapp.console.worker import Worker
from streamapp.core.effects import OfDag, OfKey, Queued, Scope
from streamapp.core.model import Entry, Standing
from streamapp.core.waiting import ALL_DAGS, KEY, Ahead, Stop, Surroundings, its_dag, waiting_for
from streamapp.dispatch.partition import Partition
from streamapp.dispatch.ready import Phase
from streamapp.observe import health
from streamapp.wire import rows

COUNTED = 1000
"""Commands of a key before another one that are counted at most."""

_ASKED = frozenset({Phase.BUSY, Phase.REPORTED})


class Waits:
    """What commands wait for, at one moment."""

    def __init__(self, worker: Worker) -> None:
        self._ready = worker.ready
        self._now = worker.clock.now()
        self._dags = worker.by_dag()
        airflow = worker.airflow()
        self._outage = None if airflow.breaker == "closed" else airflow.breaker_why
        self._outage_since = airflow.breaker_since
        problems = list(health.ready(worker.figures()).problems)
        if not problems and not worker.caught_up():
            problems.append("it reads what the worker before it has seen")
        self._trouble = "; ".join(problems) or None
        self._of_firsts: dict[tuple[int, bytes], Ahead] = {}
        self._said: dict[tuple[int, Scope], Standing | None] = {}

    def sentence(self, partition: Partition, entry: Entry, before: tuple[int, bool] | None = None) -> str | None:
        """What a command waits for.

        Args:
            partition: Its partition.
            entry: The command.
            before: How many of its key are before it, and whether there are more; None: not counted.
        """
        if entry.status.terminal:
            return None
        ahead = self._ahead(partition, entry, before)
        around = self._around(partition, entry) if ahead is None else Surroundings(ahead=ahead)
        return waiting_for(entry, around=around, now=self._now)

    def _ahead(self, partition: Partition, entry: Entry, before: tuple[int, bool] | None) -> Ahead | None:
        head = partition.head(entry.key) if entry.ordered and entry.key is not None else None
        if entry.key is None or head is None or head >= entry.source.offset:
            return None
        known = self._of_firsts.get((partition.number, entry.key))
        if known is None:
            first = partition.safe_entry(entry.key, head)
            if first is None:
                return None
            known = Ahead(first=first, waits=self.sentence(partition, first))
            self._of_firsts[partition.number, entry.key] = known
        if before is None:
            return known
        return Ahead(first=known.first, waits=known.waits, count=max(before[0], 1), more=before[1])

    def _around(self, partition: Partition, entry: Entry) -> Surroundings:
        dag_id = entry.policy.dag_id if entry.policy else ""
        note, dag = self._ready.note(entry.source), self._dags.get(dag_id)
        return Surroundings(
            stops=tuple(self._stops(partition, entry.key, dag_id)),
            trouble=self._trouble,
            outage=self._outage,
            outage_since=self._outage_since,
            asked=note is not None and note.phase in _ASKED,
            next_try=note.wakes_at if note is not None and note.phase is Phase.BACKING_OFF else None,
            running=dag.outstanding if dag else 0,
            cap=dag.cap if dag else None,
            paused=dag is not None and dag.paused,
        )

    def _stops(self, partition: Partition, key: bytes | None, dag_id: str) -> Iterator[Stop]:
        scopes: list[tuple[str, Scope]] = [(its_dag(dag_id), OfDag(dag_id)), (ALL_DAGS, OfDag(""))]
        if key is not None:
            scopes.insert(0, (KEY, OfKey(key)))
        for what, scope in scopes:
            place = partition.number, scope
            if place not in self._said:
                self._said[place] = partition.standing(scope)
            standing = self._said[place]
            if standing is not None and standing.stopped:
                yield Stop(what, standing)


async def count_before(reading: Reading, partition: Partition, entry: Entry) -> tuple[int, bool] | None:
    """How many commands of its key are before one, and whether there are more than were counted."""
    head = partition.head(entry.key) if entry.ordered and entry.key is not None else None
    if entry.key is None or head is None or head >= entry.source.offset:
        return None
    key, seek, count, more = entry.key, rows.row_key(Queued(entry.key, head)), 0, True
    while more and count <= COUNTED and await reading.give_way():
        slice_, more = read(
            partition,
            seek,
            lambda name: isinstance(name, Queued) and name.key == key and name.offset < entry.source.offset,
        )
        count += len(slice_)
        seek = rows.row_key(slice_[-1][0]) + b"\0" if slice_ else seek
    return min(count, COUNTED), more or count > COUNTED
