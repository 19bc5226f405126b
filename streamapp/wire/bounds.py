"""Says which Avro schemas are dangerous to read with. Reads parsed schemas, writes nothing.

fastavro reads in C, where too deep a nesting ends the process, and where nobody else gets a turn: parts that take no
bytes, in an endless array or in records of records, would let a handful of bytes stop every worker that reads them.
"""

from dataclasses import dataclass
from functools import reduce
from typing import Any

from fastavro import parse_schema

FREE_PARTS = 64
"""How many parts of a value are read before it has to pay for them in bytes: dozens of empty fields are still taken."""

PARTS_PER_BYTE = 8
"""How many parts each byte pays for: the largest command by default, 256 KiB, takes half a second at worst. With fewer,
harmless items of an array would be too dear, such as a record in a record around one small field."""

MAX_DEPTH = 500
"""How far parts may nest. The stack ends somewhere beyond 20,000."""


def boundless(schema: Any) -> bool:
    """Whether a value of this schema may nest without end, or have far more parts than bytes.

    Args:
        schema: Parsed, so that every name in it is a full one.
    """
    types: dict[str, Any] = {}
    try:
        # As fastavro will do it: a schema may bring types along that are defined nowhere in it.
        cost = _Costs(types).of(parse_schema(schema, types))
    except Exception:  # noqa: BLE001  what can't be followed to its end has no known bounds
        return True
    return cost.most > FREE_PARTS or cost.depth > MAX_DEPTH


_UNCHECKED = frozenset({"boolean", "float", "double", "fixed"})


def unchecked(schema: Any) -> bool:
    """Whether fastavro may pass over parts of a value that are not there: of some types it does not look.

    Where the value is cut short, an array of such would go on for as long as it says, in no bytes.

    Args:
        schema: Parsed or not.
    """
    left, seen = [schema], set()
    while left:
        part = left.pop()
        if isinstance(part, str):
            if part in _UNCHECKED:
                return True
        elif isinstance(part, dict | list) and id(part) not in seen:
            seen.add(id(part))
            left.extend(part.values() if isinstance(part, dict) else part)
    return False


class _Boundless(Exception):
    pass


@dataclass(frozen=True, slots=True)
class _Cost:
    """What a value of a type may cost: its parts, less those that its bytes pay for."""

    most: int
    """At any moment of its reading: it may be cut short there."""
    end: int
    """When it has been read."""
    depth: int

    def then(self, part: "_Cost") -> "_Cost":
        """With one more part in it."""
        most, depth = max(self.most, self.end + part.most), max(self.depth, 1 + part.depth)
        return _Cost(most, self.end + part.end, depth)

    def either(self, other: "_Cost") -> "_Cost":
        """This or that, whichever is worse."""
        return _Cost(max(self.most, other.most), max(self.end, other.end), max(self.depth, other.depth))


_FREE = _Cost(1, 1, 1)
_PAID = _Cost(1, 1 - PARTS_PER_BYTE, 1)
_SIMPLE = dict.fromkeys(("boolean", "int", "long", "float", "double", "bytes", "string", "enum"), _PAID)


class _Costs:
    """By type."""

    def __init__(self, types: dict[str, Any]) -> None:
        self._types = types
        self._known: dict[str, _Cost | None] = {"null": _FREE, **_SIMPLE}
        """By name. None: not to its end yet."""
        self._records: dict[int, _Cost] = {}
        """By their fields, so that each is looked at once: where it is defined, and where it is used by its name."""

    def of(self, schema: Any) -> _Cost:
        """What a value of this type may cost.

        Raises:
            _Boundless: It has no bounds.
        """
        if isinstance(schema, str):
            return self._named(schema)
        if isinstance(schema, list):
            return reduce(_Cost.either, [_PAID.then(self.of(part)) for part in schema], _PAID)
        match schema["type"]:
            case "record" | "error":
                key = id(schema["fields"])
                if key not in self._records:
                    cost = _FREE
                    for field in schema["fields"]:
                        cost = cost.then(self.of(field["type"]))
                    self._records[key] = cost
                return self._records[key]
            case "array":
                return _many(self.of(schema["items"]))
            case "map":
                return _many(_PAID.then(self.of(schema["values"])))
            case "fixed":
                return _Cost(1, 1 - PARTS_PER_BYTE * max(0, schema["size"]), 1)
            case type_:
                return self.of(type_)

    def _named(self, name: str) -> _Cost:
        if name not in self._known:
            self._known[name] = None
            self._known[name] = _FREE.then(self.of(self._types[name]))
        cost = self._known[name]
        if cost is None:
            raise _Boundless
        return cost


def _many(item: _Cost) -> _Cost:
    if item.end > 0:
        raise _Boundless
    return _PAID.either(_PAID.then(item))
