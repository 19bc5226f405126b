from hypothesis import given
from hypothesis import strategies as st

from streamapp.core.effects import Free, Queued, Settled
from streamapp.wire.rows import (
    FREE,
    QUEUES,
    SETTLED,
    after_queue,
    parse_key,
    parse_row,
    queue_prefix,
    row_key,
    row_value,
)
from tests.support.strategies import blobs, entries, holders, keys, offsets, row_keys, standings


@given(entries | holders | standings)
def test_a_row_comes_back_exactly(row):
    assert parse_row(row_value(row)) == row


@given(row_keys)
def test_a_row_key_comes_back_exactly(key):
    assert parse_key(row_key(key)) == key


@given(st.lists(row_keys, unique=True))
def test_different_row_keys_are_different_bytes(some):
    assert len({row_key(key) for key in some}) == len(some)


@given(blobs, st.lists(offsets, unique=True))
def test_the_entries_of_a_key_stand_in_offset_order(key, some):
    placed = sorted(some, key=lambda offset: row_key(Queued(key, offset)))
    assert placed == sorted(some)


@given(st.lists(st.tuples(blobs, offsets), unique=True))
def test_the_entries_of_a_key_stand_side_by_side_and_are_skipped_by_one_seek(places):
    rows = sorted(row_key(Queued(key, offset)) for key, offset in places)
    wanted = {key for key, _ in places}
    found = []
    at = QUEUES
    while (row := next((row for row in rows if row >= at), None)) is not None:
        key = parse_key(row).key
        found.append(key)
        assert row.startswith(queue_prefix(key))
        assert row < after_queue(key)
        at = after_queue(key)
    assert sorted(found) == sorted(wanted)


@given(keys, offsets)
def test_each_kind_of_row_has_its_own_range(key, offset):
    assert row_key(Queued(key or b"", offset)).startswith(QUEUES)
    assert row_key(Free(offset)).startswith(FREE)
    assert row_key(Settled(key, offset)).startswith(SETTLED)
