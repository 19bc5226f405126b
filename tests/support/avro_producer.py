"""Reads: nothing. Writes: schemas into the registry, and values as a foreign Confluent client frames them."""

import io
import json
import struct
from typing import Any

import httpx
from fastavro import schemaless_writer

from tests.support.installation import Draft

TWO_FIELDS: dict[str, Any] = {
    "type": "record",
    "namespace": "event",
    "name": "EventSchema",
    "fields": [{"name": "command", "type": "string"}, {"name": "params", "type": "string"}],
}
"""What producers that know nothing of ids write."""
WITH_ID: dict[str, Any] = {
    **TWO_FIELDS,
    "fields": [*TWO_FIELDS["fields"], {"name": "id", "type": ["null", "string"], "default": None}],
}


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


class AvroCommands:
    """Commands on the Avro wire, in a schema under the subject `<topic>-value`."""

    def __init__(self, registry_url: str | None, topic: str) -> None:
        assert registry_url
        self._schema_id = register(registry_url, f"{topic}-value", WITH_ID)

    def command(self, key: bytes | None, /, *, name: str = "app.probe", id: str, **params: Any) -> Draft:  # noqa: A002
        """A command; everything else named is a param of the run."""
        fields = {"command": name, "params": json.dumps(params), "id": id}
        return Draft(value=framed(self._schema_id, WITH_ID, fields), key=key)
