from datetime import timedelta

import pytest

from streamapp.core.effects import Identity, OfKey, Settled
from streamapp.core.model import Holder, Standing, Status
from streamapp.dispatch.fold import Folds
from streamapp.dispatch.partitions import Partitions
from streamapp.dispatch.prune import (
    GRAIN,
    READ_PER_TURN,
    REMOVED_PER_TURN,
    WALKS_PER_RETENTION,
    Horizon,
    Offsets,
    Pruner,
)
from streamapp.wire import rows
from tests.support.builders import TOPIC, entry, policy
from tests.support.manual_clock import ManualClock
from tests.support.memory import MemoryLedger, MemoryOutlet, Turns

DAY = timedelta(days=1)
SECOND = timedelta(seconds=1)
COMMANDS, RESULTS = (TOPIC, 0), ("results", 0)


class Nothing:
    """An index that is told nothing."""

    def drop(self, partitions):
        pass


class Bench:
    """A pruner on a table that a test fills."""

    def __init__(self):
        self.clock = ManualClock()
        self.ledger = MemoryLedger()
        self.turns = Turns()
        self.failures = []
        self.partitions = Partitions(self.ledger, rows, Nothing())
        self.folds = Folds(self.ledger, MemoryOutlet(), Nothing(), soon=self.turns, fail=self.failures.append)
        self.pruner = Pruner(self.partitions, self.folds, self.clock, retention=DAY)
        self.offsets = {COMMANDS: Offsets(1000, 1000), RESULTS: Offsets(1000, 1000)}
        list(self.partitions.rebuild({0}))

    def fill(self, *offsets, at=None, number=0, key=b"k", dedupe_for=None):
        for offset in offsets:
            rules, at_ = policy(dedupe_for=dedupe_for), at or self.clock.now()
            one = entry(offset, key=key, status=Status.SUCCEEDED, attempt=1, at=at_, policy=rules)
            self.put(number, Settled(key, offset), one)
            self.put(number, Identity(one.id), Holder(key, offset))

    def put(self, number, key, row):
        name, value = rows.row_key(key), rows.row_value(row)
        receipt = self.ledger.append(number, name, value)
        self.ledger.changelogs[number].take()
        self.ledger.enter(number, [(name, value)], receipt)

    def turn(self, times=1):
        for _ in range(times):
            self.pruner.turn(self.offsets, TOPIC)
            self.answer()

    def answer(self):
        for log in self.ledger.changelogs.values():
            log.take_all()
        while len(self.turns):
            self.turns.turn()

    def left(self, number=0):
        names = map(rows.parse_key, self.ledger.databases[number])
        return sorted(name.offset for name in names if isinstance(name, Settled))


@pytest.fixture
def bench():
    return Bench()


def test_what_is_of_age_goes_with_its_id_log_first(bench):
    bench.fill(0, 1, at=bench.clock.now() - DAY)
    bench.fill(2, at=bench.clock.now() - DAY + SECOND)
    bench.turn()  # learns what is folded
    bench.pruner.turn(bench.offsets, TOPIC)
    removals = [record for record, _ in bench.ledger.changelogs[0].in_flight]
    assert removals == [
        (rows.row_key(key), None)
        for key in (Identity("c0"), Settled(b"k", 0), Identity("c1"), Settled(b"k", 1))
    ]  # fmt: skip
    assert bench.left() == [0, 1, 2]
    assert bench.folds.open == 1
    bench.answer()
    assert bench.left() == [2]
    assert (bench.folds.open, bench.pruner.pruned) == (0, 2)
    assert set(bench.ledger.databases[0]) == {rows.row_key(Settled(b"k", 2)), rows.row_key(Identity("c2"))}


def test_what_may_be_read_again_stays_until_it_is_committed(bench):
    bench.fill(0, 7, at=bench.clock.now() - DAY)
    bench.offsets[COMMANDS] = Offsets(1000, 7)
    bench.turn(3)
    assert bench.left() == [0, 7]  # not even the first: what was folded with it may come again
    bench.offsets[COMMANDS] = Offsets(7, 7)
    list(bench.partitions.rebuild({0}))
    bench.turn(3)
    assert bench.left() == [7]


def test_before_the_end_is_committed_the_entry_stays(bench):
    bench.fill(0, at=bench.clock.now() - DAY)
    bench.offsets[RESULTS] = Offsets(50, 49)
    bench.turn(5)
    assert bench.left() == [0]
    bench.offsets[RESULTS] = Offsets(60, 50)
    bench.turn(2)
    assert bench.left() == []


def test_what_ended_since_the_last_commit_stays_however_short_the_retention(bench):
    short = Pruner(bench.partitions, bench.folds, bench.clock, retention=timedelta(microseconds=1))
    bench.pruner = short
    bench.turn()
    bench.clock.advance(SECOND)
    bench.fill(0)
    bench.offsets[RESULTS] = Offsets(1001, 1000)
    bench.clock.advance(SECOND)
    bench.turn(4)
    assert bench.left() == [0]
    bench.offsets[RESULTS] = Offsets(1001, 1001)
    bench.turn()
    bench.clock.advance(SECOND)
    bench.turn(2)
    assert bench.left() == []


def test_a_turn_reads_and_removes_a_bounded_number_and_goes_on_behind(bench):
    young, old = READ_PER_TURN + 10, REMOVED_PER_TURN + 10
    bench.fill(*range(young))
    bench.fill(*range(1000, 1000 + old), at=bench.clock.now() - DAY)
    bench.offsets[COMMANDS] = Offsets(5000, 5000)
    bench.turn()
    before = bench.ledger.reads
    bench.turn()
    assert bench.ledger.reads - before <= READ_PER_TURN + 1
    assert len(bench.left()) == young + old
    bench.turn()
    assert len(bench.left()) == young + 10
    bench.turn()
    assert len(bench.left()) == young


def test_a_walk_begins_again_when_the_first_that_stayed_can_be_of_age(bench):
    bench.fill(0, at=bench.clock.now() - DAY / 4)
    bench.fill(1)
    bench.turn(3)
    reads = bench.ledger.reads
    bench.clock.advance(DAY * 3 / 4 - SECOND)
    bench.turn(3)
    assert bench.ledger.reads == reads
    bench.clock.advance(SECOND)
    bench.turn(3)
    assert bench.left() == [1]


def test_walks_are_rare_also_where_commands_end_all_the_time(bench):
    bench.fill(*range(100, 100 + WALKS_PER_RETENTION))
    bench.turn(2)
    scans = bench.ledger.scans
    for offset in range(100):
        bench.fill(offset, at=bench.clock.now() - DAY + SECOND)
        bench.clock.advance(DAY / 100)
        bench.turn(3)
    assert bench.ledger.scans - scans <= WALKS_PER_RETENTION + 1
    assert len(bench.left()) <= WALKS_PER_RETENTION + 3


def test_partitions_take_turns_and_begin_anew_when_they_change_hands(bench):
    list(bench.partitions.rebuild({0, 1}))
    for number in (0, 1):
        bench.fill(*range(2 * REMOVED_PER_TURN), at=bench.clock.now() - DAY, number=number)
    places = Offsets(1000, 1000)
    bench.offsets = {(topic, number): places for topic in (TOPIC, "results") for number in (0, 1)}
    bench.turn(3)
    assert [len(bench.left(number)) for number in (0, 1)] == [REMOVED_PER_TURN] * 2
    list(bench.partitions.rebuild({1}))
    bench.turn(1)  # learns what is folded
    assert [len(bench.left(number)) for number in (0, 1)] == [REMOVED_PER_TURN] * 2
    bench.turn(2)
    assert [len(bench.left(number)) for number in (0, 1)] == [REMOVED_PER_TURN, 0]


def test_a_turn_tells_whether_anything_was_due(bench):
    bench.fill(0, at=bench.clock.now() - DAY)
    bench.turn()  # learns what is folded
    assert bench.pruner.turn(bench.offsets, TOPIC)
    bench.answer()
    told = [bench.pruner.turn(bench.offsets, TOPIC) for _ in range(20)]
    assert told[-1] is False
    assert bench.left() == []


def test_a_turn_looks_at_each_offset_once_however_many_partitions_there_are(bench):
    class Counted(dict):
        looked_at = 0

        def items(self):
            for item in super().items():
                self.looked_at += 1
                yield item

    list(bench.partitions.rebuild(set(range(50))))
    places = Counted({(topic, number): Offsets(1, 1) for topic in (TOPIC, "results") for number in range(50)})
    bench.pruner.turn(places, TOPIC)
    assert places.looked_at <= len(places)


def test_a_refused_removal_stops_the_worker(bench):
    bench.fill(0, at=bench.clock.now() - DAY)
    bench.turn()
    bench.pruner.turn(bench.offsets, TOPIC)
    bench.ledger.changelogs[0].refuse(OSError("refused"))
    assert len(bench.failures) == 1
    bench.ledger.changelogs[0].crash()
    bench.answer()
    assert bench.left() == [0]


def test_the_horizon_follows_the_commits():
    horizon, at = Horizon(), ManualClock().now()
    horizon.look(at, {RESULTS: Offsets(5, 5)})
    assert horizon.reached is None
    horizon.look(at + SECOND, {RESULTS: Offsets(9, 5)})
    assert horizon.reached == at - GRAIN
    horizon.look(at + 2 * SECOND, {RESULTS: Offsets(12, 8)})
    assert horizon.reached == at - GRAIN
    horizon.look(at + 3 * SECOND, {RESULTS: Offsets(12, 9)})
    assert horizon.reached == at + SECOND - GRAIN


def test_a_route_keeps_its_commands_for_longer_or_shorter(bench):
    bench.fill(0, dedupe_for=3 * DAY)
    bench.fill(1)
    bench.fill(2, dedupe_for=DAY / 4)
    bench.turn(3)
    pause = DAY / WALKS_PER_RETENTION
    for after, left in ((DAY / 4, [0, 1]), (DAY * 3 / 4, [0]), (2 * DAY, [])):
        bench.clock.advance(after - pause)
        bench.turn(4)
        assert bench.left() != left
        bench.clock.advance(pause)
        bench.turn(4)
        assert bench.left() == left


def test_what_ends_after_a_walk_is_found_when_the_shortest_memory_can_be_over(bench):
    routes = {"shortest": DAY / 4}
    bench.pruner = Pruner(
        bench.partitions, bench.folds, bench.clock, retention=DAY, shortest=lambda: routes["shortest"]
    )
    bench.turn(3)  # an empty table
    bench.fill(0, dedupe_for=DAY / 4)
    for _ in range(2):
        bench.clock.advance(DAY / 8)
        bench.turn(3)
    assert bench.left() == []
    routes["shortest"] = DAY / 8  # the file has changed
    bench.fill(1, dedupe_for=DAY / 8)
    for _ in range(2):
        bench.clock.advance(DAY / 16)
        bench.turn(3)
    assert bench.left() == []


def test_short_memories_make_no_more_walks(bench):
    bench.pruner = Pruner(
        bench.partitions, bench.folds, bench.clock, retention=DAY, shortest=lambda: timedelta(milliseconds=1)
    )
    bench.fill(1000, dedupe_for=10 * DAY)
    bench.turn(2)
    scans = bench.ledger.scans
    for offset in range(200):
        bench.fill(offset, dedupe_for=timedelta(milliseconds=1))
        bench.clock.advance(DAY / 200)
        bench.turn(3)
    assert 1 < bench.ledger.scans - scans <= 2 * (WALKS_PER_RETENTION + 1)  # each looks at what operators said, too


def test_a_hold_stays_however_old_it_is_and_an_answer_for_the_retention(bench):
    """Else a key that was put on hold would go on by itself, and an instruction sent again would be followed again."""

    def say(key, *, stopped):
        bench.put(0, OfKey(key), Standing(stopped=stopped, by="ann", at=bench.clock.now()))

    say(b"on hold", stopped=True)
    say(b"released", stopped=False)
    for _ in range(2):
        bench.turn()
        bench.clock.advance(2 * DAY)
    say(b"released lately", stopped=False)
    bench.turn()
    (partition,) = bench.partitions
    assert {scope.key for scope, _ in partition.standings()} == {b"on hold", b"released lately"}
