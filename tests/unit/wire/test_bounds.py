"""Where the line is, to one part: `test_codec` has what becomes of a record beyond it."""

from functools import reduce

import pytest
from fastavro import parse_schema

from streamapp.wire.bounds import boundless, unchecked
from streamapp.wire.schemas import COMMAND, CONTROL, OUTCOME

ENUM = {"type": "enum", "name": "E", "symbols": ["a"]}


def record(name, *types, kind="record"):
    return {
        "type": kind,
        "name": name,
        "fields": [{"name": f"f{number}", "type": type_} for number, type_ in enumerate(types)],
    }


def nulls(number):
    return ["null"] * number


def array(items):
    return {"type": "array", "items": items}


def fixed(size):
    return {"type": "fixed", "name": "F", "size": size}


def refused(*types, kind="record"):
    return boundless(parse_schema(record("Top", *types, kind=kind)))


@pytest.mark.parametrize("kind", ["record", "error"])
def test_a_record_and_its_fields_are_parts_of_which_64_are_free(kind):
    assert not refused(*nulls(63), kind=kind)
    assert refused(*nulls(64), kind=kind)


@pytest.mark.parametrize(
    ("type_", "free"),
    [
        ("null", 62),
        (record("Empty"), 62),
        (fixed(0), 62),
        *((name, 70) for name in ("boolean", "int", "long", "float", "double", "bytes", "string")),
        (ENUM, 70),
        (fixed(1), 70),
        (fixed(2), 78),
        (array("int"), 70),
        ({"type": "map", "values": "int"}, 70),
        ({"type": "string"}, 70),
        (["null", "int"], 69),
        (["int", "null"], 69),
        (["int", "string"], 70),
        (["int", record("Dear", "null", "int", "null")], 70),
    ],
    ids=str,
)
def test_each_byte_that_a_part_takes_pays_for_eight(type_, free):
    """As few as there may be: an array may be empty, and of a union the part may be taken that pays least."""
    assert not refused(type_, *nulls(free))
    assert refused(type_, *nulls(free + 1))


@pytest.mark.parametrize("last", ["int", "string", ENUM, fixed(3), array("int"), ["int"]], ids=str)
def test_a_part_counts_before_its_bytes_have_paid(last):
    """The value may be cut short there."""
    assert not refused(*nulls(62), last)
    assert refused(*nulls(63), last)


@pytest.mark.parametrize("after", [[], ["int"], ["int"] * 100])
def test_what_is_paid_later_is_too_late(after):
    assert refused(*nulls(64), *after)


def test_what_is_used_by_its_name_counts_again():
    empty = record("Empty")
    assert not refused(empty, *["Empty"] * 31)
    assert refused(empty, *["Empty"] * 31, "null")


@pytest.mark.parametrize("taken", [["int"], []], ids=["behind", "alone"])
@pytest.mark.parametrize("turned", [False, True])
def test_a_union_is_as_dear_as_its_dearest(turned, taken):
    dear, dearer = record("Dear", *nulls(68)), record("Dear", *nulls(71))
    for type_, result in ((dear, False), (dearer, True)):
        types = [*taken, type_]
        assert refused(types[::-1] if turned else types) is result


@pytest.mark.parametrize("many", [array, lambda items: {"type": "map", "values": items}], ids=["array", "map"])
def test_an_item_pays_for_itself(many):
    """A map's by the name that each has; an array's by what is in it."""
    paid = [] if many is not array else ["int"]
    assert not refused(many(record("Item", *paid, *nulls(6))))
    assert refused(many(record("Item", *paid, *nulls(7))))


def nested(times, leaf):
    return reduce(lambda inner, number: record(f"R{number}", "int", inner), range(times), leaf)


@pytest.mark.parametrize("leaf", ["null", "int", fixed(4), ENUM], ids=str)
@pytest.mark.parametrize("wrapped", [lambda part: part, lambda part: [part, "int"], lambda part: ["int", part]])
def test_parts_nest_to_a_depth_of_500(wrapped, leaf):
    deepest = 498 if wrapped("int") == "int" else 497
    assert not refused(wrapped(nested(deepest, leaf)))
    assert refused(wrapped(nested(deepest + 1, leaf)))


@pytest.mark.parametrize("after", [[], ["int"]])
def test_arrays_nest_to_a_depth_of_500(after):
    deep = reduce(lambda inner, _: array(inner), range(498), "int")
    assert not refused(deep, *after)
    assert refused(array(deep), *after)


def test_a_schema_that_can_not_be_followed_has_no_bounds():
    assert boundless({"type": "array"})
    assert boundless("event.Missing")


@pytest.mark.parametrize("schema", [COMMAND, OUTCOME, CONTROL, "string", ["null", "int"]], ids=str)
def test_most_values_are_read_without_a_look_at_each_part(schema):
    """Which takes half as long again."""
    assert not unchecked(schema)


@pytest.mark.parametrize("type_", ["boolean", "float", "double", fixed(1)], ids=str)
@pytest.mark.parametrize(
    "within", [lambda part: part, array, lambda part: ["null", part], lambda part: record("R", part)]
)
def test_what_is_not_looked_for_is_found_wherever_it_stands(within, type_):
    assert unchecked(within(type_))
    assert unchecked(parse_schema(record("Top", "int", within(type_), "string")))


def test_a_schema_that_refers_to_itself_is_looked_through_once():
    node = parse_schema(record("Node", "int", ["null", "Node"]))
    node["fields"].append({"name": "again", "type": node})
    assert not unchecked(node)
