"""Serves GET /api/v1/tables/{partition}: fingerprints of the rows of a database. Reads a snapshot of it.

A table can be large: it is read in portions, in a thread, one table at a time, and each portion is sent before the next
is read. What breaks off lacks the end of an HTTP body, so that nobody takes it for a table with fewer rows.
"""

import asyncio
from collections.abc import Callable, Iterator
from datetime import timedelta
from http import HTTPStatus

from aiohttp import web

from streamapp.console.answers import json_answer
from streamapp.core.errors import Unsafe

TABLES = "/api/v1/tables"
PATIENCE = timedelta(seconds=5)
"""For whoever asked to take a portion: the database is locked meanwhile, and whoever opens it next waits for 30 s."""


def register(
    routes: web.UrlDispatcher,
    fingerprints: Callable[[int], Iterator[bytes] | None],
    patience: timedelta = PATIENCE,
) -> None:
    """Add the route.

    Args:
        routes: Of the worker's web server.
        fingerprints: Of a partition's rows, in portions, each taken in a thread; None where it isn't this worker's.
        patience: For whoever asks, with each portion.
    """
    turn = asyncio.Lock()

    async def table(request: web.Request) -> web.StreamResponse:
        if turn.locked():
            text = "another table of this worker is being read: try again in a while"
            return json_answer({"error": text}, status=HTTPStatus.SERVICE_UNAVAILABLE)
        async with turn:
            partition = int(request.match_info["partition"])
            portions = fingerprints(partition)
            if portions is None:
                text = f"partition {partition} is not this worker's"
                return json_answer({"error": text}, status=HTTPStatus.NOT_FOUND)
            return await _stream(request, portions, patience)

    routes.add_get(TABLES + "/{partition:[0-9]{1,5}}", table, allow_head=False)


async def _stream(request: web.Request, portions: Iterator[bytes], patience: timedelta) -> web.StreamResponse:
    answer = web.StreamResponse(headers={"Content-Type": "text/plain; charset=utf-8"})
    await answer.prepare(request)
    try:
        while (portion := await asyncio.to_thread(next, portions, None)) is not None:
            async with asyncio.timeout(patience.total_seconds()):
                await answer.write(portion)
    except (Unsafe, TimeoutError, ConnectionError):
        if request.transport is not None:
            request.transport.abort()
    return answer
