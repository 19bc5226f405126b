import pytest

from streamapp.kafka.audit import PORTION, Comparison, Rebuilt, Snapshot, compare, digest, portions


def snapshot(offset, **rows):
    return Snapshot(offset, {digest(key.encode()): digest(value) for key, value in rows.items()})


def rebuilt(offset, *records):
    table = Rebuilt(offset)
    for number, (key, value) in enumerate(records):
        table.add(number, key.encode(), value)
    return table


def test_equal_tables():
    found = compare(snapshot(2, a=b"2", b=b"1"), rebuilt(2, ("a", b"1"), ("b", b"1"), ("a", b"2")))
    assert found == Comparison(compared=2, missing=0, phantom=0, different=0)
    assert found.equal


def test_each_way_to_differ_is_counted():
    live = snapshot(3, same=b"1", changed=b"other", phantom=b"1", removed=b"1")
    log = rebuilt(3, ("same", b"1"), ("changed", b"1"), ("missing", b"1"), ("removed", None))
    found = compare(live, log)
    assert (found.missing, found.phantom, found.different) == (1, 2, 1)
    assert not found.equal


def test_what_was_written_after_the_snapshot_is_left_out():
    assert compare(snapshot(0, a=b"1"), rebuilt(0, ("a", b"1"), ("a", b"2"), ("b", b"1"))).equal


def test_an_empty_table_has_no_offset():
    assert compare(snapshot(None), rebuilt(None, ("a", b"1"))).equal


@pytest.mark.parametrize("count", [0, 1, PORTION - 2, PORTION - 1, PORTION, 3 * PORTION])
def test_a_table_travels_in_portions(count):
    rows = {b"%d" % number: b"v%d" % number for number in range(count)}
    sent = list(portions(7, rows.items()))
    assert all(len(portion.splitlines()) <= PORTION for portion in sent)
    there = Snapshot(7, {digest(key): digest(value) for key, value in rows.items()})
    assert Snapshot.parse(b"".join(sent).decode()) == there


def test_an_empty_table_travels():
    assert Snapshot.parse(b"".join(portions(None, [])).decode()) == snapshot(None)
