"""Reads: any worker's JSON API. Writes: nothing. Where a command or a key stands."""

import base64
from functools import cache
from typing import Any

import click
import httpx

from streamapp.cli.output import reason_of
from streamapp.core.errors import Unavailable

HTTP_SECONDS = 10.0
LONGEST = 8000
"""Bytes of an address; with a longer one than 8190 in its request a web server answers nobody."""


class CantTell(Unavailable):
    """A worker answers, and others that may know do not."""


def command_at(worker: str, command_id: str) -> dict[str, Any] | None:
    """A command as the workers know it, None where they know of none.

    Raises:
        CantTell: Not all workers that may know have answered.
        Unavailable: No worker answers.
    """
    return _ask(worker, command_path(command_id), "command_id")


def key_at(worker: str, key: bytes) -> dict[str, Any] | None:
    """A key's queue and history as the workers know them, None where they know of none.

    Raises:
        CantTell: Not all workers that may know have answered, or none can be asked for so long a key.
        Unavailable: No worker answers.
    """
    path = f"keys/{_name(key)}"
    if len(path) > LONGEST:
        raise CantTell(f"a key of {len(key)} bytes is too long to ask the worker at {worker} for it")
    found = _ask(worker, path, "queue")
    if found is not None and found.get("incomplete"):
        silent = ", ".join(map(str, found["incomplete"]))
        raise CantTell(f"the worker at {worker} knows a part of it (no answer from {silent})")
    return found


def command_path(command_id: str) -> str:
    """Where the API tells of a command."""
    return f"commands/{_name(command_id.encode())}"


def _name(name: bytes) -> str:
    """An id or a key, as it survives the way: in an address . and .. are taken away."""
    return f"{base64.urlsafe_b64encode(name).decode()}?base64=1"


def _ask(worker: str, path: str, field: str) -> dict[str, Any] | None:
    """What a worker says, which has this field."""
    if not worker.lower().startswith(("http://", "https://")):
        raise click.UsageError(f"--worker {worker}: must be an address such as http://127.0.0.1:6066")
    try:
        answer = _client().get(f"{worker.rstrip('/')}/api/v1/{path}")
        content = answer.json()
    except httpx.InvalidURL as error:
        raise click.UsageError(f"--worker {worker}: {error}") from None
    except (httpx.HTTPError, ValueError) as error:
        raise Unavailable(f"no worker answers at {worker} ({reason_of(error)})") from None
    if answer.status_code == httpx.codes.OK:
        if isinstance(content, dict) and field in content:
            return content
        raise Unavailable(f"what answers at {worker} is no worker")
    # A 404 in JSON is a worker's; in anything else it would be somebody else's server.
    if answer.status_code == httpx.codes.NOT_FOUND:
        return None
    why = content.get("error") if isinstance(content, dict) else None
    raise CantTell(f"the worker at {worker} answers {answer.status_code}" + (f" ({why})" if why else ""))


@cache
def _client() -> httpx.Client:
    """One for all questions of a call: to make one takes longer than to ask. It keeps no connection open."""
    once = httpx.Limits(max_keepalive_connections=0)
    return httpx.Client(timeout=HTTP_SECONDS, follow_redirects=True, limits=once)
