import pytest

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
    partitions.rebuild({0, 3})
    assert partitions.accepting
    assert [partition.number for partition in partitions] == [0, 3]
    assert sorted((entry.source.offset, entry.status) for entry in index.entries) == [
        (0, Status.TRIGGERED),
        (2, Status.ACCEPTED),
    ]


def test_a_rebuild_replaces_what_was_owned(partitions, index):
    partitions.rebuild({0, 1})
    first = partitions.get(1)
    partitions.rebuild({1, 2})
    assert frozenset({0, 1}) in index.dropped
    assert partitions.get(0) is None
    assert partitions.get(1) is not first


def test_while_draining_nothing_is_accepted_and_nothing_forgotten(partitions, index, ledger):
    Table(ledger).fold(received(0))
    partitions.rebuild({0})
    index.dropped.clear()
    partitions.drain()
    assert (partitions.get(0), partitions.entry(0, b"k", 0)) == (None, None)
    assert (index.dropped, len(partitions)) == ([], 1)


def test_giving_up_forgets_everything(partitions, index):
    partitions.rebuild({0, 1})
    partitions.give_up()
    assert (partitions.accepting, len(partitions), list(partitions)) == (False, 0, [])
    assert index.dropped[-1] == frozenset({0, 1})


def test_a_rebuild_that_breaks_accepts_nothing(partitions, ledger):
    ledger.databases[0][rows.row_key(Queued(b"k", 0))] = b"not a row\n"
    with pytest.raises(ValueError, match="Expecting value"):
        partitions.rebuild({0})
    assert not partitions.accepting
    assert partitions.get(0) is None


def test_an_entry_is_shown_only_once_its_row_is_safe(partitions, ledger):
    partitions.rebuild({0})
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
    partitions.rebuild({1})
    assert partitions.entry(0, b"k", 0) is None


def test_an_entry_that_has_ended_is_shown_as_it_is(partitions, ledger):
    table = Table(ledger)
    table.fold(received(0))
    table.fold(observed(triggered(table.entry())))
    table.fold(observed(run_ended(table.entry())))
    partitions.rebuild({0})
    assert partitions.entry(0, b"k", 0).status is Status.SUCCEEDED
