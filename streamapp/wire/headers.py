"""Reads the headers of a record: names that mean something here. Writes nothing."""

from collections.abc import Sequence

Headers = Sequence[tuple[str, bytes | None]]
"""As Kafka has them: in order, names may repeat, a value may be null."""

CE_ID = "ce_id"
"""CloudEvents' name for the id of an event: the command id where the record itself has none."""
REDRIVE = "streamapp-redrive"
"""On a redriven record: the `dlq.id` of the dead letter that it was."""
REPLAY = "streamapp-replay"
"""On a replayed record, beside `streamapp-redrive`: which replay it is part of."""
DISCARD = "streamapp-discard"
"""On the mark of a discarded dead letter, which stands on the dead-letter topic, too: the letter's `dlq.id`."""
TRACEPARENT = "traceparent"
"""W3C trace context, kept and continued."""

DLQ_ID = "dlq.id"
DLQ_REASON = "dlq.reason"
DLQ_DETAIL = "dlq.detail"
DLQ_TOPIC = "dlq.topic"
DLQ_PARTITION = "dlq.partition"
DLQ_OFFSET = "dlq.offset"
DLQ_AT = "dlq.at"
DLQ_NAMES = frozenset({DLQ_ID, DLQ_REASON, DLQ_DETAIL, DLQ_TOPIC, DLQ_PARTITION, DLQ_OFFSET, DLQ_AT})


def last(headers: Headers, name: str) -> bytes | None:
    """The value of the last header of that name: who adds one later means it to count."""
    return next((value for header, value in reversed(headers) if header == name), None)


def traceparent(headers: Headers) -> str | None:
    """The trace that this record belongs to."""
    return _text(last(headers, TRACEPARENT))


def _text(value: bytes | None) -> str | None:
    if value is None:
        return None
    try:
        return value.decode()
    except UnicodeDecodeError:
        return None
