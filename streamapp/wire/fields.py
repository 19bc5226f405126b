"""Reads the fields of a decoded record, JSON or Avro, against its schema. Writes nothing."""

from collections.abc import Callable
from datetime import datetime
from typing import Any
from uuid import UUID

from streamapp.wire.schemas import Schema
from streamapp.wire.times import cut, from_millis, from_text

ReadTime = Callable[[Any], datetime]
_BITS = {"int": 31, "long": 63}


class WrongField(ValueError):
    """A field is missing or has the wrong type; the message names it."""


def conform(content: dict[str, Any], schema: Schema, read_time: ReadTime) -> dict[str, Any]:
    """Each field of the schema, None where it is optional and absent; others are dropped.

    Raises:
        WrongField: A field is missing or has the wrong type.
    """
    return {field["name"]: _field(content.get(field["name"]), field, read_time) for field in schema["fields"]}


def json_time(value: Any) -> datetime:
    """A time on the JSON wire.

    Raises:
        ValueError: It isn't ISO 8601 with an offset from UTC.
    """
    if not isinstance(value, str):
        raise ValueError("a time as ISO 8601 text")
    return from_text(value)


def avro_time(value: Any) -> datetime:
    """A time as fastavro gives it: a number where the writer's schema names no logical type.

    Raises:
        ValueError: It is no time, or a local one.
        OverflowError: It is out of range.
    """
    if isinstance(value, datetime) and value.tzinfo is not None:
        return cut(value)
    if isinstance(value, int):
        return from_millis(value)
    raise ValueError("a time as timestamp-millis")


def _field(value: Any, field: Schema, read_time: ReadTime) -> Any:
    name, kind = field["name"], field["type"]
    if isinstance(kind, list):
        if value is None:
            return None
        kind = kind[1]
    if value is None:
        raise WrongField(f"The field {name} is missing.")
    if kind == "string":
        return _string(value, name)
    if kind in ("int", "long"):
        return _whole_number(value, name, _BITS[kind])
    if "logicalType" in kind:
        return _time(value, name, read_time)
    if not isinstance(value, dict):
        raise WrongField(f"The field {name} must be a record.")
    return conform(value, kind, read_time)


def _string(value: Any, name: str) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, UUID):  # fastavro's reading of the logical type
        return str(value)
    raise WrongField(f"The field {name} must be a string.")


def _whole_number(value: Any, name: str, bits: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not -(2**bits) <= value < 2**bits:
        raise WrongField(f"The field {name} must be a whole number of at most {bits} bits.")
    return value


def _time(value: Any, name: str, read_time: ReadTime) -> datetime:
    try:
        return read_time(value)
    except (ValueError, OverflowError) as error:
        detail = "ISO 8601 text with Z or an offset in JSON, timestamp-millis in Avro"
        raise WrongField(f"The field {name} must be a time: {detail}.") from error
