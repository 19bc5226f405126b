"""A schema registry without a network: answers as Confluent's API does, or as it is told."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

import httpx

from streamapp.clock import Clock
from streamapp.wire.avro import AvroWriter
from streamapp.wire.registry import Registry

URL = "http://registry.test"


class FakeRegistry:
    """Holds schemas by id."""

    def __init__(self) -> None:
        self.schemas: dict[int, dict[str, Any]] = {}
        self.subjects: dict[str, list[int]] = {}
        self.requests: list[httpx.Request] = []
        self.fault: Callable[[httpx.Request], httpx.Response | None] = lambda _: None
        """What it answers instead; may raise."""

    def client(self, clock: Clock, url: str = URL, user_info: str | None = None) -> Registry:
        registry = Registry(url, clock, user_info)
        registry._client.client_kwargs["transport"] = httpx.MockTransport(self._answer)
        return registry

    def add(self, schema: Any, schema_type: str = "AVRO") -> int:
        id_ = len(self.schemas) + 1
        self.schemas[id_] = {"schema": json.dumps(schema), "schemaType": schema_type}
        return id_

    def framed(self, schema: Any, content: dict[str, Any]) -> bytes:
        """A value as a foreign client with this schema writes it."""
        return AvroWriter(self.add(schema), schema).write(content)

    async def _answer(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        await asyncio.sleep(0)
        return self.fault(request) or self._route(request)

    def _route(self, request: httpx.Request) -> httpx.Response:
        match request.method, request.url.path.strip("/").split("/"):
            case "GET", ["schemas", "ids", id_]:
                found = self.schemas.get(int(id_))
                return httpx.Response(200, json=found) if found else _error(404, 40403)
            case "POST", ["subjects", subject]:
                wanted = json.loads(request.content)["schema"]
                ids = self.subjects.get(subject, [])
                id_ = next((id_ for id_ in ids if self.schemas[id_]["schema"] == wanted), None)
                return httpx.Response(200, json={"id": id_, "version": 1}) if id_ else _error(404, 40403)
            case "POST", ["subjects", subject, "versions"]:
                id_ = self.add(json.loads(json.loads(request.content)["schema"]))
                self.subjects.setdefault(subject, []).append(id_)
                return httpx.Response(200, json={"id": id_})
        return _error(404, 404)


def _error(status: int, code: int) -> httpx.Response:
    return httpx.Response(status, json={"error_code": code, "message": "no"})
