"""Reads: HTTP on a port. Writes: the same to Airflow's API, and a JSON line for each request to a log.

    python -m benchmarks.peers.proxy PORT TARGET LOG

Every way talks to Airflow through it, so that requests and answers are counted alike. When Airflow gives no answer,
neither does this.
"""

import asyncio
import json
import sys
import time
from pathlib import Path
from typing import IO

import aiohttp
from aiohttp import web

from stack.config import HOST

KEEP_IDLE_SECONDS = 2.0
"""Airflow closes idle connections after 5 s."""
OWN_HEADERS = {"connection", "content-length", "host", "keep-alive", "transfer-encoding", "content-encoding"}


class Proxy:
    """Passes on, and takes note."""

    def __init__(self, target: str, log: IO[str]) -> None:
        self._target = target
        self._log = log
        self._session: aiohttp.ClientSession | None = None

    async def forward(self, request: web.Request) -> web.StreamResponse:
        """Pass one request on."""
        arrived, begun = time.time(), time.monotonic()
        body = await request.read()
        headers = {name: text for name, text in request.headers.items() if name.lower() not in OWN_HEADERS}
        status = 0
        try:
            async with self._open().request(
                request.method, self._target + request.path_qs, data=body or None, headers=headers
            ) as reply:
                content = await reply.read()
                status = reply.status
                kept = {name: text for name, text in reply.headers.items() if name.lower() not in OWN_HEADERS}
                return web.Response(status=status, body=content, headers=kept)
        except aiohttp.ClientError:
            if request.transport is not None:
                request.transport.abort()
            return web.Response(status=502)
        finally:
            note = {"at": arrived, "method": request.method, "path": request.path, "status": status}
            self._log.write(json.dumps(note | {"ms": round(1000 * (time.monotonic() - begun), 1)}) + "\n")
            self._log.flush()

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=KEEP_IDLE_SECONDS)
            # Who asked decides how long to wait.
            self._session = aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=None))
        return self._session


async def serve(port: int, target: str, log: Path) -> None:
    """Serve until the process ends."""
    with log.open("a") as lines:
        proxy = Proxy(target, lines)
        # Where the client has gone, so has the wish for an answer.
        app = web.Application(client_max_size=2**24)
        app.router.add_route("*", "/{rest:.*}", proxy.forward)
        runner = web.AppRunner(app, handler_cancellation=True, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, HOST, port).start()
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]), sys.argv[2], Path(sys.argv[3])))
