import pytest

from streamapp.core.decide import decide
from streamapp.core.effects import Queued
from streamapp.core.model import Status
from streamapp.dispatch.partitions import Partitions
from streamapp.wire import rows
from tests.support.builders import observed, received, run_ended, triggered
from tests.support.memory import MemoryLedger, Table


class Tracked:
    """An index that writes down what it is told."""

    def __init__(self):
        self.entries = []
        self.dropped = []

    def inherit(self, entry):
        self.entries.append(entry)

    def drop(self, partitions):
        self.dropped.append(partitions)


@pytest.fixture
def index():
    return Tracked()


@pytest.fixture
def ledger():
    return MemoryLedger()


@pytest.fixture
def partitions(ledger, index):
    return Partitions(ledger, rows, index)


def test_at_first_nothing_is_accepted(partitions):
    assert (partitions.accepting, len(partitions), partitions.get(0)) == (False, 0, None)


def test_a_rebuild_tracks_what_is_to_be_done_and_accepts(partitions, index, ledger):
    table = Table(ledger)
    table.folds(received(0), received(1), received(2, key=None))
    table.fold(observed(triggered(table.entry(0))))
    list(partitions.rebuild({0, 3}))
    assert partitions.accepting
    assert [partition.number for partition in partitions] == [0, 3]
    assert sorted((entry.source.offset, entry.status) for entry in index.entries) == [
        (0, Status.TRIGGERED),
        (2, Status.ACCEPTED),
    ]


def test_a_rebuild_replaces_what_was_owned(partitions, index):
    list(partitions.rebuild({0, 1}))
    first = partitions.get(1)
    list(partitions.rebuild({1, 2}))
    assert frozenset({0, 1}) in index.dropped
    assert partitions.get(0) is None
    assert partitions.get(1) is not first


def test_while_draining_nothing_is_accepted_and_nothing_forgotten(partitions, index, ledger):
    Table(ledger).fold(received(0))
    list(partitions.rebuild({0}))
    index.dropped.clear()
    partitions.drain()
    assert (partitions.get(0), partitions.entry(0, b"k", 0)) == (None, None)
    assert (index.dropped, len(partitions)) == ([], 1)


def test_giving_up_forgets_everything(partitions, index):
    list(partitions.rebuild({0, 1}))
    partitions.give_up()
    assert (partitions.accepting, len(partitions), list(partitions)) == (False, 0, [])
    assert index.dropped[-1] == frozenset({0, 1})


def test_a_rebuild_takes_a_step_for_each_row_and_accepts_with_the_last(partitions, ledger):
    Table(ledger).folds(received(0), received(1, key=b"other"), received(2, key=None))
    seen = [partitions.accepting for _ in partitions.rebuild({0})]
    assert seen == [False, False, False]
    assert partitions.accepting


@pytest.mark.parametrize("ended_by", ["drain", "give_up"])
def test_what_is_given_up_during_its_rebuild_is_not_taken_over(partitions, index, ledger, ended_by):
    Table(ledger).folds(received(0), received(1, key=b"other"), received(2, key=b"third"))
    steps = partitions.rebuild({0})
    next(steps)
    getattr(partitions, ended_by)()
    assert list(steps) == []
    assert not partitions.accepting
    assert len(index.entries) == 1


def test_of_two_rebuilds_the_later_one_counts(partitions, ledger):
    Table(ledger).folds(received(0), received(1, key=b"other"))
    steps = partitions.rebuild({0})
    next(steps)
    list(partitions.rebuild({1}))
    assert list(steps) == []
    assert [partition.number for partition in partitions] == [1]
    assert partitions.accepting


def test_a_rebuild_that_breaks_accepts_nothing(partitions, ledger):
    ledger.databases[0][rows.row_key(Queued(b"k", 0))] = b"not a row\n"
    with pytest.raises(ValueError, match="Expecting value"):
        list(partitions.rebuild({0}))
    assert not partitions.accepting
    assert partitions.get(0) is None


def test_an_entry_is_shown_only_once_its_row_is_safe(partitions, ledger):
    list(partitions.rebuild({0}))
    table = Table(ledger)
    table.partition = partitions.get(0)
    table.fold(received(0), keep=0)
    assert partitions.entry(0, b"k", 0) is None
    decision = table.fold(received(0))
    assert partitions.entry(0, b"k", 0) == decision.effects[1].entry
    row = table.partition.encode(table.fold(observed(triggered(table.entry())), keep=0).changes[0])
    table.partition._overlay[row.key] = row
    assert table.partition.entry(b"k", 0).status is Status.TRIGGERED
    assert partitions.entry(0, b"k", 0).status is Status.ACCEPTED


def test_an_entry_of_a_partition_that_is_not_ours_is_not_shown(partitions, ledger):
    Table(ledger).fold(received(0))
    list(partitions.rebuild({1}))
    assert partitions.entry(0, b"k", 0) is None


def test_an_entry_that_has_ended_is_shown_as_it_is(partitions, ledger):
    table = Table(ledger)
    table.fold(received(0))
    table.fold(observed(triggered(table.entry())))
    table.fold(observed(run_ended(table.entry())))
    list(partitions.rebuild({0}))
    assert partitions.entry(0, b"k", 0).status is Status.SUCCEEDED


# What reconciliation and the pace of polls ask


def mark(attempt=1, *, id_="c0", partition=0, round_=1):
    return {"partition": partition, "id": id_, "round": round_, "attempt": attempt}


def test_a_run_whose_command_is_on_its_way_may_run(partitions, ledger):
    table = Table(ledger)
    table.fold(received(0))
    list(partitions.rebuild({0}))
    assert partitions.may_run(mark())
    table.fold(observed(triggered(table.entry(0))))
    assert partitions.may_run(mark())
    assert not partitions.may_run(mark(2))
    assert not partitions.may_run(mark(round_=2))


def test_a_cleared_run_may_not_run(partitions, ledger):
    table = Table(ledger)
    table.fold(received(0))
    table.fold(observed(triggered(table.entry(0))))
    table.fold(observed(run_ended(table.entry(0))))
    list(partitions.rebuild({0}))
    assert not partitions.may_run(mark())
    assert not partitions.may_run(mark(id_="of nobody"))


def test_nothing_is_said_of_others_partitions_and_strange_marks(partitions):
    assert partitions.may_run(mark())
    list(partitions.rebuild({1}))
    for strange in (mark(), {}, {"partition": 1}, {"partition": "1", "id": "x"}, {"partition": 1, "id": 7}):
        assert partitions.may_run(strange)
    partitions.drain()
    assert partitions.may_run(mark(partition=1))


@pytest.mark.parametrize("restored", [False, True])
def test_the_first_of_a_key_is_waited_for_as_soon_as_there_is_a_second(partitions, ledger, restored):
    table = Table(ledger)
    if restored:
        table.fold(received(0))
    list(partitions.rebuild({0}))
    partition = partitions.get(0)
    if not restored:
        lay(partition, received(0))
    first = partition.entry(b"k", 0)
    assert not partitions.is_waited_for(first)
    lay(partition, received(1, key=b"other"))
    assert not partitions.is_waited_for(first)
    lay(partition, received(2))
    assert partitions.is_waited_for(first)
    assert not partitions.is_waited_for(partition.entry(b"k", 2))
    partitions.give_up()
    assert not partitions.is_waited_for(first)


def test_a_restored_queue_is_waited_for(partitions, ledger):
    table = Table(ledger)
    table.folds(received(0), received(1), received(2, key=None))
    list(partitions.rebuild({0}))
    partition = partitions.get(0)
    assert partitions.is_waited_for(partition.entry(b"k", 0))
    assert not partitions.is_waited_for(partition.entry(None, 2))


def lay(partition, event):
    """What a fold does before anything is acknowledged."""
    for change in decide(partition, event).changes:
        partition.lay(change, partition.encode(change))
