"""How answers look on the wire: JSON, errors, and the headers that every answer has. Reads and writes nothing."""

import json
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

log = logging.getLogger(__name__)

HEADERS = {
    "Content-Security-Policy": "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


def json_answer(content: Any, *, status: int = 200) -> web.Response:
    """ASCII only, so that no half of a surrogate pair can break the encoding."""
    return web.Response(text=json.dumps(content) + "\n", status=status, content_type="application/json")


async def add_headers(_: web.Request, answer: web.StreamResponse) -> None:
    """Pages load nothing from elsewhere, are shown in no frame, and leave no traces."""
    for name, value in HEADERS.items():
        answer.headers.setdefault(name, value)


@web.middleware
async def errors_as_json(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """What goes wrong is told in JSON, never with a traceback."""
    try:
        return await handler(request)
    except web.HTTPException as error:
        if error.status < web.HTTPBadRequest.status_code:
            raise
        return json_answer({"error": error.text or error.reason}, status=error.status)
    except Exception:
        log.exception("a request to the console failed", extra={"action": "console_failed", "path": request.path})
        return json_answer({"error": "the console failed; the worker's log says more"}, status=500)
