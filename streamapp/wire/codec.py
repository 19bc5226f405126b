"""Reads the commands topic: bytes to a checked command, or to the reason why not. Writes commands as producers do."""

from datetime import datetime
from typing import Any

from streamapp.core.errors import Unprocessable
from streamapp.core.model import Command, Reason, Rejection, Source
from streamapp.wire import avro, strict_json
from streamapp.wire.avro import AvroReader, AvroWriter
from streamapp.wire.checks import check_command, shown_command, shown_id
from streamapp.wire.fields import ReadTime, avro_time, json_time
from streamapp.wire.headers import Headers
from streamapp.wire.records import CommandRecord
from streamapp.wire.registry import Registry
from streamapp.wire.schemas import COMMAND
from streamapp.wire.times import to_millis


class CommandDecoder:
    """Decodes records of the commands topic, Confluent-framed Avro or JSON."""

    def __init__(self, registry: Registry | None, max_command_bytes: int) -> None:
        """Asks the registry only for ids of schemas that it has not seen yet.

        Args:
            registry: Where writers' schemas are; None: framed records are rejected.
            max_command_bytes: For value, key and headers together.
        """
        self._registry = registry
        self._max_bytes = max_command_bytes
        self._readers: dict[int, AvroReader] = {}

    async def decode(
        self, *, source: Source, key: bytes | None, value: bytes | None, headers: Headers, recorded_at: datetime
    ) -> Command | Rejection:
        """The command, or why it can never run. No bytes make it raise.

        Raises:
            Unavailable: The registry is needed and does not answer: ask again, see `patiently`.
        """
        position_id = f"{source}-{to_millis(recorded_at)}"
        fields: dict[str, Any] = {}
        try:
            self._check_size(key, value, headers)
            fields, read_time = await self._fields(value)
            return check_command(fields, read_time, headers, position_id)
        except Unprocessable as error:
            return Rejection(
                reason=error.reason,
                detail=error.detail,
                id=shown_id(fields, headers) or position_id,
                command=shown_command(fields),
            )

    def _check_size(self, key: bytes | None, value: bytes | None, headers: Headers) -> None:
        size = len(value or b"") + len(key or b"")
        size += sum(len(name) + len(content or b"") for name, content in headers)
        if size > self._max_bytes:
            detail = f"Value, key and headers have {size} bytes; max_command_bytes allows {self._max_bytes}."
            raise Unprocessable(Reason.TOO_LARGE, detail)

    async def _fields(self, value: bytes | None) -> tuple[dict[str, Any], ReadTime]:
        if value is None:
            raise Unprocessable(Reason.TOMBSTONE, "The record has no value: a tombstone is not a command.")
        if avro.framed(value):
            reader = await self._reader(avro.schema_id(value))
            return reader.read(value), avro_time
        fields = _json_fields(value)
        if fields.get("command") is None:
            fields["command"] = fields.get("event")
        return fields, json_time

    async def _reader(self, schema_id: int) -> AvroReader:
        reader = self._readers.get(schema_id)
        if reader is None:
            if self._registry is None:
                detail = f"The value is Avro (schema id {schema_id}), but no schema registry is configured."
                raise Unprocessable(Reason.UNKNOWN_SCHEMA, detail)
            reader = AvroReader(schema_id, await self._registry.schema(schema_id), COMMAND)
            self._readers[schema_id] = reader
        return reader


class CommandEncoder:
    """Encodes commands: Confluent-framed Avro where a registry is configured, else JSON."""

    def __init__(self, registry: Registry | None, topic: str) -> None:
        self._registry = registry
        self._subject = f"{topic}-value"
        self._writer: AvroWriter | None = None

    async def start(self) -> None:
        """Look up or register the schema.

        Raises:
            Unavailable: The registry does not answer.
            ConfigError: The registry refuses the schema.
        """
        if self._registry is not None:
            self._writer = AvroWriter(await self._registry.register(self._subject, COMMAND), COMMAND)

    def encode(self, command: CommandRecord) -> bytes:
        """The record's value."""
        fields: dict[str, Any] = command.asdict()
        if self._registry is not None:
            assert self._writer is not None, "start() comes first"
            return self._writer.write(fields)
        return strict_json.dumps({name: content for name, content in fields.items() if content is not None})


def _json_fields(value: bytes) -> dict[str, Any]:
    try:
        return strict_json.loads(value.decode())
    except UnicodeDecodeError:
        detail = "The value is neither Confluent-framed Avro nor JSON: it is not UTF-8."
        raise Unprocessable(Reason.UNDECODABLE, detail) from None
    except strict_json.NotStrictJson as error:
        detail = f"The value is neither Confluent-framed Avro nor a JSON object: {error}."
        raise Unprocessable(Reason.UNDECODABLE, detail) from error
