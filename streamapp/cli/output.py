"""Reads: values for people and programs. Writes: stdout (data) and stderr (the rest)."""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import click

from streamapp.core.model import Status
from streamapp.wire.times import to_text

_COLOURS = {
    Status.SUCCEEDED: "green",
    Status.FAILED: "red",
    Status.REJECTED: "red",
    Status.BLOCKED: "red",
    Status.ATTEMPT_FAILED: "yellow",
    Status.EXPIRED: "yellow",
    Status.CANCELLED: "yellow",
    Status.SKIPPED: "yellow",
}


def print_json(value: Any) -> None:
    """One line of JSON; ASCII only, so that nothing in it can steer a terminal."""
    click.echo(json.dumps(value, default=_plain, allow_nan=False))


def say(text: str) -> None:
    """A line for the person, on stderr; parts of it may be what others wrote."""
    click.echo(printable(text), err=True)


def printable(text: object) -> str:
    """The text with everything that could steer a terminal escaped: control characters, bidirectional marks."""
    return "".join(_escape(character) for character in str(text))


def reason_of(error: Exception) -> str:
    """What an error says, or its name: many say nothing."""
    return str(error) or type(error).__name__


def coloured(status: str) -> str:
    """A status; terminals show it in colour."""
    colour = _COLOURS.get(Status(status)) if status in set(Status) else None
    return click.style(status, fg=colour)


def print_table(rows: Sequence[Sequence[object]]) -> None:
    """Columns as wide as their widest cell."""
    texts = [[printable("" if cell is None else cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*texts, strict=True)]
    for row in texts:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def print_fields(fields: Mapping[str, object]) -> None:
    """A line for each field that has a value."""
    print_table([(f"{name}:", value) for name, value in fields.items() if value not in (None, "", {}, [])])


def _escape(character: str) -> str:
    return character if character.isprintable() else character.encode("unicode_escape", "surrogatepass").decode()


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return to_text(value)
    return str(value)
