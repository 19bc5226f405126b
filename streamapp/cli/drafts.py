"""Reads: commands as a user gives them, by options or as lines of JSON. Writes: nothing."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from streamapp.clock import SystemClock
from streamapp.core.errors import ConfigError
from streamapp.core.model import Rejection, Source
from streamapp.wire import strict_json
from streamapp.wire.codec import CommandDecoder, CommandEncoder
from streamapp.wire.records import CommandRecord
from streamapp.wire.times import from_text

EXAMPLE = {"command": "app.send_email_alert", "params": '{"email": "test@email.com"}', "key": "event"}
"""What the `producer.py` of the example that many start from sends (docs/how-to/send-commands.md)."""

_TEXTS = ("command", "params", "id", "correlation_id", "causation_id")
_TIMES = ("not_before", "deadline")


@dataclass(frozen=True)
class Draft:
    """A command to be sent."""

    record: CommandRecord
    key: bytes | None
    place: str
    """Where it was given, for messages."""


class Drafts:
    """Makes drafts, and refuses what workers would reject."""

    def __init__(self, max_command_bytes: int) -> None:
        self._encoder = CommandEncoder(None, "")
        self._decoder = CommandDecoder(None, max_command_bytes)
        self._now = SystemClock().now()

    async def read_lines(self, lines: Iterable[str], file: str) -> list[Draft]:
        """A draft for each line that is not blank.

        Raises:
            ConfigError: A line is no command; it is named by its number.
        """
        drafts = []
        for number, line in enumerate(lines, start=1):
            if line.strip():
                place = f"{file}: line {number}"
                try:
                    fields = strict_json.loads(line)
                except strict_json.NotStrictJson as error:
                    raise ConfigError(f"{place}: {error}; nothing was sent") from None
                drafts.append(await self.make(fields, place))
        return drafts

    async def make(self, fields: dict[str, Any], place: str) -> Draft:
        """One draft.

        Raises:
            ConfigError: It is no command.
        """
        given = {name: value for name, value in fields.items() if value is not None}
        if isinstance(given.get("params"), dict):
            given["params"] = json.dumps(given["params"], ensure_ascii=False)
        if unknown := set(given) - {*_TEXTS, *_TIMES, "key"}:
            raise ConfigError(f"{place}: {min(unknown)!r} is not a field of a command; nothing was sent")
        for name in (*_TEXTS, *_TIMES, "key"):
            content = given.get(name, "")
            if not isinstance(content, str):
                raise ConfigError(f"{place}: {name} must be text; nothing was sent")
            if content != content.encode(errors="ignore").decode():
                raise ConfigError(f"{place}: {name} is not UTF-8; nothing was sent")
        for name in {"command", "params"} - set(given):
            raise ConfigError(f"{place}: {name} is missing; nothing was sent")
        for name in set(_TIMES) & set(given):
            try:
                given[name] = from_text(given[name])
            except ValueError as error:
                raise ConfigError(f"{place}: {name}: {error}; write it like 2026-01-31T08:00:00Z") from None
        key = given.pop("key", None)
        draft = Draft(CommandRecord(**given), None if key is None else key.encode(), place)
        await self._check(draft)
        return draft

    async def _check(self, draft: Draft) -> None:
        verdict = await self._decoder.decode(
            source=Source("", 0, 0),
            key=draft.key,
            value=self._encoder.encode(draft.record),
            headers=(),
            recorded_at=self._now,
        )
        if isinstance(verdict, Rejection):
            raise ConfigError(f"{draft.place}: {verdict.detail.rstrip('.')}; nothing was sent")
