"""The table in a real RocksDB, without a broker."""

import gc
from types import SimpleNamespace

import faust
import pytest
from faust.types import TP

from streamapp.clock import SystemClock
from streamapp.core.errors import TooLarge, Unsafe
from streamapp.kafka.audit import PORTION, Snapshot, digest
from streamapp.kafka.dispatches import new_app, new_table
from streamapp.kafka.store import RECORD_OVERHEAD_BYTES
from streamapp.settings import Settings

ROWS = [(b"k%d" % number, b"v%d" % number) for number in range(3 * PORTION)]


@pytest.fixture
async def table(tmp_path):
    """A partition with some rows, and one that is empty."""
    table = new_table(new_app(Settings(), SystemClock(), datadir=tmp_path), Settings())
    for partition in (0, 1):
        table.data._db_for_partition(partition)
    table.follow(0, ROWS, 4711)
    yield table
    await table.data.stop()


async def test_fingerprints_are_those_of_one_moment(table):
    portions = table.fingerprints(0)
    text = next(portions)
    table.follow(0, [(b"k1", b"changed"), (b"k2", None), (b"later", b"")], 4714)
    text += b"".join(portions)
    assert Snapshot.parse(text.decode()) == Snapshot(4711, {digest(key): digest(value) for key, value in ROWS})


async def test_an_empty_table_and_one_that_is_not_here(table):
    assert Snapshot.parse(b"".join(table.fingerprints(1)).decode()) == Snapshot(None, {})
    assert table.fingerprints(2) is None


async def test_a_table_that_is_taken_away_is_let_go_at_once(table):
    portions = table.fingerprints(0)
    next(portions)
    table.data._dbs.clear()
    with pytest.raises(Unsafe, match="taken away"):
        next(portions)
    gc.collect()  # as Faust does when it closes one
    table.data._db_for_partition(0)  # its lock is free
    assert table.get(0, b"k1") == b"v1"


# What folds write


def answered(offset):
    """The changelog's acknowledgement of a row."""
    return SimpleNamespace(result=lambda: SimpleNamespace(offset=offset))


def has(table, partition):
    return dict(table.scan(partition, b"")), table.data.persisted_offset(TP(table._changelog, partition))


async def test_rows_enter_with_the_offset_of_the_last_one(table):
    """A restoration begins there: too low, and it reads again; too high, and the table lacks rows for good."""
    table.enter(1, [(b"a", b"1"), (b"b", b"2")], answered(1))
    assert has(table, 1) == ({b"a": b"1", b"b": b"2"}, 1)
    table.enter(1, [(b"a", None), (b"c", b"3")], answered(3))
    assert has(table, 1) == ({b"b": b"2", b"c": b"3"}, 3)


async def test_rows_that_the_changelog_had_already_enter_where_they_follow(table):
    """From a request whose answer was lost: the broker does not tell where they stand."""
    table.enter(1, [(b"a", b"1"), (b"b", b"2")], answered(-1))
    assert has(table, 1)[1] == 1
    table.enter(1, [(b"c", b"3")], answered(2))
    assert has(table, 1)[1] == 2


@pytest.mark.parametrize("offset", [0, 2])
async def test_rows_that_do_not_follow_what_is_there_do_not_enter(table, offset):
    with pytest.raises(Unsafe, match="neither wrote nor read: expected its own at 1, found it at"):
        table.enter(1, [(b"a", b"1"), (b"b", b"2")], answered(offset))
    assert has(table, 1) == ({}, None)


async def test_after_partitions_have_moved_the_offset_is_that_of_the_database(table, monkeypatch):
    """What others wrote meanwhile was followed: what was counted before is out of date."""
    moved = []

    async def stock(self, *what):
        moved.append(what)

    monkeypatch.setattr(faust.Table, "on_rebalance", stock)
    table.enter(1, [(b"a", b"1")], answered(0))
    table.follow(1, [(b"b", b"2")], 7)
    await table.on_rebalance(set(), set(), set(), 3)
    assert moved == [(set(), set(), set(), 3)]
    table.enter(1, [(b"c", b"3")], answered(8))
    assert has(table, 1)[1] == 8


async def test_while_partitions_move_no_record_of_a_changelog_is_taken(table, monkeypatch):
    async def stock(self, *_):
        assert not table.app.restoring.expects(tp, 0)

    tp = TP(table._changelog, 1)
    table.app.restoring.go_to({tp: 0}, {tp: 0})
    monkeypatch.setattr(faust.Table, "on_rebalance", stock)
    await table.on_rebalance(set(), set(), set())


async def test_databases_of_new_standbys_are_opened_and_no_others(table, monkeypatch):
    """What comes in of a standby whose database is not open is lost to it."""

    async def stock(self, *_):
        pass

    changelog = table._changelog
    standbys = {TP(changelog, 2), TP(changelog, 3), TP("another", 4)}
    monkeypatch.setattr(faust.Table, "on_rebalance", stock)
    monkeypatch.setattr(table.app.assignor, "assigned_standbys", lambda: standbys)
    await table.on_rebalance(set(), set(), {TP(changelog, 2), TP("another", 4), TP(changelog, 5)})
    assert [number for number in range(6) if table.is_open(number)] == [0, 1, 2]


async def test_how_large_a_row_may_be(table):
    """Larger ones are refused by the broker, and stop the worker: their command has to be turned away before."""
    room = table.max_row_bytes - RECORD_OVERHEAD_BYTES
    table.check_size(b"key", b"v" * (room - 3))
    table.check_size(b"key", None)
    with pytest.raises(TooLarge, match=f"would take {table.max_row_bytes + 1} bytes"):
        table.check_size(b"key", b"v" * (room - 2))


async def test_rows_are_read_in_order_from_a_key_on(table):
    table.follow(1, [(b"b", b"2"), (b"c", b"3"), (b"a", b"1")], 2)
    assert list(table.scan(1, b"")) == [(b"a", b"1"), (b"b", b"2"), (b"c", b"3")]
    assert list(table.scan(1, b"aa")) == [(b"b", b"2"), (b"c", b"3")]


async def test_a_database_that_is_not_here_is_never_made_anew(table):
    """Its rows would be missing, and nobody would notice."""
    assert (table.is_open(0), table.is_open(2)) == (True, False)
    for use in (
        lambda: table.get(2, b"k"),
        lambda: list(table.scan(2, b"")),
        lambda: table.follow(2, [(b"k", b"v")], 0),
        lambda: table.enter(2, [(b"k", b"v")], answered(0)),
    ):
        with pytest.raises(Unsafe, match="not open on this worker"):
            use()
    assert not table.is_open(2)


async def test_the_dictionary_is_closed(table):
    """It would write the database before the changelog."""
    with pytest.raises(TypeError, match="append"):
        table[b"k"] = b"v"
