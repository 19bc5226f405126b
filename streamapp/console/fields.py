"""The public shape of a command: reads an entry, writes the names of the outcome record. JSON values only."""

import base64
from datetime import datetime
from typing import Any

from streamapp.core.key import show_key
from streamapp.core.model import Entry, Standing
from streamapp.wire.times import to_text

Fields = dict[str, Any]


def command_fields(entry: Entry, waiting: str | None) -> Fields:
    """A command as it now stands.

    Args:
        entry: The command.
        waiting: What it waits for.
    """
    policy, source, timings = entry.policy, entry.source, entry.timings
    return {
        "command_id": entry.id,
        **key_fields(entry.key),
        "command": entry.command,
        "dag_id": policy.dag_id if policy else None,
        "dag_run_id": entry.run_id,
        "round": entry.round,
        "attempt": entry.attempt,
        "status": entry.status.value,
        "waiting_for": waiting,
        "reason": entry.reason.value if entry.reason else None,
        "detail": _whole(entry.detail),
        "at": to_text(entry.at),
        "source": {"topic": source.topic, "partition": source.partition, "offset": source.offset},
        "timings": {
            "accepted_at": _time(timings.accepted_at),
            "triggered_at": _time(timings.triggered_at),
            "started_at": _time(timings.started_at),
            "ended_at": _time(timings.ended_at),
        },
        "correlation_id": entry.correlation_id,
        "causation_id": entry.causation_id,
        "duplicate_of": entry.duplicate_of,
    }


def more_fields(entry: Entry) -> Fields:
    """What only the answer about one command tells."""
    policy = entry.policy
    return {
        "recorded_at": to_text(entry.recorded_at),
        "not_before": _time(entry.not_before),
        "deadline": _time(entry.deadline),
        "ordering": policy.ordering.value if policy else None,
        "on_failure": policy.on_failure.value if policy else None,
        "max_attempts": policy.max_attempts if policy else None,
        "params": _whole(entry.params),
    }


def hold_fields(partition: int, standing: Standing) -> Fields:
    """Who has put a key on hold."""
    reason = _whole(standing.reason)
    return {"partition": partition, "by": _whole(standing.by), "reason": reason, "at": to_text(standing.at)}


def key_fields(key: bytes | None) -> Fields:
    """The key as it is shown, and its exact bytes where that can't tell them."""
    shown = show_key(key)
    exact = key is None or shown is None or shown.encode() == key
    return {"key": shown, "key_base64": None if exact or key is None else base64.b64encode(key).decode()}


def _time(at: datetime | None) -> str | None:
    return None if at is None else to_text(at)


def _whole(text: str | None) -> str | None:
    """What Airflow or a producer said may have halves of surrogate pairs, which no wire takes."""
    return text and text.encode(errors="replace").decode()
