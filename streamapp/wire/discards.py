"""Reads and writes the marks of discarded dead letters, which stand behind the letters on the same topic."""

from dataclasses import dataclass
from datetime import datetime

from streamapp.core.key import usable_key
from streamapp.wire import strict_json
from streamapp.wire.headers import DISCARD, DLQ_NAMES, Headers, last
from streamapp.wire.outgoing import Outgoing
from streamapp.wire.times import from_text, to_text


@dataclass(frozen=True, slots=True, kw_only=True)
class Discard:
    """Somebody's word that a dead letter needs nothing any more; the letter stays as it is."""

    dlq_id: str
    by: str
    note: str | None = None
    at: datetime


def encode_discard(key: bytes | None, discard: Discard) -> Outgoing:
    """The mark; it has none of a dead letter's headers, so nobody takes it for one.

    Args:
        key: The letter's; none where that is too long to be one.
        discard: What it says.
    """
    fields = {"dlq_id": discard.dlq_id, "by": discard.by, "note": discard.note, "at": to_text(discard.at)}
    value = strict_json.dumps({name: content for name, content in fields.items() if content is not None})
    return Outgoing(usable_key(key), value, [(DISCARD, discard.dlq_id.encode())])


def decode_discard(value: bytes | None, headers: Headers) -> Discard | None:
    """The mark, None for a record that is none: no bytes make it raise.

    A dead letter is none, whatever its command had for headers: it keeps them.
    """
    if last(headers, DISCARD) is None or any(name in DLQ_NAMES for name, _ in headers):
        return None
    try:
        fields = strict_json.loads((value or b"").decode())
        note = fields.get("note")
        return Discard(
            dlq_id=str(fields["dlq_id"]),
            by=str(fields["by"]),
            note=None if note is None else str(note),
            at=from_text(fields["at"]),
        )
    except (KeyError, TypeError, ValueError):
        return None
