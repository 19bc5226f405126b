"""What Confluent's own client writes, through a real Kafka and a real registry, is what the decoder reads; and back."""

import asyncio
import json
import uuid
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from aiokafka import AIOKafkaConsumer
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic
from confluent_kafka.schema_registry import Schema, SchemaReference, SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroDeserializer, AvroSerializer
from confluent_kafka.serialization import MessageField, SerializationContext

from streamapp.clock import SystemClock
from streamapp.core.errors import Unavailable
from streamapp.core.model import Command, Outcome, Reason, Rejection, Source, Status, Timings
from streamapp.wire.codec import CommandDecoder, CommandEncoder
from streamapp.wire.outcomes import OutcomeCodec
from streamapp.wire.patience import patiently
from streamapp.wire.records import CommandRecord
from streamapp.wire.registry import Registry
from streamapp.wire.schemas import COMMAND, OUTCOME
from tests.support import stack
from tests.support.waiting import until

AT = datetime(2026, 1, 2, 3, 4, 5, 678000, tzinfo=UTC)
MAX_BYTES = 262_144
TWO_FIELDS = [("command", "string"), ("params", "string")]
ROUTED = {"command": "app.send_email_alert", "params": '{"email": "test@email.com"}'}
WAIT_SECONDS = 30


def schema(*fields, namespace="event"):
    fields = [dict(zip(("name", "type", "default"), field, strict=False)) for field in fields]
    return {"type": "record", "namespace": namespace, "name": "EventSchema", "fields": fields}


class ForeignClient:
    """A producer of somebody else: confluent-kafka and its Avro serializer."""

    def __init__(self, kafka: stack.Kafka, registry: dict[str, str], topic: str) -> None:
        self.topic = topic
        self.registry = SchemaRegistryClient(registry)
        self.producer = Producer(kafka.client)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.registry.close()

    def send(self, schema, content, key=None, headers=None):
        serializer = AvroSerializer(self.registry, json.dumps(schema))
        value = serializer(content, SerializationContext(self.topic, MessageField.VALUE))
        return self.send_bytes(value, key, headers)

    def send_bytes(self, value, key=None, headers=None):
        delivered = []
        self.producer.produce(
            self.topic, value, key, headers=headers, on_delivery=lambda error, message: delivered.append(error)
        )
        self.producer.flush(WAIT_SECONDS)
        assert delivered == [None]


class Incoming:
    """What stands on a topic, as the worker gets it: raw bytes."""

    def __init__(self, consumer: AIOKafkaConsumer) -> None:
        self._consumer = consumer

    async def decode(self, decoder):
        record = await asyncio.wait_for(self._consumer.getone(), WAIT_SECONDS)
        return record, await patiently(
            lambda: decoder.decode(
                source=Source(record.topic, record.partition, record.offset),
                key=record.key,
                value=record.value,
                headers=record.headers,
                recorded_at=datetime.fromtimestamp(record.timestamp / 1000, UTC),
            ),
            SystemClock(),
        )


@pytest.fixture
def topic(kafka):
    name = f"commands-{uuid.uuid4().hex[:8]}"
    admin = AdminClient(kafka.client)
    admin.create_topics([NewTopic(name, 1, 1)])[name].result()
    return name


@pytest.fixture
def foreign(kafka, registry, topic):
    with ForeignClient(kafka, {"url": registry.url}, topic) as client:
        yield client


@pytest.fixture
async def incoming(kafka, topic) -> AsyncIterator[Incoming]:
    consumer = AIOKafkaConsumer(topic, bootstrap_servers=kafka.bootstrap_servers, auto_offset_reset="earliest")
    await consumer.start()
    yield Incoming(consumer)
    await consumer.stop()


@pytest.fixture
def confluent(registry):
    with SchemaRegistryClient({"url": registry.url}) as client:
        yield client


@pytest.fixture
def our_registry(registry):
    return Registry(registry.url, SystemClock())


@pytest.fixture
def decoder(our_registry):
    return CommandDecoder(our_registry, MAX_BYTES)


@pytest.mark.parametrize(
    ("writer", "content", "expected"),
    [
        (schema(*TWO_FIELDS), ROUTED, {}),
        (
            schema(("event", "string"), ("params", "string")),
            {"event": ROUTED["command"], "params": ROUTED["params"]},
            {},
        ),
        (schema(*TWO_FIELDS, namespace="com.example.shop"), ROUTED, {}),
        (
            schema(
                ("event", {"type": "record", "name": "Event", "fields": [{"name": "kind", "type": "int"}]}),
                *TWO_FIELDS,
                ("tags", {"type": "array", "items": "string"}),
                ("amount", {"type": "bytes", "logicalType": "decimal", "precision": 6, "scale": 2}),
            ),
            {**ROUTED, "event": {"kind": 1}, "tags": ["a", "b"], "amount": Decimal("3.00")},
            {},
        ),
        (
            schema(
                ("id", ["string", "null"]),
                ("params", ["string", "null"]),
                ("command", ["null", "string"]),
                ("deadline", [{"type": "long", "logicalType": "timestamp-millis"}, "null"]),
                ("not_before", ["null", "long"], None),
                ("correlation_id", "string", "none"),
            ),
            {**ROUTED, "id": "order-1", "deadline": AT, "not_before": 5, "correlation_id": "c"},
            {
                "id": "order-1",
                "deadline": AT,
                "not_before": datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=5),
                "correlation_id": "c",
            },
        ),
    ],
    ids=["two-fields", "field-named-event", "other-namespace", "wider", "unions-in-other-order"],
)
async def test_what_a_confluent_client_writes_is_a_command(foreign, incoming, decoder, writer, content, expected):
    foreign.send(writer, content)
    record, command = await incoming.decode(decoder)
    position_id = f"{record.topic}-{record.partition}-{record.offset}-{record.timestamp}"
    assert command == Command(**{**ROUTED, "id": position_id, **expected})


@pytest.mark.parametrize("key", [None, b"", b"event", b"\xff\x00"])
async def test_key_and_headers_arrive_as_they_were_sent(foreign, incoming, decoder, key):
    headers = [("ce_id", b"header-1"), ("traceparent", b"\xff"), ("none", None)]
    foreign.send(schema(*TWO_FIELDS), ROUTED, key, headers)
    record, command = await incoming.decode(decoder)
    assert (record.key, list(record.headers)) == (key, headers)
    assert command == Command(**ROUTED, id="header-1")


async def test_schemas_of_several_producers_are_read_side_by_side(foreign, incoming, decoder):
    # A producer's own registry may refuse to hold both spellings of one subject; ours only reads by id.
    writers = [schema(*TWO_FIELDS), schema(*TWO_FIELDS, ("id", ["null", "string"], None)), COMMAND]
    for number in range(9):
        foreign.send(writers[number % 3], {**ROUTED, "id": f"order-{number}"})
    for _ in range(9):
        assert isinstance((await incoming.decode(decoder))[1], Command)


async def test_json_from_a_client_without_a_registry(foreign, incoming, decoder):
    foreign.send_bytes(json.dumps({"event": ROUTED["command"], "params": ROUTED["params"], "id": "a"}).encode())
    assert (await incoming.decode(decoder))[1] == Command(**ROUTED, id="a")


@pytest.mark.parametrize("id_", [0, 999_999, 2**31 - 1, 2**31, 2**32 - 1])
async def test_an_id_that_the_registry_does_not_know(foreign, incoming, decoder, id_):
    foreign.send_bytes(b"\0" + id_.to_bytes(4, "big") + b"\x02a\x04{}")
    _, rejection = await incoming.decode(decoder)
    assert (type(rejection), rejection.reason) == (Rejection, Reason.UNKNOWN_SCHEMA)


async def test_schemas_that_are_no_avro_or_stand_on_others_are_unknown(foreign, decoder, incoming):
    address = {"type": "record", "name": "shop.Address", "fields": [{"name": "city", "type": "string"}]}
    foreign.registry.register_schema(f"{foreign.topic}-address", Schema(json.dumps(address), "AVRO"))
    referring = Schema(
        json.dumps(schema(*TWO_FIELDS, ("to", "shop.Address"))),
        "AVRO",
        [SchemaReference("shop.Address", f"{foreign.topic}-address", 1)],
    )
    protobuf = 'syntax = "proto3"; message EventSchema { string command = 1; string params = 2; }'
    json_schema = '{"$schema": "http://json-schema.org/draft-07/schema#", "type": "object"}'
    others = [Schema(json_schema, "JSON"), Schema(protobuf, "PROTOBUF"), referring]
    for number, other in enumerate(others):
        id_ = foreign.registry.register_schema(f"{foreign.topic}-{number}", other)
        foreign.send_bytes(b"\0" + id_.to_bytes(4, "big") + b"\x02a\x04{}")
        assert (await incoming.decode(decoder))[1].reason is Reason.UNKNOWN_SCHEMA


@pytest.mark.parametrize("how", ["user info", "in the address"])
async def test_a_registry_that_asks_for_a_password(kafka, registry, topic, incoming, how):
    with stack.basic_auth_proxy(registry.url, "KEY", "SE:CRET") as url:
        with ForeignClient(kafka, {"url": url, "basic.auth.user.info": "KEY:SE:CRET"}, topic) as foreign:
            foreign.send(schema(*TWO_FIELDS), ROUTED)
        if how == "user info":
            ours = Registry(url, SystemClock(), "KEY:SE:CRET")
        else:
            ours = Registry(url.replace("://", "://KEY:SE%3ACRET@"), SystemClock())
        assert isinstance((await incoming.decode(CommandDecoder(ours, MAX_BYTES)))[1], Command)
        for user_info in (None, "KEY:wrong"):
            with pytest.raises(Unavailable, match="401"):
                await Registry(url, SystemClock(), user_info).schema(1)


async def test_an_address_where_no_registry_is_rejects_nothing(registry):
    for path in ("/nothing/here", ""):
        wrong = registry.url.removesuffix("/apis/ccompat/v7") + path
        with pytest.raises(Unavailable):
            await Registry(wrong, SystemClock()).schema(1)


async def test_a_registry_that_goes_away_and_comes_back(kafka, topic, incoming, tmp_path, caplog):
    with stack.Registry(tmp_path) as registry:
        decoder = CommandDecoder(Registry(registry.url, SystemClock()), MAX_BYTES)
        with ForeignClient(kafka, {"url": registry.url}, topic) as foreign:
            foreign.send(schema(*TWO_FIELDS), ROUTED)
            foreign.send(schema(*TWO_FIELDS, ("id", "string")), {**ROUTED, "id": "late"})
            foreign.send_bytes(b'{"command": "app.probe", "params": "{}", "id": "json"}')
        assert isinstance((await incoming.decode(decoder))[1], Command)
        registry.kill()
        waiting = asyncio.ensure_future(incoming.decode(decoder))
        await until(lambda: said(caplog) == ["wait_begins"])
        registry.start(wait=False)  # it gets ready while the decoder waits
        assert (await asyncio.wait_for(waiting, 60))[1].id == "late"
        assert (await incoming.decode(decoder))[1].id == "json"
    assert said(caplog) == ["wait_begins", "wait_ends"]


def said(caplog):
    return [record.action for record in caplog.records if hasattr(record, "action")]


async def test_confluents_deserializer_reads_our_outcomes(confluent, our_registry, topic):
    codec = OutcomeCodec(our_registry, topic)
    await codec.start()
    outcome = Outcome(
        command_id="a",
        key=b"\xff",
        command="app.probe",
        dag_id="probe",
        dag_run_id="cmd__streamapp__a__1.1",
        round=1,
        attempt=1,
        status=Status.FAILED,
        reason=Reason.RUN_FAILED,
        detail="ü",
        at=AT,
        source=Source(topic, 3, 42),
        timings=Timings(accepted_at=AT, ended_at=AT),
    )
    key, value, _ = codec.encode(outcome)
    read = AvroDeserializer(confluent)(value, SerializationContext(topic, MessageField.VALUE))
    assert list(read) == [field["name"] for field in OUTCOME["fields"]]
    assert read["id"] == outcome.id
    assert read["key"] == "/w=="
    assert read["status"] == "failed"
    assert read["at"] == AT
    assert read["source"] == {"topic": topic, "partition": 3, "offset": 42}
    assert read["timings"] == {"accepted_at": AT, "triggered_at": None, "started_at": None, "ended_at": AT}
    assert await codec.decode(key, value) == outcome


async def test_confluents_deserializer_reads_our_commands(confluent, our_registry, topic):
    encoder = CommandEncoder(our_registry, topic)
    await encoder.start()
    value = encoder.encode(CommandRecord(**ROUTED, deadline=AT))
    context = SerializationContext(topic, MessageField.VALUE)
    assert AvroDeserializer(confluent)(value, context)["deadline"] == AT
    assert AvroDeserializer(confluent, json.dumps(schema(*TWO_FIELDS)))(value, context) == ROUTED
    assert confluent.get_latest_version(f"{topic}-value").schema_id == int.from_bytes(value[1:5], "big")


async def test_two_workers_register_one_schema(confluent, registry, topic):
    codecs = [OutcomeCodec(Registry(registry.url, SystemClock()), topic) for _ in range(2)]
    for codec in codecs:
        await codec.start()
    assert confluent.get_versions(f"{topic}-value") == [1]
