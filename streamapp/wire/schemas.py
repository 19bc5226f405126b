"""The Avro schemas of the records; they also say which types the JSON wire takes. Reads and writes nothing."""

from typing import Any

Schema = dict[str, Any]

_TIME: Schema = {"type": "long", "logicalType": "timestamp-millis"}


def _required(name: str, type_: Any) -> Schema:
    return {"name": name, "type": type_}


def _optional(name: str, type_: Any = "string") -> Schema:
    return {"name": name, "type": ["null", type_], "default": None}


def _record(name: str, *fields: Schema) -> Schema:
    return {"type": "record", "namespace": "event", "name": name, "fields": list(fields)}


COMMAND = _record(
    "EventSchema",
    # Producers in the wild call the first field `event`.
    {**_required("command", "string"), "aliases": ["event"]},
    _required("params", "string"),
    _optional("id"),
    _optional("not_before", _TIME),
    _optional("deadline", _TIME),
    _optional("correlation_id"),
    _optional("causation_id"),
)

OUTCOME = _record(
    "Outcome",
    _required("id", "string"),
    _required("command_id", "string"),
    _optional("key"),
    _optional("command"),
    _optional("dag_id"),
    _optional("dag_run_id"),
    _required("round", "int"),
    _required("attempt", "int"),
    _required("status", "string"),
    _optional("reason"),
    _optional("detail"),
    _required("at", _TIME),
    _required(
        "source",
        _record("Source", _required("topic", "string"), _required("partition", "int"), _required("offset", "long")),
    ),
    _required(
        "timings",
        _record(
            "Timings",
            _optional("accepted_at", _TIME),
            _optional("triggered_at", _TIME),
            _optional("started_at", _TIME),
            _optional("ended_at", _TIME),
        ),
    ),
    _optional("correlation_id"),
    _optional("causation_id"),
    _optional("duplicate_of"),
    _optional("replay_id"),
    _optional("control_id"),
    _optional("result"),
)

CONTROL = _record(
    "Control",
    _required("control_id", "string"),
    _required("action", "string"),
    _optional("command_id"),
    _optional("key"),
    _optional("key_base64"),
    _optional("dag_id"),
    _required("by", "string"),
    _optional("reason"),
    _required("at", _TIME),
)
"""The control topic carries JSON only; this names its fields and their types."""
