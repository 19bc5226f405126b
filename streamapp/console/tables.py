"""Serves GET /api/v1/tables/{partition}: fingerprints of the rows of a database. Reads a snapshot of it."""

import asyncio
from collections.abc import Callable
from http import HTTPStatus

from aiohttp import web

from streamapp.console.answers import json_answer
from streamapp.kafka.audit import Snapshot

TABLES = "/api/v1/tables"


def register(routes: web.UrlDispatcher, snapshot: Callable[[int], Snapshot | None]) -> None:
    """Add the route.

    Args:
        routes: Of the worker's web server.
        snapshot: Takes a consistent look at a partition; None where it isn't this worker's. Called in a thread.
    """

    async def table(request: web.Request) -> web.Response:
        partition = int(request.match_info["partition"])
        found = await asyncio.to_thread(snapshot, partition)
        if found is None:
            return json_answer({"error": f"partition {partition} is not this worker's"}, status=HTTPStatus.NOT_FOUND)
        return web.Response(text="\n".join(found.lines()) + "\n")

    routes.add_get(TABLES + r"/{partition:\d+}", table)
