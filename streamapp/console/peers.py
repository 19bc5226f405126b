"""Asks the other workers over HTTP for what they know. Reads their JSON API; writes nothing."""

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

import aiohttp
from yarl import URL

log = logging.getLogger(__name__)

LOCAL = "local"
"""The parameter that says: only your own partitions, ask nobody else."""
PATIENCE = timedelta(seconds=3)
"""More than a bounded answer takes; short enough for a person to wait when a worker is away."""
CONNECT_SHARE = 0.2
"""Of the patience, for a connection: workers are near each other."""

Place = tuple[str | None, int | None]


@dataclass(frozen=True, slots=True)
class Answers:
    """What the others said."""

    found: Mapping[str, dict[str, Any]] = field(default_factory=dict)
    """By the worker's address; without those that know nothing of it."""
    silent: tuple[str, ...] = ()
    """Workers that gave no answer."""


class Peers:
    """The other workers of the group."""

    def __init__(self, session: Callable[[], aiohttp.ClientSession], patience: timedelta = PATIENCE) -> None:
        """Know nobody yet.

        Args:
            session: Gives the HTTP client; called within the loop.
            patience: For each answer.
        """
        self._session = session
        seconds = patience.total_seconds()
        self._timeout = aiohttp.ClientTimeout(total=seconds, sock_connect=seconds * CONNECT_SHARE)

    async def ask(self, workers: Iterable[str], own: str, path: str, query: Sequence[tuple[str, str]] = ()) -> Answers:
        """Ask all others at once for what is in their own partitions.

        Args:
            workers: The addresses of all workers.
            own: This worker's address.
            path: Percent-encoded.
            query: Parameters.
        """
        others = {_place(url): url.rstrip("/") for url in sorted(workers)}
        others.pop(_place(own), None)
        answers = await asyncio.gather(*(self._ask(url, path, query) for url in others.values()))
        pairs = list(zip(others.values(), answers, strict=True))
        return Answers(
            {url: answer for url, answer in pairs if answer}, tuple(url for url, answer in pairs if answer is None)
        )

    async def _ask(self, worker: str, path: str, query: Sequence[tuple[str, str]]) -> dict[str, Any] | None:
        """The answer, {} for "unknown here", None for none."""
        url = URL(f"{worker}{path}", encoded=True).update_query([*query, (LOCAL, "1")])
        try:
            async with self._session().get(url, timeout=self._timeout, allow_redirects=False) as answer:
                content = await answer.json()
                if answer.status == HTTPStatus.OK and isinstance(content, dict):
                    return content
                if answer.status == HTTPStatus.NOT_FOUND:
                    return {}
                problem = f"it answers {answer.status}"
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            problem = str(error) or type(error).__name__
        log.warning(
            "a worker did not answer the console",
            extra={"action": "worker_silent", "worker": worker, "problem": problem},
        )
        return None


def _place(url: str) -> Place:
    parts = urlsplit(url)
    return parts.hostname, parts.port
