"""Reads text and TOML files that users write; tells where in them something stands. Writes nothing."""

import re
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from streamapp.core.errors import ConfigError

TABLES = ("streamapp", "route")
"""What the TOML file may hold: settings, and routes."""

_PLACE = re.compile(r"\s*\(at line (\d+), column (\d+)\)$")
_HEADER = re.compile(r"\s*\[\[\s*route\s*\]\]")
_ANY_HEADER = re.compile(r"\s*\[")


@dataclass(frozen=True)
class Toml:
    """A TOML file that was read."""

    path: Path
    text: str
    content: dict[str, Any]

    def place(self, pattern: str, begin: int = 1, end: int | None = None) -> str:
        """The file, with the first of these lines that begins with a pattern, where there is one."""
        lines = self.text.splitlines()[begin - 1 : end]
        for number, line in enumerate(lines, start=begin):
            if re.match(rf"\s*(?:{pattern})", line):
                return f"{self.path}:{number}"
        return str(self.path)

    def key_place(self, name: str, begin: int = 1, end: int | None = None) -> str:
        """The file, with the line of a key."""
        return self.place(rf"""\[*\s*(?:[\w.]+\.)?["']?{re.escape(name)}["']?\s*[\].=]""", begin, end)

    def route_lines(self, count: int) -> list[tuple[int, int | None]]:
        """The first and the last line of each `[[route]]`; the whole file for each if they are written otherwise."""
        lines = self.text.splitlines()
        found = []
        for begin in (number for number, line in enumerate(lines, start=1) if _HEADER.match(line)):
            ends = (n for n, line in enumerate(lines[begin:], start=begin) if _ANY_HEADER.match(line))
            found.append((begin, next(ends, None)))
        return found if len(found) == count else [(1, None)] * count


def read_text(path: Path, name: str) -> str:
    """The text of a file.

    Args:
        path: Of the file.
        name: The setting that names it.

    Raises:
        ConfigError: It can't be read.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise ConfigError(f"{path}: can't be read ({why}): {name} must name a text file") from None


def parse_toml(path: Path, text: str) -> Toml:
    """A file of settings and routes.

    Raises:
        ConfigError: It is not TOML, or holds something else.
    """
    try:
        content = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        message = str(error)
        at = _PLACE.search(message)
        place, column = (f"{path}:{at[1]}", f", column {at[2]}") if at else (str(path), "")
        raise ConfigError(f"{place}: not TOML: {_PLACE.sub('', message)}{column}") from None
    toml = Toml(path, text, content)
    for name in content:
        if name not in TABLES:
            where = toml.key_place(name)
            raise ConfigError(
                f"{where}: {name!r} is not known: settings belong in a table [streamapp], routes in tables [[route]]"
            )
    return toml


def meant(name: str, known: Iterable[str]) -> str:
    """The known name that somebody may have meant, as the end of a sentence."""
    close = get_close_matches(name, list(known), n=1)
    return f"; did you mean {close[0]}?" if close else ""
