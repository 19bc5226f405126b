"""Reads and writes Confluent-framed Avro: byte 0, the schema id (4 bytes, big-endian), the body."""

import io
import struct
from typing import Any

from fastavro import parse_schema, schemaless_reader, schemaless_writer
from fastavro.read import LOGICAL_READERS, SchemaResolutionError

from streamapp.core.errors import Unprocessable
from streamapp.core.model import Reason
from streamapp.wire.bounds import boundless, unchecked
from streamapp.wire.schemas import Schema

MAGIC = b"\x00"
_HEADER = struct.Struct(">cI")

MAX_DECIMAL_BYTES = 1024
"""A longer decimal is not read, and no field of ours is one: the time it takes grows with the square of its length, and
256 KiB of it would keep a worker from its heartbeats for seconds."""


def framed(value: bytes) -> bool:
    """Whether a value is meant as Confluent-framed; JSON never starts with this byte."""
    return value[:1] == MAGIC


def schema_id(value: bytes) -> int:
    """The id of the schema that a framed value was written with.

    Raises:
        Unprocessable: The header is cut short.
    """
    if len(value) < _HEADER.size:
        raise Unprocessable(Reason.UNDECODABLE, "The value ends within the header of its Confluent framing.")
    return int(_HEADER.unpack_from(value)[1])


class AvroReader:
    """Reads framed values of one writer's schema as the reader's schema."""

    def __init__(self, id_: int, writer: Any, reader: Schema) -> None:
        """Take the two schemas."""
        self._id = id_
        self._writer = writer
        self._boundless = boundless(writer)  # looked at once, however many records there are of it
        self._body = _Checked if unchecked(writer) else io.BytesIO
        self._reader = parse_schema(_without_shadowed_aliases(reader, writer))
        self._name = f"{reader['namespace']}.{reader['name']}"

    def read(self, value: bytes) -> dict[str, Any]:
        """The fields.

        Raises:
            Unprocessable: `invalid_command` where the writer's schema does not resolve to the reader's, or a few bytes
                of it could nest without end or stand for parts without number; `undecodable` where the body is damaged.
        """
        if self._boundless:
            detail = f"The record's schema (id {self._id}) refers to itself, or has too many parts that take no bytes: "
            raise Unprocessable(Reason.INVALID_COMMAND, f"{detail}a value of it may have no bounds, so none is read.")
        body = self._body(value)
        body.seek(_HEADER.size)
        try:
            content = schemaless_reader(body, self._writer, self._reader)
        except SchemaResolutionError as error:
            detail = f"The record's schema (id {self._id}) does not resolve to {self._name}: a field that is needed is "
            raise Unprocessable(Reason.INVALID_COMMAND, f"{detail}missing or has another type.") from error
        except OverflowError as error:
            detail = "A number is too large for its field, such as a time beyond the year 9999."
            raise Unprocessable(Reason.INVALID_COMMAND, detail) from error
        except Exception as error:  # fastavro raises whatever the bytes provoke
            detail = f"The body does not fit its schema (id {self._id}): it is damaged or cut short."
            raise Unprocessable(Reason.UNDECODABLE, detail) from error
        if left := len(value) - body.tell():
            detail = f"The body does not fit its schema (id {self._id}): {left} bytes are left over."
            raise Unprocessable(Reason.UNDECODABLE, detail)
        return dict(content)


class AvroWriter:
    """Writes framed values."""

    def __init__(self, id_: int, schema: Schema) -> None:
        self._header = _HEADER.pack(MAGIC, id_)
        self._schema = parse_schema(schema)

    def write(self, content: dict[str, Any]) -> bytes:
        """The framed value."""
        body = io.BytesIO()
        body.write(self._header)
        schemaless_writer(body, self._schema, content)
        return body.getvalue()


class _Checked(io.BytesIO):
    """Bytes that say when they have ended. Slower: a third of the time that a command takes."""

    def read(self, size: int | None = -1, /) -> bytes:
        found = super().read(size)
        if len(found) < (size or 0):
            raise EOFError
        return found


def _read_decimal(data: bytes, writer: Schema | None = None, reader: Schema | None = None) -> Any:
    if len(data) > MAX_DECIMAL_BYTES:
        raise SchemaResolutionError(f"a decimal has {len(data)} bytes; at most {MAX_DECIMAL_BYTES} are read")
    return _any_decimal(data, writer, reader)


_any_decimal = LOGICAL_READERS["bytes-decimal"]
# fastavro has one table of these for the whole process, and asks to change it where other ones are wanted.
LOGICAL_READERS["bytes-decimal"] = LOGICAL_READERS["fixed-decimal"] = _read_decimal


def _without_shadowed_aliases(reader: Schema, writer: Any) -> Schema:
    """The reader's schema for a writer that has both a field and something else under that field's alias.

    fastavro would take the alias for the field.
    """
    parts = writer if isinstance(writer, list) else [writer]
    written = {field["name"] for part in parts if isinstance(part, dict) for field in part.get("fields", ())}
    fields = [
        {part: content for part, content in field.items() if part != "aliases" or field["name"] not in written}
        for field in reader["fields"]
    ]
    return {**reader, "fields": fields}
