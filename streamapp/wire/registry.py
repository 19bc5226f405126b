"""Reads schemas from the registry and registers ours, by its Confluent-compatible API. Never blocks the event loop."""

import asyncio
from datetime import timedelta
from typing import Any
from urllib.parse import unquote, urlsplit, urlunsplit

import httpx
from schema_registry.client import AsyncSchemaRegistryClient
from schema_registry.client.errors import ClientError
from schema_registry.client.schema import AvroSchema

from streamapp.clock import Clock
from streamapp.core.errors import ConfigError, Unavailable, Unprocessable
from streamapp.core.model import Reason
from streamapp.wire.schemas import Schema

TIMEOUT = timedelta(seconds=10)
"""For each step of a request; a registry that is slower counts as away."""

UNKNOWN_FOR = timedelta(seconds=5)
"""How long an unknown id is taken as unknown: many bad records cost few requests, and a schema that is registered late
is soon found."""

_MAX_ID = 2**31 - 1
_NOT_FOUND = {40401, 40402, 40403}


class Registry:
    """A schema registry."""

    def __init__(self, url: str, clock: Clock, user_info: str | None = None, timeout: timedelta = TIMEOUT) -> None:
        """Talks to nobody yet.

        Args:
            url: Where the API is; it may carry `user:password@`.
            clock: For how long an unknown id counts as unknown.
            user_info: `user:password` for basic authentication; wins over what stands in the URL.
            timeout: For each step of a request.

        Raises:
            ConfigError: The URL is no HTTP address.
        """
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ConfigError("The schema registry's URL is not an http:// or https:// address: correct it.")
        user, password = unquote(parts.username or ""), unquote(parts.password or "")
        if user_info:
            user, _, password = user_info.partition(":")
        bare = urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
        auth = httpx.BasicAuth(user, password) if user else httpx.Auth()
        self._client = _Client(bare, auth=auth, timeout=httpx.Timeout(timeout.total_seconds()))
        # One for all requests: loading the certificates takes as long as hundreds of records.
        self._client.client_kwargs["verify"] = httpx.create_ssl_context()
        self._clock = clock
        self._asking = asyncio.Lock()
        self._unknown: dict[int, tuple[float, str]] = {}

    async def schema(self, id_: int) -> Any:
        """The parsed Avro schema of an id; asked for once, then remembered for ever.

        Raises:
            Unprocessable: `unknown_schema`: the registry does not know the id, or it isn't Avro.
            Unavailable: The registry does not answer.
        """
        # One question at a time: whoever waited finds the answer remembered.
        async with self._asking:
            now = self._clock.monotonic()
            self._unknown = {known: until for known, until in self._unknown.items() if until[0] > now}
            if id_ not in self._unknown:
                found = await self._ask(id_)
                if not isinstance(found, str):
                    return found
                self._unknown[id_] = (self._clock.monotonic() + UNKNOWN_FOR.total_seconds(), found)
            raise Unprocessable(Reason.UNKNOWN_SCHEMA, self._unknown[id_][1])

    async def register(self, subject: str, schema: Schema) -> int:
        """The id of the schema under a subject; registered unless it is there already.

        Raises:
            ConfigError: The registry refuses the schema.
            Unavailable: The registry does not answer.
        """
        try:
            return int(await self._client.register(subject, AvroSchema(schema)))
        except ClientError as error:
            answer = f"({error.http_code}, {error})"
            mend = "delete the subject's other schemas or relax its compatibility"
            raise ConfigError(
                f"The schema registry refuses streamapp's schema for the subject {subject} {answer}: {mend}."
            ) from error

    async def _ask(self, id_: int) -> Any:
        """The schema, or in one sentence why there is none."""
        if not 0 < id_ <= _MAX_ID:
            return f"The schema id {id_} is not one that a registry gives."
        try:
            schema = await self._client.get_by_id(id_)
        except Unavailable:
            raise
        except Exception as error:  # noqa: BLE001  whatever the parsers of schemas raise
            return f"The schema {id_} can't be read as Avro ({type(error).__name__})."
        if schema is None:
            return f"The registry does not know the schema id {id_}."
        if not isinstance(schema, AvroSchema):
            return f"The schema {id_} is not Avro."
        return schema.schema


class _Client(AsyncSchemaRegistryClient):  # type: ignore[misc]
    """Lets only those answers through that the registry itself gave to the question asked."""

    async def request(self, url: str, method: str = "GET", **options: Any) -> httpx.Response:
        where = f"The schema registry at {self.url_manager.url}"
        try:
            response: httpx.Response = await super().request(url, method, **options)
        except Exception as error:  # no answer is no answer: none of them may count as one about the schema
            raise Unavailable(f"{where} does not answer ({type(error).__name__})") from error
        if response.status_code in {401, 403}:
            raise Unavailable(f"{where} refuses the user or password ({response.status_code})")
        if not _answers(response):
            raise Unavailable(f"{where} gives no usable answer ({response.status_code})")
        return response


def _answers(response: httpx.Response) -> bool:
    """Whether this is the registry's own word: a proxy in front of it, or a wrong path, has a 404 as well."""
    try:
        content = response.json()
    except ValueError:
        return False
    if not isinstance(content, dict):
        return False
    if response.is_success:
        return "id" in content or "schema" in content
    if response.status_code == httpx.codes.NOT_FOUND:
        return content.get("error_code") in _NOT_FOUND
    return response.status_code in {409, 422} and "error_code" in content
