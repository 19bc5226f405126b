import asyncio
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamapp.core.model import Command, Rejection
from streamapp.wire.codec import CommandDecoder, CommandEncoder
from streamapp.wire.headers import CE_ID
from streamapp.wire.outcomes import OutcomeCodec
from streamapp.wire.records import CommandRecord
from streamapp.wire.schemas import COMMAND
from tests.support.fake_registry import FakeRegistry
from tests.support.instant_clock import InstantClock
from tests.support.strategies import keys, optional, outcomes, sources, texts, times

MAX_BYTES = 10_000

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(), children, max_size=3),
    max_leaves=10,
)
field_values = json_values | texts | times.map(str) | st.just("app.probe") | st.just("{}")
json_records = st.dictionaries(
    st.sampled_from([*(field["name"] for field in COMMAND["fields"]), "event", "other"]), field_values
).map(lambda fields: json.dumps(fields).encode())
headers = st.lists(st.tuples(texts | st.just(CE_ID), keys), max_size=3)
plain_texts = st.text(st.characters(exclude_categories=["Cc", "Cs"]), max_size=100)
numbers = st.integers(-(2**63), 2**63) | st.floats(allow_nan=False, allow_infinity=False)
params = st.dictionaries(
    plain_texts.filter(lambda name: name != "_command"),
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.floats(allow_nan=False, allow_infinity=False)
    | plain_texts,
).map(json.dumps)
commands = st.builds(
    CommandRecord,
    command=plain_texts.map(lambda name: f"app.x{name}"),
    params=params,
    id=optional(plain_texts.filter(bool)),
    not_before=optional(times),
    deadline=optional(times),
    correlation_id=optional(plain_texts),
    causation_id=optional(plain_texts),
)


@pytest.fixture(scope="module")
def server():
    """With our schema under the id 1, and one that has every kind of type under the id 2."""
    server = FakeRegistry()
    server.add(COMMAND)
    nested = {"type": "record", "name": "N", "fields": [{"name": "a", "type": {"type": "array", "items": "string"}}]}
    more = [
        {"name": "more", "type": ["null", nested, {"type": "map", "values": ["int", "N"]}]},
        {"name": "amount", "type": {"type": "bytes", "logicalType": "decimal", "precision": 4, "scale": 2}},
        {"name": "day", "type": {"type": "int", "logicalType": "date"}},
    ]
    server.add({**COMMAND, "fields": [*more, *COMMAND["fields"]]})
    return server


@pytest.fixture(scope="module")
def decoder(server):
    return CommandDecoder(server.client(InstantClock()), MAX_BYTES)


framed_bytes = st.tuples(st.sampled_from([0, 1, 2, 99]), st.binary(max_size=60)).map(
    lambda parts: b"\0" + parts[0].to_bytes(4, "big") + parts[1]
)


@given(optional(st.binary(max_size=60)) | json_records | framed_bytes, headers, keys, sources, times)
async def test_any_record_is_a_command_or_a_rejection_that_can_be_told(decoder, value, headers, key, source, at):
    content = await decoder.decode(source=source, key=key, value=value, headers=headers, recorded_at=at)
    assert isinstance(content, Command | Rejection)
    assert len(content.id) > 0
    for text in (content.id, content.command or "", getattr(content, "detail", ""), getattr(content, "params", "")):
        text.encode()
    if isinstance(content, Command):
        json.dumps(json.loads(content.params), allow_nan=False).encode()


@given(commands, st.data())
async def test_a_damaged_command_never_raises(decoder, command, data):
    value = CommandEncoder(None, "commands").encode(command)
    at = data.draw(st.integers(0, len(value)))
    damaged = value[:at] + data.draw(st.binary(max_size=3)) + value[at + data.draw(st.integers(0, 3)) :]
    content = await decoder.decode(
        source=data.draw(sources), key=None, value=damaged, headers=(), recorded_at=data.draw(times)
    )
    assert isinstance(content, Command | Rejection)


@pytest.fixture(scope="module")
def encoders(server):
    encoders = CommandEncoder(None, "commands"), CommandEncoder(server.client(InstantClock()), "commands")
    for encoder in encoders:
        asyncio.run(encoder.start())
    return encoders


@given(commands, sources, times)
async def test_a_command_comes_back_exactly_by_both_wires(encoders, decoder, command, source, at):
    for encoder in encoders:
        value = encoder.encode(command)
        content = await decoder.decode(source=source, key=None, value=value, headers=(), recorded_at=at)
        assert isinstance(content, Command), content
        expected = command.asdict()
        if command.id is None:
            expected["id"] = content.id
        assert {name: getattr(content, name) for name in expected} == expected


@pytest.fixture(scope="module")
def outcome_codec(server):
    codec = OutcomeCodec(server.client(InstantClock()), "results")
    asyncio.run(codec.start())
    return codec


@given(outcomes)
async def test_an_outcome_comes_back_exactly_as_avro(outcome_codec, outcome):
    key, value, _ = outcome_codec.encode(outcome)
    assert await outcome_codec.decode(key, value) == outcome


@given(outcomes, st.data())
async def test_a_damaged_outcome_never_raises(outcome_codec, outcome, data):
    key, value, _ = outcome_codec.encode(outcome)
    at = data.draw(st.integers(0, len(value)))
    await outcome_codec.decode(key, value[:at] + data.draw(st.binary(max_size=3)) + value[at + 1 :])
