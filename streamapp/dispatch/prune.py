"""Forgets what ended too long ago for its route, or for the retention. Reads settled rows; removes them log first.

The rows of one partition are walked, a few at a time, in the order of their keys, and what was removed stays in the
database as marks that a walk has to step over. So a walk goes on behind what it removed, and the next one begins only
when something can have come of age.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import islice

from streamapp.clock import Clock
from streamapp.core.effects import Change, Delete, Scope, Settled
from streamapp.core.prune import expired, lifetime
from streamapp.dispatch.fold import Folds, SourcePartition
from streamapp.dispatch.partition import Partition
from streamapp.dispatch.partitions import Partitions

READ_PER_TURN = 200
"""Rows that one turn reads: about 10 ms."""
REMOVED_PER_TURN = 50
"""Commands that one turn forgets, with two changelog records each."""
GRAIN = timedelta(milliseconds=1)
"""Of times in rows: what was folded within the same one may have come later."""
WALKS_PER_RETENTION = 50
"""A partition is walked at most this often, whatever routes say; so rows may live a fiftieth of it longer."""


@dataclass(frozen=True, slots=True)
class Offsets:
    """How far one source partition is read."""

    folded: int
    """The offset after the last record that is folded."""
    committed: int
    """The offset from which the next owner would read."""


class Horizon:
    """The moment up to which everything that was folded is committed, so that none of it can come again.

    Before a record is committed, its fold may be repeated after a crash, to send what did not leave: then the entry
    must still be there.
    """

    def __init__(self) -> None:
        self.reached: datetime | None = None
        self._next: tuple[datetime, dict[SourcePartition, int]] | None = None

    def look(self, now: datetime, offsets: Mapping[SourcePartition, Offsets]) -> None:
        """Note what is folded by now, and whether what was noted before is committed."""
        if self._next is not None:
            at, folded = self._next
            if any(offsets[source].committed < offset for source, offset in folded.items()):
                return
            self.reached = at - GRAIN
        self._next = now, {source: place.folded for source, place in offsets.items()}


@dataclass(slots=True)
class _Walk:
    """Through the settled rows of one partition, again and again."""

    horizon: Horizon = field(default_factory=Horizon)
    after: Settled | None = None
    """The last row that was looked at; None: at the beginning."""
    tidied: Scope | None = None
    """The last row of what operators said that was looked at."""
    began: datetime | None = None
    """What is not seen on the way has ended since, at the earliest."""
    of_age: datetime | None = None
    """When the first of those that were seen, and stay, has come of age."""
    rests_until: datetime | None = None
    """The next walk begins no earlier; None while one is under way."""

    def is_due(self, now: datetime, shortest: timedelta) -> bool:
        """Whether to go on, or to begin anew because something can have come of age."""
        if self.rests_until is None or self.began is None:
            return True
        unseen = self.began + shortest
        return now >= self.rests_until and now >= (unseen if self.of_age is None else min(self.of_age, unseen))


class Pruner:
    """Walks the partitions in turn. Called while nothing more urgent is to be done."""

    def __init__(
        self,
        partitions: Partitions,
        folds: Folds,
        clock: Clock,
        *,
        retention: timedelta,
        shortest: Callable[[], timedelta | None] = lambda: None,
    ) -> None:
        """Nothing is known yet.

        Args:
            partitions: Whose rows are walked.
            folds: Where removals go.
            clock: The only source of time.
            retention: How long a command is remembered whose route does not say.
            shortest: The shortest time that a route says, None where none says one.
        """
        self._partitions = partitions
        self._folds = folds
        self._clock = clock
        self._retention = retention
        self._shortest = shortest
        self._walks: dict[Partition, _Walk] = {}
        self.pruned = 0
        """Commands that were forgotten."""

    def turn(self, offsets: Mapping[SourcePartition, Offsets], commands_topic: str) -> bool:
        """Look at the next few rows of one partition, and forget those whose time has come. False: none was due.

        Args:
            offsets: How far the source partitions are read; all that stood in them at the takeover is folded.
            commands_topic: The source whose records need their entries when they are read again.
        """
        now = self._clock.now()
        owned = list(self._partitions)
        if self._walks.keys() != set(owned):  # taken over anew: nothing that was known holds any more
            self._walks = {partition: _Walk() for partition in owned}
        places: defaultdict[int, dict[SourcePartition, Offsets]] = defaultdict(dict)
        for source, place in offsets.items():
            places[source[1]][source] = place
        for partition, walk in self._walks.items():
            walk.horizon.look(now, places[partition.number])
        shortest = min(self._retention, self._shortest() or self._retention)
        for partition, walk in self._walks.items():
            commands = offsets.get((commands_topic, partition.number))
            if commands is not None and walk.horizon.reached is not None and walk.is_due(now, shortest):
                self._go_on(partition, walk, walk.horizon.reached, commands.committed)
                self._walks[partition] = self._walks.pop(partition)  # the others first, then this one again
                return True
        return False

    def _go_on(self, partition: Partition, walk: _Walk, horizon: datetime, committed: int) -> None:
        now = self._clock.now()
        removals: list[Change] = []
        pruned = looked = 0
        if walk.after is None:
            walk.began, walk.of_age, walk.rests_until = now, None, None
        with closing(partition.settled(walk.after)) as entries:  # open, it would keep the database locked
            for entry in islice(entries, READ_PER_TURN):
                looked += 1
                walk.after = Settled(entry.key, entry.source.offset)
                kept_for = lifetime(entry, self._retention)
                if found := expired(partition, entry, before=min(now - kept_for, horizon), committed=committed):
                    removals.extend(found)
                    pruned += 1
                    if pruned == REMOVED_PER_TURN:
                        break
                else:
                    of_age = entry.at + kept_for
                    walk.of_age = of_age if walk.of_age is None else min(of_age, walk.of_age)
        if removals:
            self._folds.remove(partition, removals)
            self.pruned += pruned
        if looked < READ_PER_TURN and pruned < REMOVED_PER_TURN:
            self._tidy(partition, walk, min(now - self._retention, horizon))

    def _tidy(self, partition: Partition, walk: _Walk, before: datetime) -> None:
        """The end of a walk: forget what operators said that no longer holds."""
        with closing(partition.standings(walk.tidied)) as standings:
            found = list(islice(standings, READ_PER_TURN))
        old = [scope for scope, standing in found if not standing.stopped and standing.at <= before]
        if old:
            self._folds.remove(partition, [Delete(scope) for scope in old])
        if len(found) == READ_PER_TURN:
            walk.tidied = found[-1][0]
        else:
            walk.rests_until = self._clock.now() + self._retention / WALKS_PER_RETENTION
            walk.after = walk.tidied = None
