"""Reads: the bytes of a command, whatever they are. Writes: the same command changed, in the form that it had."""

import base64
import io
import json
import math
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from fastavro import schemaless_reader

from streamapp.core.errors import ConfigError, StreamappError, Unavailable
from streamapp.wire import avro, strict_json
from streamapp.wire.avro import AvroWriter
from streamapp.wire.bounds import boundless
from streamapp.wire.registry import Registry
from streamapp.wire.times import from_text, to_text

_HEADER_BYTES = 5
_TIMES = ("not_before", "deadline")


@dataclass(frozen=True, slots=True)
class Shown:
    """A value for people."""

    wire: str
    """avro, json, text, bytes or none."""
    fields: dict[str, Any] | None = None
    """With avro and json: what it says, as JSON can say it; params as an object where they are one."""
    text: str | None = None
    """With text: as it is; with bytes: in base64."""
    schema_id: int | None = None
    note: str | None = None
    """Why it can't be shown better."""

    @property
    def command(self) -> str | None:
        """The command's name, as far as it can be read."""
        fields = self.fields or {}
        name = fields.get("command") or fields.get("event")
        return name if isinstance(name, str) else None

    def as_json(self) -> dict[str, Any]:
        """For --json."""
        parts = {"wire": self.wire, "schema_id": self.schema_id, "value": self.fields, "note": self.note}
        parts["base64" if self.wire == "bytes" else "text"] = self.text
        return {name: part for name, part in parts.items() if part is not None}


class Values:
    """Shows values, and writes changed ones."""

    def __init__(self, registry: Registry | None) -> None:
        self._registry = registry
        self._schemas: dict[int, Any] = {}
        self._silence: Unavailable | None = None
        """The registry is asked no more once it has not answered."""

    async def show(self, value: bytes | None) -> Shown:
        """What a value says; no bytes make it raise."""
        if value is None:
            return Shown("none")
        if not avro.framed(value):
            return _shown_text(value)
        try:
            fields, schema_id = await self._read(value)
            return Shown("avro", _for_people(fields), schema_id=schema_id)
        except StreamappError as error:
            return Shown("bytes", text=base64.b64encode(value).decode(), note=_line(error))

    async def write(self, value: bytes | None, changed: dict[str, Any]) -> bytes:
        """A value with the fields that were changed; all others, and the form, stay as they were.

        Args:
            value: As it was.
            changed: All fields as `show` gives them, or some with other contents.

        Raises:
            ConfigError: The form has no place for it.
        """
        if value is None or not avro.framed(value):
            return strict_json.dumps(_flattened(changed, _parsed(value) or {}))
        try:
            before, schema_id = await self._read(value)
        except StreamappError as error:
            raise ConfigError(f"the value can't be changed: {_line(error)}") from None
        known = _for_people(before)
        if unknown := changed.keys() - known.keys():
            raise ConfigError(f"the record's schema (id {schema_id}) has no field {min(unknown)!r}")
        now = {name: before[name] if content == known[name] else content for name, content in changed.items()}
        now = {name: _typed(name, content, before[name]) for name, content in _flattened(now, before).items()}
        try:
            return AvroWriter(schema_id, self._schemas[schema_id]).write(now)
        except Exception as error:  # fastavro raises whatever the fields provoke
            why = f"({type(error).__name__}: {_line(error)})"
            raise ConfigError(f"the changed value does not fit the record's schema (id {schema_id}) {why}") from error

    async def _read(self, value: bytes) -> tuple[dict[str, Any], int]:
        """The fields as their writer's schema has them."""
        schema_id = avro.schema_id(value)
        if self._registry is None:
            raise ConfigError(f"it is Avro (schema id {schema_id}), but no schema registry is configured")
        if schema_id not in self._schemas:
            self._schemas[schema_id] = await self._ask(self._registry, schema_id)
        writer = self._schemas[schema_id]
        if boundless(writer):
            raise ConfigError(f"its schema (id {schema_id}) may stand for values without bounds")
        try:
            fields = schemaless_reader(io.BytesIO(value[_HEADER_BYTES:]), writer, None)
        except Exception as error:  # fastavro raises whatever the bytes provoke
            raise ConfigError(f"it does not fit its schema (id {schema_id}; {type(error).__name__})") from error
        if not isinstance(fields, dict):
            raise ConfigError(f"its schema (id {schema_id}) is not of a record")
        return fields, schema_id

    async def _ask(self, registry: Registry, schema_id: int) -> Any:
        if self._silence is not None:
            raise self._silence
        try:
            return await registry.schema(schema_id)
        except Unavailable as error:
            self._silence = error
            raise


def _shown_text(value: bytes) -> Shown:
    fields = _parsed(value)
    if fields is not None:
        return Shown("json", _for_people(fields))
    try:
        return Shown("text", text=value.decode())
    except UnicodeDecodeError:
        return Shown("bytes", text=base64.b64encode(value).decode())


def _parsed(value: bytes | None) -> dict[str, Any] | None:
    try:
        return strict_json.loads((value or b"").decode())
    except ValueError:
        return None


def _for_people(fields: dict[str, Any]) -> dict[str, Any]:
    shown = {name: _plain(content) for name, content in fields.items()}
    params = fields.get("params")
    if isinstance(params, str):
        try:
            shown["params"] = strict_json.loads(params)
        except strict_json.NotStrictJson:
            shown["params"] = params
    return shown


def _flattened(fields: dict[str, Any], before: dict[str, Any]) -> dict[str, Any]:
    """Params as text again: the same text where they are the same."""
    params = fields.get("params")
    if not isinstance(params, dict):
        return fields
    if isinstance(before.get("params"), str) and params == _for_people(before)["params"]:
        return {**fields, "params": before["params"]}
    return {**fields, "params": json.dumps(params, ensure_ascii=False)}


def _typed(name: str, content: Any, before: Any) -> Any:
    """A time is text for people, and a time on the wire."""
    if not isinstance(content, str) or not (name in _TIMES or isinstance(before, datetime)):
        return content
    try:
        return from_text(content)
    except ValueError:
        return content


def _plain(content: Any) -> Any:
    if isinstance(content, datetime):
        return to_text(content) if content.tzinfo else content.isoformat()
    if isinstance(content, bytes):
        return base64.b64encode(content).decode()
    if isinstance(content, dict):
        return {str(name): _plain(part) for name, part in content.items()}
    if isinstance(content, list):
        return [_plain(part) for part in content]
    if isinstance(content, float) and not math.isfinite(content):
        return json.dumps(content)  # NaN, Infinity: no JSON, so they become text
    return content if isinstance(content, str | int | float | bool | None) else str(content)


def _line(error: Exception) -> str:
    return " ".join(str(error).split())
