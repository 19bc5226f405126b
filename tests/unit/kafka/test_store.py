"""The table in a real RocksDB, without a broker."""

import gc

import pytest

from streamapp.clock import SystemClock
from streamapp.core.errors import Unsafe
from streamapp.kafka.audit import PORTION, Snapshot, digest
from streamapp.kafka.dispatches import new_app, new_table
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
