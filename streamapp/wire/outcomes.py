"""Reads and writes the results topic: outcomes as Confluent-framed Avro with a registry configured, else as JSON."""

from datetime import UTC, datetime
from typing import Any

import orjson

from streamapp.core.errors import Unprocessable
from streamapp.core.key import show_key
from streamapp.core.model import Outcome, Reason, RunState, Source, Status, Timings
from streamapp.wire import avro
from streamapp.wire.avro import AvroReader, AvroWriter
from streamapp.wire.fields import avro_time, conform, json_time
from streamapp.wire.outgoing import Outgoing
from streamapp.wire.records import OutcomeRecord, SourceRecord, TimingsRecord
from streamapp.wire.registry import Registry
from streamapp.wire.schemas import OUTCOME
from streamapp.wire.times import to_text

MAX_PLACE_LENGTH = 300
"""Of a run's id, which Airflow bounds at 250, and of a topic with partition and offset, which Kafka bounds at 249."""
_FIRST, _LAST = datetime(1970, 1, 1, tzinfo=UTC), datetime(9000, 1, 1, tzinfo=UTC)


class OutcomeCodec:
    """Encodes outcomes, and decodes what stands on the results topic."""

    def __init__(self, registry: Registry | None, topic: str) -> None:
        """Talks to nobody yet.

        Args:
            registry: None: outcomes are written as JSON, and framed ones can't be read.
            topic: The results topic; its subject is `<topic>-value`.
        """
        self._registry = registry
        self._subject = f"{topic}-value"
        self._writer: AvroWriter | None = None
        self._readers: dict[int, AvroReader] = {}

    async def start(self) -> None:
        """Look up or register the schema.

        Raises:
            Unavailable: The registry does not answer: ask again, see `patiently`.
            ConfigError: The registry refuses the schema.
        """
        if self._registry is not None:
            self._writer = AvroWriter(await self._registry.register(self._subject, OUTCOME), OUTCOME)

    def encode(self, outcome: Outcome) -> Outgoing:
        """The record for the results topic."""
        record = to_record(outcome)
        fields: dict[str, Any] = record.asdict()
        fields |= {"source": record.source.asdict(), "timings": record.timings.asdict()}
        if self._registry is None:
            return Outgoing(outcome.key, _to_json(fields))
        assert self._writer is not None, "start() comes first"
        return Outgoing(outcome.key, self._writer.write(fields))

    async def decode(self, key: bytes | None, value: bytes | None) -> Outcome | None:
        """The outcome, None for what is none: no bytes make it raise.

        Raises:
            Unavailable: Another release wrote it, and the registry does not answer: ask again, see `patiently`.
        """
        try:
            if value is not None and avro.framed(value):
                fields = conform((await self._reader(avro.schema_id(value))).read(value), OUTCOME, avro_time)
            else:
                fields = conform(_from_json(value or b""), OUTCOME, json_time)
            return _from_fields(fields, key)
        except (Unprocessable, ValueError):
            return None

    async def _reader(self, schema_id: int) -> AvroReader:
        reader = self._readers.get(schema_id)
        if reader is None:
            if self._registry is None:
                raise Unprocessable(Reason.UNKNOWN_SCHEMA, "no schema registry is configured")
            reader = AvroReader(schema_id, await self._registry.schema(schema_id), OUTCOME)
            self._readers[schema_id] = reader
        return reader


def _to_json(fields: dict[str, Any]) -> bytes:
    return orjson.dumps(fields, default=to_text, option=orjson.OPT_PASSTHROUGH_DATETIME)


def _from_json(value: bytes) -> dict[str, Any]:
    fields = orjson.loads(value)
    if not isinstance(fields, dict):
        raise ValueError("it is JSON, but not an object")
    return fields


def to_record(outcome: Outcome) -> OutcomeRecord:
    """The public shape of an outcome."""
    source, timings = outcome.source, outcome.timings
    return OutcomeRecord(
        id=outcome.id,
        command_id=outcome.command_id,
        key=show_key(outcome.key),
        command=outcome.command,
        dag_id=outcome.dag_id,
        dag_run_id=outcome.dag_run_id,
        round=outcome.round,
        attempt=outcome.attempt,
        status=outcome.status,
        reason=outcome.reason,
        # What Airflow or a producer said may have halves of surrogate pairs, which no wire takes.
        detail=outcome.detail and outcome.detail.encode(errors="replace").decode(),
        at=outcome.at,
        source=SourceRecord(source.topic, source.partition, source.offset),
        timings=TimingsRecord(timings.accepted_at, timings.triggered_at, timings.started_at, timings.ended_at),
        correlation_id=outcome.correlation_id,
        causation_id=outcome.causation_id,
        duplicate_of=outcome.duplicate_of,
        replay_id=outcome.replay_id,
        control_id=outcome.control_id,
        result=outcome.result,
    )


def _from_fields(fields: dict[str, Any], key: bytes | None) -> Outcome:
    """ValueError for a status, reason or result that this release does not know, and for what no worker has said."""
    del fields["id"]  # it follows from the others
    source, times = fields["source"], [fields["at"], *fields["timings"].values()]
    numbers = fields["round"], fields["attempt"], source["partition"], source["offset"]
    texts = [fields["dag_run_id"], fields["duplicate_of"]]
    # A fold keeps these: a row must fit into its topic, and a reader has to reckon with its times.
    if min(numbers) < 0 or any(len(text or "") > MAX_PLACE_LENGTH for text in texts):
        raise ValueError("a number or a text is out of bounds")
    if any(at is not None and not _FIRST <= at <= _LAST for at in times):
        raise ValueError("a time is out of bounds")
    fields |= {
        "key": key,
        "status": Status(fields["status"]),
        "reason": None if fields["reason"] is None else Reason(fields["reason"]),
        "result": None if fields["result"] is None else RunState(fields["result"]),
        "source": Source(**fields["source"]),
        "timings": Timings(**fields["timings"]),
    }
    return Outcome(**fields)
