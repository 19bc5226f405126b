"""The public records, field for field, as Faust sees them. Reads and writes nothing; the codecs do.

Times are aware datetimes in UTC. On the wire they are ISO 8601 text (JSON) or `timestamp-millis` (Avro).
"""

from datetime import datetime

import faust


class _Record(faust.Record, abstract=True, include_metadata=False, isodates=True):  # type: ignore[misc, call-arg]
    """What the records have in common: no Faust metadata among the fields."""


class CommandRecord(_Record):
    """What a producer writes."""

    command: str
    params: str
    id: str | None = None
    not_before: datetime | None = None
    deadline: datetime | None = None
    correlation_id: str | None = None
    causation_id: str | None = None


class SourceRecord(_Record):
    """The place of a command in Kafka."""

    topic: str
    partition: int
    offset: int


class TimingsRecord(_Record):
    """When a command passed its stations."""

    accepted_at: datetime | None = None
    triggered_at: datetime | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None


class OutcomeRecord(_Record):
    """One change of a command's state, or one observation."""

    id: str
    command_id: str
    key: str | None
    command: str | None
    dag_id: str | None
    dag_run_id: str | None
    round: int
    attempt: int
    status: str
    reason: str | None
    detail: str | None
    at: datetime
    source: SourceRecord
    timings: TimingsRecord
    correlation_id: str | None
    causation_id: str | None
    duplicate_of: str | None
    replay_id: str | None
    control_id: str | None
    result: str | None


class ControlRecord(_Record):
    """What an operator, or a worker's timer, asks for."""

    control_id: str
    action: str
    command_id: str | None
    key: str | None
    key_base64: str | None
    """The key's exact bytes, where `key` can't tell them: it is not UTF-8."""
    dag_id: str | None
    by: str
    reason: str | None
    at: datetime
