"""Reads: a part's own probes. Writes: nothing. What a part of the stack is, and the probes that parts share."""

import urllib.error
import urllib.request
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from stack.config import Config


@dataclass(frozen=True)
class Command:
    """A program to run in the part's place."""

    argv: Sequence[str]
    environment: dict[str, str]
    directory: Path


class Part(ABC):
    """One process of the stack."""

    name: ClassVar[str]
    ports: ClassVar[tuple[str, ...]] = ()  # fields of Config

    def __init__(self, config: Config) -> None:
        self.config = config

    @property
    def state(self) -> Path:
        """The part's own folder under the state directory."""
        return self.config.state / self.name

    def prepare(self) -> None:  # noqa: B027 (most parts need nothing)
        """Make what the program needs before its start; harmless when repeated."""

    @abstractmethod
    def command(self) -> Command:
        """Return what to run."""

    @abstractmethod
    def waiting_for(self) -> str | None:
        """Return why the part can't be used yet, or None when it answers."""


def http_problem(url: str, timeout_seconds: float = 2.0) -> str | None:
    """Return why a GET of this address does not answer 200, or None."""
    try:
        with urllib.request.urlopen(url, timeout=timeout_seconds) as answer:
            return None if answer.status == 200 else f"{url} answers {answer.status}"
    except urllib.error.HTTPError as error:
        return f"{url} answers {error.code}"
    except (OSError, urllib.error.URLError) as error:
        return f"{url}: {getattr(error, 'reason', error)}"
