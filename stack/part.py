"""Reads: a part's own probes. Writes: nothing. What a part of the stack is, and the probes that parts share."""

import fcntl
import json
import time
import urllib.error
import urllib.request
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from stack.config import Config, StackError


@dataclass(frozen=True)
class Command:
    """A program to run in the part's place, and what its environment has besides this process's."""

    argv: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)


class Part(ABC):
    """One process of the stack."""

    name: ClassVar[str]
    ports: ClassVar[tuple[str, ...]] = ()  # fields of Config

    def __init__(self, config: Config) -> None:
        self.config = config

    @property
    def state(self) -> Path:
        """The part's own folder under the state directory; its program runs there."""
        return self.config.state / self.name

    @property
    def session_file(self) -> Path:
        """Where the number of the part's session is kept."""
        return self.state / "session"

    def prepare(self) -> None:  # noqa: B027 (most parts need nothing)
        """Make what the program needs before its start; harmless when repeated."""

    @abstractmethod
    def command(self) -> Command:
        """Return what to run."""

    @abstractmethod
    def waiting_for(self) -> str | None:
        """Return why the part can't be used yet, or None when it answers."""


def http_problem(url: str, headers: Mapping[str, str] | None = None) -> str | None:
    """Return why a GET of this address does not answer 200, or None."""
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=dict(headers or {})), timeout=2) as answer:
            return None if answer.status == 200 else f"{url} answers {answer.status}"
    except urllib.error.HTTPError as error:
        return f"{url} answers {error.code}"
    except OSError as error:
        return f"{url}: {getattr(error, 'reason', error)}"


def http_json(url: str) -> Any:
    """Return the document at an address; raise an OSError for any other answer."""
    with urllib.request.urlopen(url, timeout=2) as answer:
        return json.load(answer)


def wait_for(part: Part, deadline_seconds: float) -> None:
    """Wait until another part answers."""
    deadline = time.monotonic() + deadline_seconds
    while problem := part.waiting_for():
        if time.monotonic() > deadline:
            raise StackError(f"{part.name} does not answer: {problem}")
        time.sleep(0.1)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Let one process at a time do this."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
