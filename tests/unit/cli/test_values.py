import json
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from streamapp.cli.output import print_json
from streamapp.cli.values import Shown, Values
from streamapp.core.errors import ConfigError
from streamapp.wire import strict_json
from streamapp.wire.avro import AvroReader, schema_id
from streamapp.wire.schemas import COMMAND
from tests.support.fake_registry import FakeRegistry
from tests.support.manual_clock import ManualClock

FOREIGN = {
    "type": "record",
    "name": "EventSchema",
    "namespace": "event",
    "fields": [
        {"name": "event", "type": "string"},
        {"name": "params", "type": "string"},
        {"name": "deadline", "type": ["null", {"type": "long", "logicalType": "timestamp-millis"}], "default": None},
        {"name": "extra", "type": ["null", "string"], "default": None},
    ],
}
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
CONTENT = {"event": "app.probe", "params": '{"n":  1}', "deadline": NOON, "extra": "kept"}


@pytest.fixture
def registry():
    return FakeRegistry()


@pytest.fixture
def values(registry):
    return Values(registry.client(ManualClock()))


async def test_json_is_shown_with_its_params(values):
    shown = await values.show(b'{"command": "app.probe", "params": "{\\"n\\": 1}", "mine": [1]}')
    assert shown == Shown("json", {"command": "app.probe", "params": {"n": 1}, "mine": [1]})
    assert shown.command == "app.probe"


async def test_avro_is_shown_as_its_writer_has_it(values, registry):
    shown = await values.show(registry.framed(FOREIGN, CONTENT))
    assert shown.wire == "avro"
    assert shown.fields == {**CONTENT, "params": {"n": 1}, "deadline": "2026-01-01T12:00:00.000Z"}
    assert shown.command == "app.probe"
    json.dumps(shown.as_json())


async def test_numbers_that_json_can_not_say_are_texts(values, registry, capsys):
    schema = FOREIGN | {"fields": [{"name": "n", "type": {"type": "array", "items": "double"}}]}
    before = registry.framed(schema, {"n": [float("nan"), float("inf"), float("-inf"), 0.5]})
    shown = await values.show(before)
    print_json(shown.as_json())
    assert strict_json.loads(capsys.readouterr().out)["value"] == {"n": ["NaN", "Infinity", "-Infinity", 0.5]}
    assert await values.write(before, shown.fields) == before


async def test_a_decimal_is_shown_unless_it_is_too_long(values, registry):
    """It would take seconds for each letter of a list."""
    amount = {"type": "bytes", "logicalType": "decimal", "precision": 6000, "scale": 2}
    schema = {"type": "record", "name": "Sale", "fields": [{"name": "amount", "type": amount}]}
    assert (await values.show(registry.framed(schema, {"amount": Decimal("12.34")}))).fields == {"amount": "12.34"}
    long = await values.show(registry.framed(schema, {"amount": Decimal("9" * 5000)}))
    assert (long.wire, "does not fit its schema" in long.note) == ("bytes", True)


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, Shown("none")),
        (b"{'no json'}", Shown("text", text="{'no json'}")),
        (b"\xff\x01", Shown("bytes", text="/wE=")),
    ],
)
async def test_what_is_no_command_is_shown_as_it_is(values, value, shown):
    assert await values.show(value) == shown


async def test_avro_that_can_not_be_read_is_shown_with_the_reason(values, registry):
    unknown = await values.show(b"\0\0\0\0\x63abc")
    assert (unknown.wire, unknown.text) == ("bytes", "AAAAAGNhYmM=")
    assert "does not know the schema id 99" in unknown.note
    assert "no schema registry is configured" in (await Values(None).show(b"\0\0\0\0\x63abc")).note
    assert "does not fit its schema" in (await values.show(registry.framed(FOREIGN, CONTENT)[:9])).note
    assert "header" in (await values.show(b"\0\0")).note


async def test_a_registry_that_is_away_is_asked_once(values, registry):
    def away(_):
        raise OSError("away")

    registry.fault = away
    for value in (b"\0\0\0\0\x63abc", b"\0\0\0\0\x64abc"):
        shown = await values.show(value)
        assert (shown.wire, "does not answer" in shown.note) == ("bytes", True)
    assert len(registry.requests) == 1


async def test_json_stays_json(values):
    before = b'{"command": "app.probe", "params": "{\\"n\\":  1}", "mine": 7}'
    fields = (await values.show(before)).fields
    assert json.loads(await values.write(before, fields)) == json.loads(before)
    changed = json.loads(await values.write(before, {**fields, "params": {"n": 2}}))
    assert changed == {"command": "app.probe", "params": '{"n": 2}', "mine": 7}


async def test_params_that_were_no_text_become_one(values):
    before = b'{"command": "app.probe", "params": {"n": 1}}'
    mended = await values.write(before, (await values.show(before)).fields)
    assert json.loads(mended)["params"] == '{"n": 1}'


async def test_avro_stays_avro_of_the_same_schema(values, registry):
    before = registry.framed(FOREIGN, CONTENT)
    fields = (await values.show(before)).fields
    assert await values.write(before, fields) == before
    changed = await values.write(before, {**fields, "params": {"n": 2}, "deadline": "2027-01-01T00:00:00Z"})
    assert schema_id(changed) == schema_id(before)
    read = AvroReader(1, FOREIGN, COMMAND).read(changed)
    assert (read["command"], read["params"]) == ("app.probe", '{"n": 2}')
    assert read["deadline"] == datetime(2027, 1, 1, tzinfo=UTC)
    assert (await values.show(changed)).fields["extra"] == "kept"


@pytest.mark.parametrize(
    ("change", "why"),
    [({"more": 1}, "has no field 'more'"), ({"event": 7}, "does not fit the record's schema")],
)
async def test_what_a_schema_has_no_place_for_is_refused(values, registry, change, why):
    before = registry.framed(FOREIGN, CONTENT)
    fields = (await values.show(before)).fields
    with pytest.raises(ConfigError, match=why):
        await values.write(before, {**fields, **change})


async def test_a_value_that_can_not_be_read_can_not_be_changed():
    with pytest.raises(ConfigError, match="can't be changed: it is Avro"):
        await Values(None).write(b"\0\0\0\0\x63abc", {})
