"""Reads: nothing. Writes: schemas into the registry, and values as a foreign Confluent client frames them."""

import io
import json
import struct
from typing import Any

import httpx
from fastavro import schemaless_writer

TWO_FIELDS: dict[str, Any] = {
    "type": "record",
    "namespace": "event",
    "name": "EventSchema",
    "fields": [{"name": "command", "type": "string"}, {"name": "params", "type": "string"}],
}
"""What producers that know nothing of ids write."""


def register(registry_url: str, subject: str, schema: dict[str, Any]) -> int:
    """Register a schema; answer its id."""
    body = {"schema": json.dumps(schema)}
    answer = httpx.post(f"{registry_url}/subjects/{subject}/versions", json=body, timeout=20).raise_for_status()
    return int(answer.json()["id"])


def framed(schema_id: int, schema: dict[str, Any], fields: dict[str, Any]) -> bytes:
    """A value: byte 0, the schema's id, the body."""
    body = io.BytesIO()
    schemaless_writer(body, schema, fields)
    return struct.pack(">bI", 0, schema_id) + body.getvalue()
