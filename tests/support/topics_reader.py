"""Reads: whole topics, from the beginning to their present end. Writes: nothing; no offset is committed."""

import io
import json
import struct
import time
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import httpx
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaException, TopicPartition
from fastavro import schemaless_reader

HEADER = struct.Struct(">bI")
READ_WITHIN_SECONDS = 30.0
LATEST = -1
"""In place of a time, in a request for offsets: the end (Kafka's protocol, ListOffsets)."""


@dataclass(frozen=True)
class Record:
    """A record as Kafka has it."""

    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...]

    @property
    def place(self) -> tuple[int, int]:
        """Partition and offset."""
        return self.partition, self.offset


class TopicReader:
    """All records of a topic; each reading goes on where the last one ended."""

    def __init__(self, client: dict[str, str], topic: str) -> None:
        self._topic = topic
        # Each question waits behind a fetch.
        self._settings = {**client, "group.id": "reader", "enable.auto.commit": False, "fetch.wait.max.ms": 10}
        self._consumer = Consumer(self._settings)
        partitions = self._consumer.list_topics(topic, timeout=20).topics[topic].partitions
        self._positions = dict.fromkeys(partitions, 0)
        self._records: list[Record] = []

    def read(self) -> list[Record]:
        """Everything up to the end as it is now.

        Raises:
            KafkaException: the broker does not answer. The next reading asks it with a new client: the old one may
                believe for minutes what a broker said that was just starting.
        """
        try:
            self._read()
        except KafkaException:
            self._consumer.close()
            self._consumer = Consumer(self._settings)
            raise
        return list(self._records)

    def _read(self) -> None:
        deadline = time.monotonic() + READ_WITHIN_SECONDS
        ends = self._ends()
        behind = {number: position for number, position in self._positions.items() if position < ends[number]}
        if not behind:
            return
        self._consumer.assign(
            [TopicPartition(self._topic, number, position or OFFSET_BEGINNING) for number, position in behind.items()]
        )
        while any(self._positions[number] < ends[number] for number in behind):
            assert time.monotonic() < deadline, f"{self._topic}: at {self._positions}, its ends are {ends}"
            for message in self._consumer.consume(1000, timeout=0.02):
                if message.error() is not None:
                    raise KafkaException(message.error())
                self._positions[message.partition()] = message.offset() + 1
                self._records.append(_record(message))
        self._consumer.unassign()  # or it would fetch on, a hundred times a second

    def _ends(self) -> dict[int, int]:
        """The end of each partition, with one request for all."""
        places = [TopicPartition(self._topic, number, LATEST) for number in self._positions]
        found = self._consumer.offsets_for_times(places, timeout=20)
        for place in found:
            if place.error is not None:
                raise KafkaException(place.error)
        return {place.partition: place.offset for place in found}

    def close(self) -> None:
        """Close the connection."""
        self._consumer.close()


class Decoder:
    """Values as fields, read as a stranger would: JSON, or Avro with the registry's schemas."""

    def __init__(self, registry_url: str | None) -> None:
        self._registry_url = registry_url
        self._schemas: dict[int, Any] = {}

    def outcome(self, value: bytes) -> dict[str, Any]:
        """An outcome; times are aware datetimes on both wires."""
        fields = self.fields(value)
        if not _framed(value):
            _read_times(fields, ("at",))
            _read_times(fields["timings"], tuple(fields["timings"]))
        return fields

    def fields(self, value: bytes) -> dict[str, Any]:
        """Any object."""
        if not _framed(value):
            content = json.loads(value)
        else:
            _, schema_id = HEADER.unpack_from(value)
            content = schemaless_reader(io.BytesIO(value[HEADER.size :]), self._schema(schema_id), None)
        assert isinstance(content, dict), content
        return content

    def _schema(self, schema_id: int) -> Any:
        if schema_id not in self._schemas:
            answer = httpx.get(f"{self._registry_url}/schemas/ids/{schema_id}").raise_for_status()
            self._schemas[schema_id] = json.loads(answer.json()["schema"])
        return self._schemas[schema_id]


def _framed(value: bytes) -> bool:
    return value[:1] == b"\0"


def _read_times(fields: dict[str, Any], names: tuple[str, ...]) -> None:
    for name in names:
        if fields[name] is not None:
            assert fields[name].endswith("Z"), fields[name]
            fields[name] = datetime.fromisoformat(fields[name])


def _record(message: Any) -> Record:
    return Record(
        topic=message.topic(),
        partition=message.partition(),
        offset=message.offset(),
        timestamp_ms=message.timestamp()[1],
        key=message.key(),
        value=message.value(),
        headers=tuple(message.headers() or ()),
    )
