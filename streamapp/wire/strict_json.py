"""Reads and writes JSON objects that every party can take: one meaning, valid UTF-8, finite numbers, bounded depth."""

import json
import math
import re
from datetime import datetime
from typing import Any

from streamapp.wire.times import to_text

MAX_DEPTH = 100
"""Deeper nesting is refused: Python's own limit depends on the caller's stack, so it would fail later and elsewhere."""

_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


class NotStrictJson(ValueError):
    """The text is no JSON object, or one that not everybody could take; the message says why."""


def loads(text: str) -> dict[str, Any]:
    """The object.

    Raises:
        NotStrictJson: See there.
    """
    try:
        content = _decoder.decode(text)
    except RecursionError:
        raise NotStrictJson(_TOO_DEEP) from None
    except NotStrictJson:
        raise
    except ValueError as error:
        raise NotStrictJson(f"it is not JSON ({error})") from error
    if not isinstance(content, dict):
        raise NotStrictJson("it is JSON, but not an object")
    if text.count("[") + text.count("{") > MAX_DEPTH:
        _check_depth(content)
    if _SURROGATE.search(text):
        _check_surrogates(content)
    return content


def dumps(content: dict[str, Any]) -> bytes:
    """Compact JSON in UTF-8; times as ISO 8601."""
    return _encoder.encode(content).encode()


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        raise NotStrictJson("an object in it names a field twice")
    return content


def _number(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise NotStrictJson("a number in it is out of range")
    return number


def _constant(name: str) -> float:
    raise NotStrictJson(f"{name} is not JSON")


def _check_depth(content: dict[str, Any]) -> None:
    level: list[Any] = [content]
    for _ in range(MAX_DEPTH):
        below = [list(node.values()) if isinstance(node, dict) else node for node in level]
        level = [child for children in below for child in children if isinstance(child, dict | list)]
        if not level:
            return
    raise NotStrictJson(_TOO_DEEP)


def _check_surrogates(content: dict[str, Any]) -> None:
    try:
        dumps(content)
    except UnicodeEncodeError:
        raise NotStrictJson("a string in it has half of a surrogate pair, which UTF-8 can't carry") from None


def _default(value: object) -> str:
    if isinstance(value, datetime):
        return to_text(value)
    raise TypeError(type(value).__name__)


_TOO_DEEP = f"it is nested deeper than {MAX_DEPTH} levels"
_decoder = json.JSONDecoder(object_pairs_hook=_object, parse_float=_number, parse_constant=_constant)
_encoder = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), default=_default)
