import decimal
import functools
import json
import time
import uuid
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from fastavro import parse_schema

from streamapp.core.errors import Unavailable
from streamapp.core.model import Command, Reason, Rejection, Source
from streamapp.wire.avro import AvroWriter
from streamapp.wire.bounds import boundless
from streamapp.wire.codec import CommandDecoder, CommandEncoder
from streamapp.wire.headers import CE_ID
from streamapp.wire.records import CommandRecord
from streamapp.wire.schemas import COMMAND
from tests.support.fake_registry import FakeRegistry
from tests.support.instant_clock import InstantClock

AT = datetime(2026, 1, 2, 3, 4, 5, 678000, tzinfo=UTC)
MILLIS = 1767323045678
POSITION_ID = f"commands-3-42-{MILLIS}"
FULL = {
    "command": "app.probe",
    "params": '{"n": 1}',
    "id": "order-1",
    "not_before": AT,
    "deadline": AT + timedelta(hours=1),
    "correlation_id": "c",
    "causation_id": "d",
}
JSON_FULL = {**FULL, "not_before": "2026-01-02T03:04:05.678Z", "deadline": "2026-01-02T05:04:05.678999+01:00"}
ROUTED = {"command": "app.probe", "params": "{}"}
MAX_BYTES = 1000


@pytest.fixture
def registry():
    return FakeRegistry()


@pytest.fixture
def decode(registry):
    decoder = CommandDecoder(registry.client(InstantClock()), MAX_BYTES)

    async def decode(value, headers=(), key=None, decoder=decoder):
        if isinstance(value, dict):
            value = json.dumps(value).encode()
        return await decoder.decode(
            source=Source("commands", 3, 42), key=key, value=value, headers=headers, recorded_at=AT
        )

    return decode


def schema(*fields, name="EventSchema", namespace="event"):
    return {
        "type": "record",
        "namespace": namespace,
        "name": name,
        "fields": [{"name": name, "type": type_} for name, type_ in fields],
    }


async def test_a_json_command_with_every_field(decode):
    assert await decode(JSON_FULL) == Command(**FULL)


async def test_an_avro_command_with_every_field(decode, registry):
    assert await decode(registry.framed(COMMAND, FULL)) == Command(**FULL)


@pytest.mark.parametrize(
    "fields",
    [
        {"command": "app.probe", "params": "{}"},
        {"event": "app.probe", "params": "{}"},
        {"command": None, "event": "app.probe", "params": "{}", "id": None, "deadline": None},
        {"command": "app.probe", "event": "something else", "params": "{}"},
        {"command": "app.probe", "params": "{}", "unknown": {"more": [1]}},
    ],
)
async def test_the_least_a_json_command_needs(decode, fields):
    assert await decode(fields) == Command(**ROUTED, id=POSITION_ID)


@pytest.mark.parametrize(
    ("fields", "content"),
    [
        ([("command", "string"), ("params", "string")], ROUTED),
        ([("event", "string"), ("params", "string")], {"event": "app.probe", "params": "{}"}),
        ([("params", "string"), ("command", "string")], ROUTED),
        ([("command", "string"), ("event", "string"), ("params", "string")], {**ROUTED, "event": "x"}),
        ([("event", "int"), ("command", "string"), ("params", "string")], {**ROUTED, "event": 1}),
        ([("command", ["string", "null"]), ("params", ["null", "string"])], ROUTED),
        ([("command", "bytes"), ("params", "string")], {"command": b"app.probe", "params": "{}"}),
        ([("command", "string"), ("params", "string"), ("id", ["null", "int", "string"])], {**ROUTED, "id": None}),
        (
            [
                ("more", {"type": "array", "items": schema(("a", "double"), name="More")}),
                ("command", "string"),
                ("params", "string"),
                ("map", {"type": "map", "values": "string"}),
            ],
            {**ROUTED, "more": [{"a": 1.5}], "map": {"a": "b"}},
        ),
    ],
    ids=str,
)
async def test_writers_schemas_that_resolve(decode, registry, fields, content):
    assert await decode(registry.framed(schema(*fields), content)) == Command(**ROUTED, id=POSITION_ID)


async def test_a_record_of_the_same_name_in_another_namespace_resolves(decode, registry):
    fields = ("command", "string"), ("params", "string")
    value = registry.framed(schema(*fields, namespace="shop"), ROUTED)
    assert await decode(value) == Command(**ROUTED, id=POSITION_ID)


async def test_a_record_within_a_union_resolves(decode, registry):
    writer = schema(("event", "int"), ("command", "string"), ("params", "string"))
    value = registry.framed(["null", writer], {**ROUTED, "event": 1})
    assert await decode(value) == Command(**ROUTED, id=POSITION_ID)


@pytest.mark.parametrize(
    ("type_", "content"),
    [
        ("long", MILLIS),
        ({"type": "long", "logicalType": "timestamp-millis"}, AT),
        (["long", "null"], MILLIS),
        ({"type": "long", "logicalType": "timestamp-micros"}, AT + timedelta(microseconds=999)),
    ],
    ids=str,
)
async def test_times_of_other_writers(decode, registry, type_, content):
    wider = schema(("command", "string"), ("params", "string"), ("deadline", type_))
    command = await decode(registry.framed(wider, {**ROUTED, "deadline": content}))
    assert command.deadline == AT


async def test_a_uuid_as_id(decode, registry):
    wider = schema(("command", "string"), ("params", "string"), ("id", {"type": "string", "logicalType": "uuid"}))
    id_ = uuid.UUID(int=1)
    assert (await decode(registry.framed(wider, {**ROUTED, "id": id_}))).id == str(id_)


@pytest.mark.parametrize(
    ("fields", "content"),
    [
        ([("command", "string")], {"command": "app.probe"}),
        ([("params", "string")], {"params": "{}"}),
        ([("command", ["null", "string"]), ("params", "string")], {"command": None, "params": "{}"}),
        ([("command", "int"), ("params", "string")], {"command": 1, "params": "{}"}),
        ([("command", "string"), ("params", {"type": "map", "values": "int"})], {"command": "a.b", "params": {}}),
        ([("command", "string"), ("params", "string"), ("id", ["null", "int"])], {**ROUTED, "id": 1}),
        ([("command", "string"), ("params", "string"), ("deadline", "long")], {**ROUTED, "deadline": 2**62}),
        (
            [("command", "string"), ("params", "string"), ("deadline", {"type": "int", "logicalType": "date"})],
            {**ROUTED, "deadline": AT.date()},
        ),
        (
            [
                ("command", "string"),
                ("params", "string"),
                ("deadline", {"type": "long", "logicalType": "local-timestamp-millis"}),
            ],
            {**ROUTED, "deadline": AT.replace(tzinfo=None)},
        ),
    ],
    ids=str,
)
async def test_writers_schemas_that_do_not_resolve(decode, registry, fields, content):
    rejection = await decode(registry.framed(schema(*fields), content))
    assert rejection.reason is Reason.INVALID_COMMAND
    assert rejection.id == POSITION_ID


async def test_a_time_that_no_calendar_has(decode, registry):
    long_schema = schema(("command", "string"), ("params", "string"), ("deadline", "long"))
    body = registry.framed(long_schema, {**ROUTED, "deadline": 2**62})[5:]
    time = {"type": "long", "logicalType": "timestamp-millis"}
    id_ = registry.add(schema(("command", "string"), ("params", "string"), ("deadline", time)))
    assert (await decode(b"\0" + id_.to_bytes(4, "big") + body)).reason is Reason.INVALID_COMMAND


NODE = {"type": "record", "name": "Node", "fields": [{"name": "next", "type": ["null", "Node"]}]}
PAIR = {
    "type": "record",
    "name": "A",
    "fields": [
        {"name": "b", "type": {"type": "record", "name": "B", "fields": [{"name": "a", "type": ["null", "A"]}]}}
    ],
}
EMPTY = {"type": "record", "name": "Empty", "fields": [{"name": "nothing", "type": "null"}]}
DEEP = functools.reduce(lambda inner, _: {"type": "array", "items": inner}, range(400), "int")


def record(name, *types, **more):
    fields = [{"name": f"f{number}", "type": type_} for number, type_ in enumerate(types)]
    return {"type": "record", "name": name, "fields": fields, **more}


def doubled(times, inner):
    """Records of two records: a schema of a few lines, of which a value has 2**times parts."""
    return functools.reduce(lambda made, n: record(f"R{n}", made, made["name"]), range(times), record("R", inner))


@pytest.mark.parametrize(
    "type_",
    [
        ["null", NODE],
        PAIR,
        {"type": "map", "values": ["null", NODE]},
        {"type": "array", "items": "null"},
        {"type": "array", "items": EMPTY},
        {"type": "array", "items": {"type": "fixed", "name": "F", "size": 0}},
        {"type": "map", "values": {"type": "array", "items": "null"}},
        doubled(12, "null"),
        doubled(12, {"type": "fixed", "name": "F", "size": 0}),
        record("Late", doubled(12, "null"), record("Dear", *["string"] * 1000)),
        {"type": "array", "items": record("Item", *["null"] * 20, "int")},
        {"type": "map", "values": record("Item", *["null"] * 20)},
        {"type": "array", "items": ["int", record("Item", *["null"] * 20)]},
    ],
    ids=lambda type_: str(type_)[:60],
)
async def test_a_schema_of_values_without_bounds_is_not_read(decode, registry, type_):
    """fastavro would end the process for the one, and never come back from the other."""
    id_ = registry.add(schema(("more", type_), ("command", "string"), ("params", "string")))
    rejection = await decode(b"\0" + id_.to_bytes(4, "big") + b"\x02" * 500)
    assert rejection.reason is Reason.INVALID_COMMAND
    assert "no bounds" in rejection.detail


@pytest.mark.parametrize(
    ("type_", "content"),
    [
        ({"type": "record", "name": "P", "fields": [{"name": "a", "type": EMPTY}, {"name": "b", "type": "Empty"}]},
         {"a": {"nothing": None}, "b": {"nothing": None}}),
        ({"type": "array", "items": ["null", EMPTY]}, [None, {"nothing": None}]),
        ({"type": "array", "items": {"type": "enum", "name": "E", "symbols": ["a"]}}, ["a"]),
        ({"type": "array", "items": record("A", record("B", record("C", "boolean")))}, [{"f0": {"f0": {"f0": True}}}]),
        (record("Nulls", *["null"] * 50), {f"f{number}": None for number in range(50)}),
        (DEEP, []),
    ],
    ids=lambda type_: str(type_)[:60],
)  # fmt: skip
async def test_a_strange_schema_with_bounds_is_read(decode, registry, type_, content):
    wider = schema(("more", type_), ("command", "string"), ("params", "string"))
    assert isinstance(await decode(registry.framed(wider, {**ROUTED, "more": content})), Command)


COMMAND_FIELDS = ("command", "string"), ("params", "string")
ENDLESS = {"event.X": record("event.X", {"type": "array", "items": "null"})}


@pytest.mark.parametrize(
    "writer",
    [
        {**schema(("more", "event.X"), *COMMAND_FIELDS), "__fastavro_parsed": True, "__named_schemas": ENDLESS},
        [
            record("event.X", "int", __fastavro_parsed=True, __named_schemas=ENDLESS),
            schema(("more", "event.X"), *COMMAND_FIELDS),
        ],
        [
            record("event.X", "int"),
            record("event.E", record("X", "null", namespace="")),
            schema(("more", {"type": "array", "items": "event.X"}), *COMMAND_FIELDS),
        ],
    ],
    ids=["that stands nowhere", "in its place", "of almost its name"],
)
async def test_a_schema_that_smuggles_in_another_type_is_not_read(decode, registry, writer):
    """fastavro takes what it leaves in a schema for its own, whoever has written it."""
    rejection = await decode(b"\0" + registry.add(writer).to_bytes(4, "big") + b"\x02" * 500)
    assert rejection.reason is Reason.INVALID_COMMAND
    assert "no bounds" in rejection.detail


async def test_a_schema_that_nests_too_deep_is_not_read(decode, registry):
    """Each of its types by itself is flat."""
    types = [record("R", "int"), *(record(f"R{n}", "int", f"R{n - 1}" if n else "R") for n in range(600))]
    writer = schema(*((type_["name"], ["null", type_]) for type_ in types), *COMMAND_FIELDS)
    rejection = await decode(b"\0" + registry.add(writer).to_bytes(4, "big") + b"\x02" * 500)
    assert "no bounds" in rejection.detail


def test_a_look_at_a_schema_takes_no_longer_where_its_types_are_used_again():
    """Each of them holds all those before it."""
    inner = record("Wide", *["int"] * 2000)
    for number in range(200):
        inner = record(f"Deep{number}", inner)
    once = parse_schema(record("Once", inner))
    again = parse_schema(record("Again", inner, *(["null", f"Deep{number}"] for number in range(200))))

    def took(schema):
        began = time.process_time_ns()
        boundless(schema)
        return time.process_time_ns() - began

    assert min(took(again) for _ in range(3)) < 20 * min(took(once) for _ in range(3))


async def spent(decode, value, **more):
    """What the processor had to do until the value was rejected, at the best of three times."""
    times = []
    for _ in range(3):
        began = time.process_time_ns()
        assert isinstance(await decode(value, **more), Rejection)
        times.append(time.process_time_ns() - began)
    return min(times)


UNCHECKED = [("boolean", True), ("float", 1.5), ("double", 1.5), ({"type": "fixed", "name": "F", "size": 3}, b"abc")]


@pytest.mark.parametrize(("type_", "content"), UNCHECKED, ids=str)
async def test_a_value_that_lacks_its_end_is_damaged(decode, registry, type_, content):
    """Also where fastavro does not look whether it is there."""
    whole = registry.framed(schema(*COMMAND_FIELDS, ("more", type_)), {**ROUTED, "more": content})
    assert isinstance(await decode(whole), Command)
    assert (await decode(whole[:-1])).reason is Reason.UNDECODABLE


@pytest.mark.parametrize(("type_", "content"), UNCHECKED, ids=str)
async def test_an_empty_text_beside_it_lacks_nothing(decode, registry, type_, content):
    fields = ("more", type_), ("note", "string"), *COMMAND_FIELDS, ("correlation_id", "string")
    value = registry.framed(schema(*fields), {**ROUTED, "more": content, "note": "", "correlation_id": ""})
    assert await decode(value) == Command(**ROUTED, id=POSITION_ID, correlation_id="")


@pytest.mark.parametrize("type_", [type_ for type_, _ in UNCHECKED], ids=str)
async def test_an_array_that_lacks_its_items_is_not_waited_for(decode, registry, type_):
    """In a few bytes it may say that it has 2**62 of them."""
    items = {"type": "array", "items": type_}
    framing = b"\0" + registry.add(schema(*COMMAND_FIELDS, ("more", items))).to_bytes(4, "big")
    short = framing + AvroWriter(0, schema(*COMMAND_FIELDS)).write(ROUTED)[5:]
    one, million = short + b"\x02", short + b"\x80\x89\x7a"
    assert await spent(decode, million) < 100 * await spent(decode, one)


DECIMAL = {"type": "bytes", "logicalType": "decimal", "precision": 500_000, "scale": 2}


@pytest.mark.parametrize(
    ("field", "size", "reason", "told"),
    [
        ("params", 8, Reason.INVALID_PARAMS, "write the object as text"),
        ("id", 8, Reason.INVALID_COMMAND, "id must be a string"),
        ("deadline", 8, Reason.INVALID_COMMAND, "another type"),
        ("params", 2000, Reason.INVALID_COMMAND, "another type"),
        ("id", 2000, Reason.INVALID_COMMAND, "another type"),
    ],
)
async def test_a_decimal_is_no_field_of_a_command(decode, registry, field, size, reason, told):
    """Nor the bytes of one a string, although bytes may be."""
    types = {"command": "string", "params": "string", field: DECIMAL}
    values = {**ROUTED, field: decimal.Decimal(int.from_bytes(b"0" * size)).scaleb(-2, decimal.Context(prec=6000))}
    large = CommandDecoder(registry.client(InstantClock()), 100_000)
    rejection = await decode(registry.framed(schema(*types.items()), values), decoder=large)
    assert rejection.reason is reason
    assert told in rejection.detail


async def test_a_long_decimal_is_rejected_as_fast_as_other_bytes(decode, registry):
    """A command of the largest size would take seconds, in which no heartbeat goes out."""
    large = CommandDecoder(registry.client(InstantClock()), 100_000)
    body = AvroWriter(0, schema(*COMMAND_FIELDS, ("id", "bytes"))).write({**ROUTED, "id": b"0" * 60_000})[5:]

    async def took(type_):
        framing = b"\0" + registry.add(schema(*COMMAND_FIELDS, ("id", type_))).to_bytes(4, "big")
        return await spent(decode, framing + body, decoder=large)

    assert await took(DECIMAL) < 100 * await took("bytes")


async def test_a_record_of_another_name_does_not_resolve(decode, registry):
    value = registry.framed(schema(("command", "string"), ("params", "string"), name="Other"), ROUTED)
    assert (await decode(value)).reason is Reason.INVALID_COMMAND


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"command": ""}, Reason.INVALID_COMMAND),
        ({"command": " \t"}, Reason.INVALID_COMMAND),
        ({"command": "probe"}, Reason.INVALID_COMMAND),
        ({"command": "app."}, Reason.INVALID_COMMAND),
        ({"command": "app. "}, Reason.INVALID_COMMAND),
        ({"command": "app." + "x" * 247}, Reason.INVALID_COMMAND),
        ({"command": "app.\x00"}, Reason.INVALID_COMMAND),
        ({"command": None}, Reason.INVALID_COMMAND),
        ({"command": 1}, Reason.INVALID_COMMAND),
        ({"command": ["app.probe"]}, Reason.INVALID_COMMAND),
        ({"id": 1}, Reason.INVALID_COMMAND),
        ({"id": ""}, Reason.INVALID_COMMAND),
        ({"id": "x" * 501}, Reason.INVALID_COMMAND),
        ({"id": "a\nb"}, Reason.INVALID_COMMAND),
        ({"correlation_id": {}}, Reason.INVALID_COMMAND),
        ({"correlation_id": "\x00"}, Reason.INVALID_COMMAND),
        ({"causation_id": "x" * 501}, Reason.INVALID_COMMAND),
        ({"deadline": "2026-01-02T03:04:05"}, Reason.INVALID_COMMAND),
        ({"deadline": "soon"}, Reason.INVALID_COMMAND),
        ({"deadline": MILLIS}, Reason.INVALID_COMMAND),
        ({"not_before": True}, Reason.INVALID_COMMAND),
        ({"params": None}, Reason.INVALID_COMMAND),
        ({"params": {"n": 1}}, Reason.INVALID_PARAMS),
        ({"params": 1}, Reason.INVALID_PARAMS),
        ({"params": ""}, Reason.INVALID_PARAMS),
        ({"params": "[]"}, Reason.INVALID_PARAMS),
        ({"params": "{"}, Reason.INVALID_PARAMS),
        ({"params": '{"a": NaN}'}, Reason.INVALID_PARAMS),
        ({"params": '{"a": 1, "a": 2}'}, Reason.INVALID_PARAMS),
        ({"params": '{"a": "\\ud800"}'}, Reason.INVALID_PARAMS),
        ({"params": '{"a": "\\u0000"}'}, Reason.INVALID_PARAMS),
        ({"params": '{"a": "\\\\\\u0000"}'}, Reason.INVALID_PARAMS),
        ({"params": '{"_command": {}}'}, Reason.INVALID_PARAMS),
    ],
    ids=str,
)
async def test_fields_that_make_no_command(decode, change, reason):
    rejection = await decode({**ROUTED, **change})
    assert rejection.reason is reason
    assert rejection.id == POSITION_ID
    assert rejection.detail.endswith(".")


@pytest.mark.parametrize(
    "change",
    [
        {"command": "app." + "x" * 246},
        {"id": "x" * 500},
        {"correlation_id": "x" * 500},
        {"causation_id": "x" * 500},
    ],
    ids=lambda change: next(iter(change)),
)
async def test_the_longest_texts_are_taken(decode, change):
    command = await decode({**ROUTED, **change})
    assert isinstance(command, Command)
    assert {name: getattr(command, name) for name in change} == change


@pytest.mark.parametrize(
    ("change", "headers", "detail"),
    [
        ({"command": " "}, (), "The command is empty."),
        ({"id": ""}, (), "The id is empty: leave it out or give one."),
        ({"id": "x" * 501}, (), "The id has 501 characters; at most 500 are allowed."),
        ({"correlation_id": "x" * 501}, (), "The correlation_id has 501 characters; at most 500 are allowed."),
        ({"causation_id": "\t"}, (), "The causation_id has control characters in it."),
        ({}, ((CE_ID, b""),), "The header ce_id is empty: leave it out or give one."),
        ({}, ((CE_ID, b"\xff"),), "The header ce_id is not UTF-8."),
    ],
)
async def test_what_is_wrong_is_named(decode, change, headers, detail):
    assert (await decode({**ROUTED, **change}, headers)).detail == detail


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("app." + "x" * 246, "app." + "x" * 246),
        ("app." + "x" * 247, None),
        ("app.\x7f", None),
        (["app.probe"], None),
        ("probe", "probe"),
    ],
    ids=str,
)
async def test_a_rejection_shows_a_name_that_people_can_read(decode, name, shown):
    """Others would fill tables and outcomes, or move the cursor of a terminal."""
    rejection = await decode({"command": name, "params": "["})
    assert isinstance(rejection, Rejection)
    assert rejection.command == shown


@pytest.mark.parametrize("params", ['{"a": "\\\\u0000"}', '{"a": {"_command": 1}}', ' {"ü": [1.5e3]}\n'])
async def test_params_stay_as_they_are(decode, params):
    assert (await decode({**ROUTED, "params": params})).params == params


async def test_an_object_as_params_is_told_what_to_do(decode):
    assert "write the object as text" in (await decode({**ROUTED, "params": {"n": 1}})).detail


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"\xff\xfe",
        b"hello",
        b"[]",
        b"{",
        b"\xef\xbb\xbf{}",
        '{"command": "app.probe"'.encode("utf-16"),
        b"\x00\x00\x00",
    ],
)
async def test_values_that_are_neither_avro_nor_json(decode, value):
    assert await decode(value) == Rejection(
        reason=Reason.UNDECODABLE, detail=(await decode(value)).detail, id=POSITION_ID, command=None
    )


async def test_a_tombstone(decode):
    assert (await decode(None)).reason is Reason.TOMBSTONE


async def test_a_damaged_body(decode, registry):
    value = registry.framed(COMMAND, FULL)
    for damaged in (value[:-1], value[:5], value + b"\x00", value[:5] + b"\x03" + value[6:], value[:5] + b"\xff" * 20):
        rejection = await decode(damaged)
        assert (rejection.reason, rejection.id) == (Reason.UNDECODABLE, POSITION_ID)


async def test_the_size_counts_everything_that_is_kept(decode):
    value = json.dumps(ROUTED).encode()
    value += b" " * (MAX_BYTES - len(value))
    assert isinstance(await decode(value), Command)
    assert (await decode(value + b" ")).reason is Reason.TOO_LARGE
    assert (await decode(value, key=b"k")).reason is Reason.TOO_LARGE
    assert (await decode(value, headers=(("h", None),))).reason is Reason.TOO_LARGE
    assert (await decode(value, headers=(("", b"h"),))).reason is Reason.TOO_LARGE


async def test_the_id_comes_from_the_field_then_the_header_then_the_position(decode):
    header = ((CE_ID, b"first"), (CE_ID, "zwölf".encode()))
    assert (await decode({**ROUTED, "id": "a"}, header)).id == "a"
    assert (await decode(ROUTED, header)).id == "zwölf"
    assert (await decode(ROUTED, ((CE_ID, None),))).id == POSITION_ID


@pytest.mark.parametrize("content", [b"", b"\xff", b"a\x00", b"x" * 501])
async def test_a_bad_id_in_the_header(decode, content):
    header = ((CE_ID, content),)
    assert (await decode(ROUTED, header)).reason is Reason.INVALID_COMMAND
    assert (await decode({**ROUTED, "id": "a"}, header)).id == "a"


async def test_a_rejection_names_id_and_command_as_far_as_they_can_be_read(decode, registry):
    rejection = await decode({**ROUTED, "id": "a", "params": "["})
    assert (rejection.id, rejection.command) == ("a", "app.probe")
    rejection = await decode({**ROUTED, "deadline": 1}, ((CE_ID, b"b"),))
    assert (rejection.id, rejection.command) == ("b", "app.probe")
    rejection = await decode(b"junk", ((CE_ID, b"b"),))
    assert (rejection.id, rejection.command) == ("b", None)
    rejection = await decode(None, ((CE_ID, b"b"),))
    assert (rejection.id, rejection.command) == ("b", None)
    rejection = await decode(registry.framed(COMMAND, {**FULL, "params": "["}))
    assert (rejection.id, rejection.command) == ("order-1", "app.probe")


async def test_a_framed_value_without_a_registry(decode, registry):
    value = registry.framed(COMMAND, FULL)
    rejection = await decode(value, decoder=CommandDecoder(None, MAX_BYTES))
    assert rejection.reason is Reason.UNKNOWN_SCHEMA
    assert "no schema registry is configured" in rejection.detail


async def test_an_unknown_schema(decode):
    rejection = await decode(b"\0\0\0\0\7" + bytes(5))
    assert (rejection.reason, rejection.id) == (Reason.UNKNOWN_SCHEMA, POSITION_ID)
    assert "7" in rejection.detail


async def test_a_schema_is_asked_for_once(decode, registry):
    value = registry.framed(COMMAND, FULL)
    for _ in range(3):
        await decode(value)
    assert len(registry.requests) == 1


async def test_a_schema_is_looked_at_once(decode, registry):
    """Whether values of it have bounds takes far longer to say than to read one."""
    wide = record("Wide", *["null"] * 40, *["int"] * 2000)
    value = registry.framed(schema(*COMMAND_FIELDS, ("more", ["null", wide])), {**ROUTED, "more": None})

    async def took():
        began = time.process_time_ns()
        assert isinstance(await decode(value), Command)
        return time.process_time_ns() - began

    first = await took()
    assert 5 * min([await took() for _ in range(3)]) < first


async def test_a_registry_that_is_away_rejects_nothing(decode, registry):
    value = registry.framed(COMMAND, FULL)
    registry.schemas, schemas = {}, registry.schemas
    registry.fault = lambda request: httpx.Response(500, text="out of order")
    with pytest.raises(Unavailable):
        await decode(value)
    registry.schemas, registry.fault = schemas, lambda request: None
    assert await decode(value) == Command(**FULL)


async def test_what_the_encoder_writes_is_read(decode, registry):
    for client in (None, registry.client(InstantClock())):
        encoder = CommandEncoder(client, "commands")
        await encoder.start()
        assert encoder.encode(CommandRecord(**FULL))[:1] == (b"\0" if client else b"{")
        assert await decode(encoder.encode(CommandRecord(**FULL))) == Command(**FULL)
        assert await decode(encoder.encode(CommandRecord(**ROUTED))) == Command(**ROUTED, id=POSITION_ID)
    assert list(registry.subjects) == ["commands-value"]


def test_json_commands_leave_out_what_is_not_given():
    assert CommandEncoder(None, "commands").encode(CommandRecord(**ROUTED)) == b'{"command":"app.probe","params":"{}"}'


def test_an_avro_value_begins_with_the_confluent_framing():
    assert AvroWriter(258, COMMAND).write(FULL)[:5] == b"\0\0\0\1\2"
