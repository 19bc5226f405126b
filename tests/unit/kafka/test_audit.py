from streamapp.kafka.audit import Comparison, Rebuilt, Snapshot, compare, digest


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


def test_a_snapshot_travels_as_lines():
    there = snapshot(7, a=b"1", b=b"2")
    assert Snapshot.parse(list(there.lines())) == there
    assert Snapshot.parse(list(snapshot(None).lines())) == snapshot(None)
