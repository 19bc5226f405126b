"""Reads and writes the dead-letter topic: a record as it came, and headers that say why and from where."""

from typing import Any

from streamapp.core.model import DeadLetter, Original, Reason, Source
from streamapp.wire.headers import (
    DLQ_AT,
    DLQ_DETAIL,
    DLQ_ID,
    DLQ_NAMES,
    DLQ_OFFSET,
    DLQ_PARTITION,
    DLQ_REASON,
    DLQ_TOPIC,
    Headers,
)
from streamapp.wire.outgoing import Outgoing
from streamapp.wire.times import from_text, to_text


def encode_dead_letter(letter: DeadLetter) -> Outgoing:
    """The record for the dead-letter topic: the original headers first, without those of an earlier dead letter."""
    said = {
        DLQ_ID: letter.id,
        DLQ_REASON: letter.reason,
        DLQ_DETAIL: letter.detail,
        DLQ_TOPIC: letter.source.topic,
        DLQ_PARTITION: str(letter.source.partition),
        DLQ_OFFSET: str(letter.source.offset),
        DLQ_AT: to_text(letter.at),
    }
    ours = [(name, text.encode(errors="replace")) for name, text in said.items()]
    return Outgoing(letter.key, letter.original.value, [*_without(letter.original.headers, DLQ_NAMES), *ours])


def decode_dead_letter(key: bytes | None, value: bytes | None, headers: Headers) -> DeadLetter | None:
    """The dead letter, None for a record that is none: no bytes make it raise."""
    try:
        said = {name: (content or b"").decode() for name, content in headers if name in DLQ_NAMES}
        original_headers: Any = tuple(_without(headers, DLQ_NAMES))
        source = Source(said[DLQ_TOPIC], int(said[DLQ_PARTITION]), int(said[DLQ_OFFSET]))
        return DeadLetter(
            source=source,
            key=key,
            original=Original(value, original_headers),
            round=int(said[DLQ_ID].removeprefix(f"{source}-")),
            reason=Reason(said[DLQ_REASON]),
            detail=said[DLQ_DETAIL],
            at=from_text(said[DLQ_AT]),
        )
    except (KeyError, ValueError):
        return None


def _without(headers: Headers, names: frozenset[str]) -> list[tuple[str, bytes | None]]:
    return [(name, content) for name, content in headers if name not in names]
