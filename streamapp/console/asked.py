"""Reads what a request asks for, or says what is wrong with it. Writes nothing."""

import re

from aiohttp import web

from streamapp.console import names
from streamapp.console.peers import LOCAL
from streamapp.console.queries import Wanted
from streamapp.core.model import Status

MAX_LIMIT = 500
DEFAULT_LIMIT = 100


def name(request: web.Request) -> bytes:
    """The id or key in the path.

    Raises:
        web.HTTPBadRequest: It can't be read.
    """
    return _bytes(request.match_info["name"], request)


def text_name(request: web.Request) -> str:
    """The id in the path.

    Raises:
        web.HTTPBadRequest: It can't be read.
    """
    try:
        return name(request).decode()
    except UnicodeDecodeError:
        raise web.HTTPBadRequest(text="an id is text") from None


def key(request: web.Request) -> bytes | None:
    """The key that a list is asked for; an empty one in a form means any."""
    text = request.query.get("key", "")
    return _bytes(text, request) if text else None


def local(request: web.Request) -> bool:
    """Whether only this worker's own partitions are meant."""
    return LOCAL in request.query


def wanted(request: web.Request) -> Wanted:
    """Which commands are asked for.

    Raises:
        web.HTTPBadRequest: There is no such status.
    """
    try:
        statuses = frozenset(Status(status) for status in request.query.getall("status", []) if status)
    except ValueError:
        raise web.HTTPBadRequest(text=f"status must be one of {', '.join(Status)}") from None
    return Wanted(statuses=statuses, dag_id=request.query.get("dag") or None)


def limit(request: web.Request) -> int:
    """How many are asked for.

    Raises:
        web.HTTPBadRequest: More than there can be, or no number.
    """
    text = request.query.get("limit") or str(DEFAULT_LIMIT)
    if not (re.fullmatch("[0-9]{1,3}", text) and 1 <= int(text) <= MAX_LIMIT):
        raise web.HTTPBadRequest(text=f"limit must be a number from 1 to {MAX_LIMIT}")
    return int(text)


def _bytes(text: str, request: web.Request) -> bytes:
    try:
        return names.parse(text, request.query)
    except ValueError as error:
        raise web.HTTPBadRequest(text=str(error)) from None
