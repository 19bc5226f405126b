"""Requests to Airflow, bounded in time and length. Reads and writes HTTP; tells "surely not sent" from "no answer"."""

import asyncio
import ssl
from collections.abc import Mapping
from datetime import timedelta

import httpx

from streamapp.airflow.port import AirflowUnavailable
from streamapp.core.errors import ConfigError

KEEP_IDLE_SECONDS = 2.0
"""How long an unused connection is kept. Airflow's server closes idle ones after 5 s; a request that is written in that
moment is lost without an answer, and each such loss costs a look-up and a delay."""

LONGEST_ANSWER = 64 * 2**20
"""Bytes that are read of any answer: a run with the largest conf is a few MB, but what stands in front of Airflow may
send anything."""


class NotSent(AirflowUnavailable):
    """The request surely had no effect: there was no connection, or no log-in."""


class NoAnswer(AirflowUnavailable):
    """The request may have been carried out, but its answer did not arrive."""


class TooLong(NoAnswer):
    """The answer was longer than is wanted; no more of it was read."""


class Connection:
    """A pool of HTTP connections to one Airflow.

    Args:
        url: Where Airflow's pages are, with its path prefix if it has one.
        connect_timeout: For opening a connection, and for waiting for a free one.
        request_timeout: For a whole request, however slowly its answer trickles in.
        headers: Sent with every request, for what stands before Airflow; never shown.
        trust: Whose certificates are taken; default: the public ones of certifi.
        transport: Another way to carry requests, for tests.

    Raises:
        ConfigError: The address can't be used.
    """

    def __init__(
        self,
        url: str,
        *,
        connect_timeout: timedelta,
        request_timeout: timedelta,
        headers: Mapping[str, str] | None = None,
        trust: ssl.SSLContext | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        connect = connect_timeout.total_seconds()
        self._request_seconds = request_timeout.total_seconds()
        self._client = httpx.AsyncClient(
            base_url=_checked(url),
            timeout=httpx.Timeout(self._request_seconds, connect=connect, pool=connect),
            limits=httpx.Limits(keepalive_expiry=KEEP_IDLE_SECONDS),
            headers={"User-Agent": "streamapp", "Accept": "application/json", **(headers or {})},
            verify=trust if trust is not None else True,
            transport=transport,
        )

    async def send(
        self,
        method: str,
        path: str,
        *,
        content: bytes | None = None,
        params: Mapping[str, int | str] | None = None,
        authorization: str | None = None,
        longest: int = LONGEST_ANSWER,
    ) -> httpx.Response:
        """Send a request and read its whole answer; its headers are left out.

        Args:
            method: The HTTP method.
            path: Below the address, with everything in it escaped.
            content: A JSON document.
            params: The query.
            authorization: The log-in, as its header has it.
            longest: Bytes that the answer may have, once it is unpacked.

        Raises:
            NotSent: It surely had no effect.
            TooLong: The answer has more bytes than that.
            NoAnswer: Nobody knows whether it had an effect.
        """
        headers = {"Content-Type": "application/json"} if content is not None else {}
        if authorization is not None:
            headers["Authorization"] = authorization
        try:
            async with (
                asyncio.timeout(self._request_seconds),
                self._client.stream(method, path, content=content, params=params, headers=headers) as answer,
            ):
                body = bytearray()
                async for part in answer.aiter_bytes():
                    body += part
                    if len(body) > longest:
                        raise TooLong(f"Airflow's answer has more than {longest} bytes")
                return httpx.Response(answer.status_code, content=bytes(body), request=answer.request)
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
            raise NotSent(f"no connection to Airflow: {_describe(error)}") from error
        except TimeoutError as error:
            raise NoAnswer(f"no answer from Airflow in {self._request_seconds:g} s") from error
        except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError) as error:
            # TLS fails on reads and writes as an OSError, a redirect to what is no address as one of the others.
            raise NoAnswer(f"no answer from Airflow: {_describe(error)}") from error

    async def close(self) -> None:
        """Close all connections."""
        await self._client.aclose()


def _checked(url: str) -> httpx.URL:
    try:
        address = httpx.URL(url)
        host = address.host
    except (httpx.InvalidURL, UnicodeError) as error:
        raise ConfigError(f"STREAMAPP_AIRFLOW_URL is not an address: {error}") from error
    if address.scheme not in {"http", "https"} or not host:
        raise ConfigError("STREAMAPP_AIRFLOW_URL must be like http://localhost:8080")
    if address.userinfo:
        raise ConfigError(
            "STREAMAPP_AIRFLOW_URL carries a user name: set STREAMAPP_AIRFLOW_USERNAME and STREAMAPP_AIRFLOW_PASSWORD"
        )
    return address


def _describe(error: Exception) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
