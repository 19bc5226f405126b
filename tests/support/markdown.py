"""Reads: the README and everything under docs/. Writes: nothing. The parts of Markdown that tests look at."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])

_FENCE = re.compile(r"^ *```(\w*)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
_SPAN = re.compile(r"`([^`\n]+)`")
_LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
_CELL = re.compile(r"(?<!\\)\|")


@dataclass(frozen=True)
class Block:
    """A fenced block."""

    page: Path
    language: str
    text: str


def name_of(page: Path) -> str:
    """The page's name, for messages and test ids."""
    return str(page.relative_to(ROOT))


def blocks(page: Path, *languages: str) -> list[Block]:
    """The fenced blocks of these languages."""
    found = [Block(page, *match) for match in _FENCE.findall(page.read_text())]
    return [block for block in found if block.language in languages]


def prose(page: Path) -> str:
    """The page without its fenced blocks."""
    return _FENCE.sub("", page.read_text())


def spans(page: Path) -> list[str]:
    """Everything in backticks outside of blocks."""
    return _SPAN.findall(prose(page))


def links(page: Path) -> list[str]:
    """The targets of links and pictures."""
    return _LINK.findall(prose(page))


def anchors(page: Path) -> set[str]:
    """What a link may name behind #, as GitHub makes it of headings."""
    return {
        re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in _HEADING.findall(prose(page))
    }


def section(page: Path, heading: str) -> str:
    """The text from a heading to the next one of any level."""
    _, found, rest = prose(page).partition(f"\n{heading}\n")
    assert found, f"{name_of(page)} has no heading {heading!r}"
    return re.split(r"^#", rest, maxsplit=1, flags=re.MULTILINE)[0]


def first_cells(text: str) -> list[str]:
    """What stands in backticks in the first column of the tables of a text."""
    return [match[1] for row in rows(text) if (match := _SPAN.match(row[0]))]


def rows(text: str) -> Iterator[list[str]]:
    """The cells of each row of the tables of a text, without heads."""
    for line in text.splitlines():
        if line.startswith("|") and not line.startswith("|---"):
            yield [cell.strip() for cell in _CELL.split(line)[1:-1]]


def command_lines(page: Path) -> list[str]:
    """Command lines in blocks and in backticks; what is continued with a backslash is one line."""
    found = []
    for block in blocks(page, "console", "sh"):
        lines = block.text.replace("\\\n", " ").splitlines()
        prompts = block.language == "console"
        found += [line.strip().removeprefix("$ ") for line in lines if not prompts or line.strip().startswith("$ ")]
    return found + spans(page)
