"""Says which Avro schemas are dangerous to read with. Reads parsed schemas, writes nothing.

fastavro reads in C, where too deep a nesting ends the process, and an array of endless items that take no bytes never
ends: a handful of bytes would stop every worker that reads them.
"""

from typing import Any


def boundless(schema: Any) -> bool:
    """Whether a value of this schema may nest without end, or be endless in few bytes.

    Args:
        schema: Parsed, so that every name in it is a full one.
    """
    try:
        _takes_bytes(schema, {}, ())
    except (_Boundless, RecursionError):
        return True
    return False


class _Boundless(Exception):
    pass


def _takes_bytes(schema: Any, named: dict[str, bool], within: tuple[str, ...]) -> bool:
    """Whether each value takes at least a byte.

    Args:
        schema: See above.
        named: The same for types with a name, as far as they are known; added to.
        within: The names of the types around this one.
    """
    if isinstance(schema, list):
        for part in schema:
            _takes_bytes(part, named, within)
        return True
    if isinstance(schema, dict):
        takes = _of_type(schema, named, within)
        if "name" in schema:
            named[schema["name"]] = takes
        return takes
    if schema in within:
        raise _Boundless
    return named.get(schema, bool(schema != "null"))


def _of_type(schema: dict[str, Any], named: dict[str, bool], within: tuple[str, ...]) -> bool:
    match schema["type"]:
        case "record" | "error":
            inside = (*within, schema["name"])
            takes = [_takes_bytes(field["type"], named, inside) for field in schema["fields"]]  # every one is looked at
            return any(takes)
        case "array":
            if not _takes_bytes(schema["items"], named, within):
                raise _Boundless
            return True
        case "map":
            _takes_bytes(schema["values"], named, within)
            return True
        case "fixed":
            return bool(schema["size"])
        case type_:
            return _takes_bytes(type_, named, within)
