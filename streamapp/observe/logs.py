"""How log lines look, and which are left out: reads records of the standard logging, writes their text.

One line for each event: when, how grave, who, what happened, then `action=…` and the ids it is about, as the code gives
them in `extra`.
"""

import json
import logging
import math
import re
from datetime import UTC, datetime
from typing import Any

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_PLAIN = re.compile(r"[\w.:/@+~-]+")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


class LineFormatter(logging.Formatter):
    """Text with `name=value` behind it. What others wrote can't start a line of its own."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, and below it the traceback of an error."""
        at = datetime.fromtimestamp(record.created, UTC).replace(tzinfo=None).isoformat(timespec="milliseconds")
        message = record.getMessage()
        if record.name.startswith("streamapp"):  # Faust's tables have several lines
            message = _CONTROL.sub(lambda found: repr(found[0])[1:-1], message)
        extras = {name: value for name, value in vars(record).items() if name not in _STANDARD}
        words = [
            f"{at}Z",
            record.levelname,
            f"{record.name}:",
            message,
            *(f"{n}={_shown(v)}" for n, v in extras.items()),
        ]
        line = " ".join(words)
        if record.exc_info:
            line += f"\n{self.formatException(record.exc_info)}"
        return line


class Sparing(logging.Filter):
    """Lets a line that comes again and again through every 10 s, with how often it came meanwhile."""

    _PAUSE_SECONDS = 10.0
    _FORGOTTEN_SECONDS = 60.0

    def __init__(self) -> None:
        super().__init__()
        self._told: dict[tuple[str, str], tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether it is to be written."""
        line, now = (record.name, record.getMessage()), record.created
        at, left_out = self._told.get(line, (-math.inf, 0))
        if 0 <= now - at < self._PAUSE_SECONDS:
            self._told[line] = (at, left_out + 1)
            return False
        if left_out:
            record.msg, record.args = f"{line[1]} (and {left_out} times more since it was last written)", ()
        kept = {old: (at, count) for old, (at, count) in self._told.items() if now - at < self._FORGOTTEN_SECONDS}
        self._told = {**kept, line: (now, 0)}
        return True


_CLIENT = ("aiokafka", "aiokafka.producer.sender", "aiokafka.consumer.fetcher", "aiokafka.consumer.group_coordinator")
"""The parts of Kafka's client that complain at each attempt: some ninety lines a second while no broker answers."""

CONFIG: dict[str, Any] = {
    "version": 1,
    "merge": True,
    "formatters": {name: {"()": LineFormatter} for name in ("default", "colored")},
    "filters": {"sparing": {"()": Sparing}},
    "loggers": {"httpx": {"level": "WARNING"}} | {name: {"filters": ["sparing"]} for name in _CLIENT},
}
"""For Faust's setting `logging_config`. Requests to Airflow are told by who makes them, not by the HTTP client."""


def _shown(value: object) -> str:
    text = str(value)
    return text if _PLAIN.fullmatch(text) else json.dumps(text, ensure_ascii=not text.isprintable())
