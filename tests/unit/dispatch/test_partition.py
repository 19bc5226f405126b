from dataclasses import replace

import pytest

from streamapp.core.effects import Delete, Identity, Put, Queued, place
from streamapp.core.model import Holder, Ordering, Status
from streamapp.dispatch.partition import Partition
from streamapp.wire import rows
from tests.support.builders import entry, policy
from tests.support.memory import MemoryLedger


class Part(Partition):
    """One whose rows a test lays and lets enter by hand."""

    def __init__(self, ledger=None):
        self.ledger = ledger or MemoryLedger()
        super().__init__(0, self.ledger, rows)

    def begin(self, *changes):
        pending = [self.encode(change) for change in changes]
        for change, row in zip(changes, pending, strict=True):
            self.lay(change, row)
        return pending

    def end(self, pending):
        for row in pending:
            receipt = self.ledger.append(0, row.key, row.value)
            self.ledger.changelogs[0].take()
            self.ledger.enter(0, [(row.key, row.value)], receipt)
        for row in pending:
            self.entered(row)

    def put(self, *entries):
        self.end(self.begin(*(Put(place(one), one) for one in entries)))

    def delete(self, *keys):
        self.end(self.begin(*map(Delete, keys)))

    def offsets(self):
        return [one.source.offset for one in self.recover()]


@pytest.fixture
def part():
    return Part()


def settled(offset, **fields):
    return entry(offset, status=Status.SUCCEEDED, attempt=1, **fields)


def free(offset, **fields):
    return entry(offset, policy=policy(ordering=Ordering.NONE), **fields)


# The overlay


def test_rows_are_seen_at_once_and_stored_once_safe(part):
    pending = part.begin(Put(Queued(b"k", 0), entry(0)), Put(Identity("c0"), Holder(b"k", 0)))
    assert part.entry(b"k", 0) == entry(0)
    assert part.holder("c0") == Holder(b"k", 0)
    assert part.safe_entry(b"k", 0) is None
    assert part.ledger.databases[0] == {}
    part.end(pending)
    assert part.safe_entry(b"k", 0) == part.entry(b"k", 0) == entry(0)
    assert len(part._overlay) == 0


def test_a_row_that_is_read_twice_in_a_row_is_parsed_once_and_a_newer_one_is_seen(part):
    part.put(entry(0), entry(1))
    assert part.entry(b"k", 0) is part.entry(b"k", 0)
    assert part.entry(b"k", 1) == entry(1)
    newer = entry(1, detail="newer")
    part.put(newer)
    assert part.entry(b"k", 1) == newer
    part.delete(Queued(b"k", 1))
    assert part.entry(b"k", 1) is None


def test_a_removal_on_its_way_hides_the_stored_row(part):
    part.put(entry(0))
    pending = part.begin(Delete(Queued(b"k", 0)))
    assert part.entry(b"k", 0) is None
    assert part.safe_entry(b"k", 0) == entry(0)
    assert list(part.rows(rows.QUEUES)) == []
    part.end(pending)
    assert part.safe_entry(b"k", 0) is None


def test_a_newer_row_on_its_way_stays_when_an_older_one_enters(part):
    old = part.begin(Put(Queued(b"k", 0), entry(0)))
    part.begin(Put(Queued(b"k", 0), entry(0, detail="newer")))
    part.end(old)
    assert part.entry(b"k", 0).detail == "newer"


def test_rows_on_their_way_stand_between_stored_ones_in_order(part):
    part.put(entry(0), entry(4), entry(2))
    part.begin(Put(Queued(b"k", 1), entry(1)), Put(Queued(b"k", 3), entry(3)), Delete(Queued(b"k", 2)))
    part.begin(Put(Queued(b"k", 4), entry(4, detail="newer")))
    found = [(where.offset, row.detail) for where, row in part.rows(rows.QUEUES)]
    assert found == [(0, None), (1, None), (3, None), (4, "newer")]


def test_a_scan_that_is_left_early_is_closed():
    class Watched(MemoryLedger):
        open = 0

        def scan(self, partition, start):
            self.open += 1
            try:
                yield from super().scan(partition, start)
            finally:
                self.open -= 1

    part = Part(Watched())
    part.put(entry(0), entry(1), entry(2))
    assert part.next_after(b"k", 0) == entry(1)
    assert part.offsets() == [0]
    assert part.ledger.open == 0


# Entries


@pytest.mark.parametrize("key", [None, b"", b"k"])
def test_an_entry_is_found_wherever_its_row_stands(part, key):
    for make in (settled, free):
        part.put(make(1, key=key))
        assert part.entry(key, 1) == make(1, key=key)
        part.delete(place(make(1, key=key)))
    assert part.entry(key, 1) is None


def test_the_row_that_was_written_last_counts_where_a_crash_left_two(part):
    part.put(entry(0))
    part.put(free(0))
    assert part.entry(b"k", 0) == free(0)
    part.put(settled(0))
    assert part.entry(b"k", 0) == settled(0)


@pytest.mark.parametrize("make", [settled, free])
def test_the_next_of_a_queue_is_none_that_a_crash_left_behind_in_it(part, make):
    """Its entry has moved on; the redelivery of the event removes the row."""
    part.put(entry(0), entry(1), entry(2))
    part.put(make(1))
    assert part.next_after(b"k", 0) == entry(2)
    part.delete(Queued(b"k", 0))
    assert part.head(b"k") == 2


def test_what_was_folded_here_has_left_nothing_behind_and_costs_no_look(part):
    def looks(at):
        before = at.ledger.reads
        assert at.next_after(b"k", 0) == entry(1)
        return at.ledger.reads - before

    for offset in (0, 1):
        part.put(entry(offset))
        part.received(offset)
    assert looks(Part(part.ledger)) - looks(part) == 2


def test_what_the_broker_no_longer_has_was_not_folded_here(part):
    """Its row may have been left behind before this partition was taken over, and no redelivery removes it."""
    part.put(entry(0), entry(1), settled(1))
    part.received(0)
    part.put(entry(2))
    part.received(2)
    assert part.next_after(b"k", 0) == entry(2)


def test_another_key_at_the_same_offset_has_another_entry(part):
    part.put(entry(0))
    assert part.entry(b"other", 0) is None
    assert part.entry(None, 0) is None


# Heads


def test_the_head_is_the_first_of_its_key_and_follows_its_removal(part):
    assert part.head(b"k") is None
    for offset in (1, 2, 5):
        part.put(entry(offset))
    part.put(entry(0, key=b"other"))
    assert part.head(b"k") == 1
    part.delete(Queued(b"k", 1))
    assert part.head(b"k") == 2
    part.delete(Queued(b"k", 5))
    assert part.head(b"k") == 2
    part.delete(Queued(b"k", 2))
    assert part.head(b"k") is None
    assert part.head(b"other") == 0


def test_the_head_moves_at_once_although_nothing_is_safe_yet(part):
    part.begin(Put(Queued(b"k", 0), entry(0)), Put(Queued(b"k", 1), entry(1)))
    part.begin(Delete(Queued(b"k", 0)))
    assert part.head(b"k") == 1


def test_an_earlier_entry_becomes_the_head(part):
    part.put(entry(5))
    part.put(entry(3))
    assert part.head(b"k") == 3


def test_the_next_is_the_next_of_the_same_key(part):
    part.put(entry(0), entry(7), entry(3, key=b"j"), entry(3, key=b"l"), entry(1, key=b"kk"))
    assert part.next_after(b"k", 0) == entry(7)
    assert part.next_after(b"k", 7) is None
    assert part.next_after(b"j", 0) == entry(3, key=b"j")


def test_the_next_costs_the_same_however_deep_the_queue_is():
    def reads(depth):
        part = Part()
        part.put(*(entry(offset) for offset in range(depth)))
        before = part.ledger.reads
        part.next_after(b"k", 0)
        return part.ledger.reads - before

    assert reads(200) == reads(3)


def test_what_came_after_the_look_is_the_next_nevertheless(part):
    """Else it would wait until the partition is taken over anew."""
    part.put(entry(0))
    assert part.next_after(b"k", 0) is None
    part.put(entry(1))
    assert part.next_after(b"k", 0) == entry(1)
    part.put(replace(entry(1), detail="changed"))
    assert part.next_after(b"k", 0).detail == "changed"
    part.delete(Queued(b"k", 0))
    assert part.head(b"k") == 1


def test_the_last_of_its_key_is_known_without_a_look_at_the_rows_of_others(part):
    """Behind it a database would step over the removed rows of all other keys."""
    part.put(entry(0), entry(1))
    part.delete(Queued(b"k", 0))
    scans = part.ledger.scans
    assert part.next_after(b"k", 1) is None
    part.delete(Queued(b"k", 1))
    assert part.ledger.scans == scans
    part.put(entry(2))
    assert (part.head(b"k"), part.next_after(b"k", 2)) == (2, None)
    part.delete(Queued(b"k", 2))
    assert part.ledger.scans == scans
    assert part._tails == {}


def test_in_a_restored_queue_more_may_stand_behind_than_was_written_since(part):
    part.put(entry(0), entry(1), entry(2))
    fresh = Part(part.ledger)
    fresh.offsets()
    fresh.put(entry(0), entry(1))  # redelivered
    fresh.delete(Queued(b"k", 0))
    fresh.delete(Queued(b"k", 1))
    assert fresh.head(b"k") == 2
    fresh.put(entry(9))
    assert fresh.next_after(b"k", 2) == entry(9)


# Rebuilding


def test_a_rebuild_finds_the_first_of_each_key_and_everything_without_a_place_in_a_queue(part):
    part.put(entry(0), entry(1), entry(2, key=b""), entry(3, key=b""), entry(4, key=b"k\x00"))
    part.put(free(5), free(6, key=None), settled(7), settled(8, key=None))
    found = list(Part(part.ledger).recover())
    assert [one.source.offset for one in found] == [2, 0, 4, 5, 6]
    assert found[1] == entry(0)


def test_a_rebuild_knows_the_heads(part):
    part.put(entry(3), entry(4), entry(1, key=b"other"))
    fresh = Part(part.ledger)
    list(fresh.recover())
    assert (fresh.head(b"k"), fresh.head(b"other"), fresh.head(b"none")) == (3, 1, None)


def test_a_rebuild_does_not_read_the_history_nor_what_waits():
    def reads(history, depth):
        part = Part()
        part.put(*(settled(offset) for offset in range(history)))
        part.put(*(entry(1000 + offset) for offset in range(depth)))
        part.put(entry(5000, key=b"z"))
        fresh, before = Part(part.ledger), part.ledger.reads
        assert fresh.offsets() == [1000, 5000]
        return part.ledger.reads - before

    assert reads(100, 100) == reads(1, 2)


@pytest.mark.parametrize("moved", [settled(0), replace(entry(0), policy=policy(ordering=Ordering.NONE))])
def test_a_row_that_a_crash_left_in_the_queue_is_passed_over(part, moved):
    part.put(entry(0), entry(1), moved)
    fresh = Part(part.ledger)
    recovered = list(fresh.recover())
    assert fresh.head(b"k") == 1
    assert [one.source.offset for one in recovered if one.ordered] == [1]


def test_a_key_of_which_only_left_rows_remain_has_no_head(part):
    part.put(entry(0, key=b"a"), settled(0, key=b"a"), entry(1, key=b"b"))
    fresh = Part(part.ledger)
    assert fresh.offsets() == [1]
    assert (fresh.head(b"a"), fresh.head(b"b")) == (None, 1)


def test_a_row_that_a_crash_left_among_the_free_ones_is_passed_over(part):
    part.put(free(0), settled(0), free(1, key=None), settled(1, key=None), free(2))
    assert Part(part.ledger).offsets() == [2]
