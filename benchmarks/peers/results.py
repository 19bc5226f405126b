"""Reads and writes: a folder with results.jsonl, one line for each run of the benchmark."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Line = dict[str, Any]


@dataclass(frozen=True)
class Results:
    """What there is so far; a later process goes on with it."""

    folder: Path

    @property
    def path(self) -> Path:
        """Of the lines."""
        return self.folder / "results.jsonl"

    def __iter__(self) -> Iterator[Line]:
        if self.path.exists():
            for line in self.path.read_text().splitlines():
                yield json.loads(line)

    def has(self, **names: Any) -> bool:
        """Whether there is a line with these names."""
        return any(all(line[name] == value for name, value in names.items()) for line in self)

    def add(self, names: Line, figures: Line) -> None:
        """Keep a line."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with self.path.open("a") as lines:
            lines.write(json.dumps(names | figures) + "\n")
