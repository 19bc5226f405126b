"""How answers look on the wire: JSON, errors, and the headers that every answer has. Reads and writes nothing."""

import json
import logging
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

log = logging.getLogger(__name__)


FOR_MACHINES = ("/api/", "/health/", "/metrics")
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


def tell_errors(page: Callable[[int, str], web.Response]) -> Middleware:
    """What goes wrong is told in JSON to machines, on a page to people, and never with a traceback.

    Args:
        page: Makes the page, of a status and a sentence.
    """

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            return await handler(request)
        except web.HTTPException as error:
            if error.status < HTTPStatus.BAD_REQUEST:
                raise
            status, text, allow = error.status, error.text or error.reason, error.headers.get("Allow")
        except Exception:
            log.exception("a request to the console failed", extra={"action": "console_failed", "path": request.path})
            status, text, allow = HTTPStatus.INTERNAL_SERVER_ERROR, "The console failed; the log says more.", None
        machine = request.path.startswith(FOR_MACHINES)
        answer = json_answer({"error": text}, status=status) if machine else page(status, text)
        if allow is not None:
            answer.headers["Allow"] = allow
        return answer

    return middleware
