"""G6: what a command costs, in operations of a real RocksDB, is the same whatever else the table holds."""

from contextlib import closing

import pytest

from streamapp.core.model import Status
from streamapp.dispatch.prune import READ_PER_TURN, REMOVED_PER_TURN
from streamapp.kafka.store import BLOCK_CACHE_BYTES, WRITE_BUFFER_BYTES
from tests.support.builders import entry
from tests.support.counted import RETENTION, CountedRocks, Stage

REMEMBERED = 1_000_000
DEEP = 100_000


@pytest.fixture
def stage(tmp_path):
    with closing(CountedRocks(tmp_path / "table.db")) as ledger:
        yield Stage(ledger)


@pytest.fixture(scope="module")
def remembering(tmp_path_factory):
    """A table that remembers a million commands."""
    with closing(CountedRocks(tmp_path_factory.mktemp("full") / "table.db")) as ledger:
        stage = Stage(ledger)
        stage.fill(ended=REMEMBERED)
        yield stage


def way(stage, key, **fields):
    """What the steps of a command cost: to take one in, to start the first of its queue, and to end that one."""
    running = []
    return [
        stage.cost(lambda: stage.accept(key, **fields)),
        stage.cost(lambda: running.append(stage.start())),
        stage.cost(lambda: stage.end(running[0])),
    ]


def test_what_a_command_costs(stage):
    accepted, triggered, ended = way(stage, b"k")
    assert accepted == {"gets": 4, "changelog records": 2, "atomic writes": 1, "rows written": 2}
    assert triggered == {"gets": 6, "changelog records": 1, "atomic writes": 1, "rows written": 1}
    assert ended == {"gets": 3, "changelog records": 2, "atomic writes": 1, "rows written": 2}


@pytest.mark.parametrize("key", [b"k", None])
def test_with_a_million_remembered_ids(stage, remembering, key):
    empty = way(stage, key)
    for _ in range(100):
        assert way(remembering, key) == empty


def test_a_duplicate_of_a_remembered_id(stage, remembering):
    stage.fill(ended=1)
    empty = stage.cost(lambda: stage.accept(b"another key", id="c0"))
    assert remembering.cost(lambda: remembering.accept(b"another key", id="c0")) == empty
    assert remembering.outlet.sent[Status.DUPLICATE] == 1


def test_with_a_hundred_thousand_commands_in_the_queue(stage, tmp_path):
    """The comparison is a queue in which one command waits; both were restored, so that no more is known of the end."""
    with closing(CountedRocks(tmp_path / "short.db")) as ledger:
        short = Stage(ledger)
        short.fill(queued=2)
        near = way(short, b"hot")
    stage.fill(queued=DEEP)
    for _ in range(500):
        assert way(stage, b"hot") == near
    assert near[2]["steps"] <= 2


def test_a_restored_queue_is_found_with_one_look_at_each_key(stage):
    stage.fill(queued=DEEP)
    stage.fill(queued=DEEP, key=b"other")
    assert stage.cost(lambda: list(stage.partitions.rebuild({0}))) == {"gets": 4, "seeks": 5, "steps": 3}


def test_with_a_key_that_is_blocked_for_long(stage):
    empty = way(stage, b"free")
    stage.fill(queued=DEEP, first=entry(status=Status.BLOCKED, attempt=1))
    for _ in range(500):
        assert way(stage, b"free") == empty
    assert stage.cost(lambda: stage.accept(b"hot")) == empty[0]
    assert not stage.ready.takeable


def test_forgetting_costs_two_records_each_and_a_bounded_turn(stage, remembering):
    """Last in this file: it makes the table forget."""
    remembering.clock.advance(RETENTION)
    remembering.prune()
    for _ in range(200):
        costs = remembering.cost(remembering.prune)
        assert costs["steps"] <= REMOVED_PER_TURN + 1
        assert costs["changelog records"] == 2 * REMOVED_PER_TURN
        assert {name: costs[name] for name in ("seeks", "gets", "atomic writes")} == {
            "seeks": 1,
            "gets": REMOVED_PER_TURN,
            "atomic writes": 1,
        }
    assert remembering.pruner.pruned == 200 * REMOVED_PER_TURN
    empty = way(stage, b"k")
    for _ in range(100):
        remembering.prune()
        assert way(remembering, b"k") == empty


def test_looking_through_what_stays_is_bounded_too(stage):
    stage.fill(ended=5 * READ_PER_TURN)
    stage.prune()
    for _ in range(5):
        assert stage.cost(stage.prune) == {"seeks": 1, "steps": READ_PER_TURN}
    assert stage.cost(stage.prune) == {"seeks": 2, "steps": 1}  # the end, and what operators have said
    assert stage.cost(stage.prune) == {}  # until something can be of age


def test_the_memory_of_a_database_is_bounded(stage):
    properties = stage.ledger.database.property_int_value
    assert properties("rocksdb.block-cache-capacity") == BLOCK_CACHE_BYTES
    stage.fill(ended=100_000)
    assert properties("rocksdb.size-all-mem-tables") <= 3 * WRITE_BUFFER_BYTES
    assert properties("rocksdb.block-cache-usage") <= BLOCK_CACHE_BYTES
