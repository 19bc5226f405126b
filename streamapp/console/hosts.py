"""Refuses requests under names that are not this worker's: reads the header Host. Writes nothing.

Any site can let its own name point to 127.0.0.1 (DNS rebinding): for a browser that shows one of its pages, the worker
then is a part of that site, and all it answers is the site's to read. There is no log-in that would come in between;
but the browser tells by which name it came.
"""

import re
from collections.abc import Callable, Collection
from ipaddress import ip_address
from urllib.parse import urlsplit

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from streamapp.settings import variable

FOR_ANYBODY = frozenset({"/health/live", "/health/ready", "/metrics"})
"""What machines ask for by the name of a service. No command is shown there."""
ANY = "*"


def refuse_others(own: Callable[[], str], others: Collection[str]) -> Middleware:
    """Answer only who came by an address, or by a known name.

    Args:
        own: The address that this worker announces to the others.
        others: Further names, of proxies and services; `ANY` for all there are.
    """

    def is_known(name: str) -> bool:
        return _is_address(name) or name in {"localhost", *others} or ANY in others or name == urlsplit(own()).hostname

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        name = re.sub(r":\d*$", "", request.headers.get("Host", "")).removesuffix(".").lower()
        if request.path not in FOR_ANYBODY and not is_known(name):
            text = f"This worker is not known by the name {name!r}: if that is one of its own, {variable('web_hosts')}"
            raise web.HTTPMisdirectedRequest(text=f"{text} must have it.")
        return await handler(request)

    return middleware


def _is_address(name: str) -> bool:
    try:
        ip_address(name.removeprefix("[").removesuffix("]"))
    except ValueError:
        return False
    return True
