"""The id of a run and the fingerprint of its params: the same command, the same run. Reads and writes nothing."""

import hashlib
import re

MAX_LENGTH = 250
"""Airflow's column for run ids; a longer one is refused."""

_MAX_APP_LENGTH = 100
_SAFE = re.compile(r"[A-Za-z0-9_.~:+-]")
_HASH_LENGTH = 32


def run_id(app_id: str, command_id: str, round_: int, attempt: int) -> str:
    """`cmd__<app id>__<command id>__<round>.<attempt>`, fit for Airflow.

    Characters outside Airflow's pattern, and `~` itself, become `~` and two hex digits for each byte of UTF-8, so that
    different ids stay different. `..` is not allowed by Airflow, so a dot after a dot is escaped too, and in the app id
    whatever could be taken for the `__` behind it. What would be too long ends in `~~`, which no escape gives, and a
    hash of the whole.
    """
    start, end = run_prefix(app_id), f"__{round_}.{attempt}"
    return f"{start}{_fit(_escape(command_id), command_id, MAX_LENGTH - len(start) - len(end))}{end}"


def run_prefix(app_id: str) -> str:
    """How the ids of all runs of an installation begin, and of no other's."""
    app = _escape(app_id).replace("__", "~5f~5f")
    if app.endswith("_"):
        app = f"{app[:-1]}~5f"
    return f"cmd__{_fit(app, app_id, _MAX_APP_LENGTH)}__"


def params_digest(params: str) -> str:
    """A fingerprint of the params' text, in hex."""
    return hashlib.sha256(params.encode()).hexdigest()[:_HASH_LENGTH]


def _fit(escaped: str, text: str, room: int) -> str:
    if len(escaped) <= room:
        return escaped
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:_HASH_LENGTH]
    return f"{escaped[: room - _HASH_LENGTH - 2]}~~{digest}"


def _escape(text: str) -> str:
    out: list[str] = []
    for character in text:
        dotted = character == "." and bool(out) and out[-1] == "."
        if _SAFE.fullmatch(character) and character != "~" and not dotted:
            out.append(character)
        else:
            out.extend(f"~{byte:02x}" for byte in character.encode("utf-8", "surrogatepass"))
    return "".join(out)
