import io
import itertools

import pytest
from fastavro import _read_py, parse_schema
from hypothesis import event, given
from hypothesis import strategies as st

from streamapp.wire import bounds

FREE = 8
"""Fewer than there are: what is counted wrongly then shows in small schemas."""


@st.composite
def schemas(draw):
    """With few types that take bytes: what is dangerous is in the others."""
    names, records = map("N{}".format, itertools.count()), []

    def type_(depth):
        kinds = ["null", "int", *["again"] * 4 * bool(records)]
        kinds += ["record", "record", "record", "record", "array", "map", "union", "fixed"] if depth else []
        match draw(st.sampled_from(kinds)):
            case "again":
                return draw(st.sampled_from(records))
            case "array":
                return {"type": "array", "items": type_(depth - 1)}
            case "map":
                return {"type": "map", "values": type_(depth - 1)}
            case "union":
                return [type_(depth - 1) for _ in range(draw(st.integers(1, 3)))]
            case "fixed":
                return {"type": "fixed", "name": next(names), "size": draw(st.integers(0, 2))}
            case "record":
                fields = [{"name": f"f{n}", "type": type_(depth - 1)} for n in range(draw(st.integers(0, 8)))]
                records.append(next(names))
                return {"type": "record", "name": records[-1], "fields": fields}
            case simple:
                return simple

    return parse_schema({"type": "record", "name": "Top", "fields": [{"name": "f", "type": type_(5)}]})


class TooMany(Exception):
    pass


def parts_read(schema, value, most):
    """How many parts fastavro takes a value for, damaged or not. It has the same steps in Python as in C."""
    count, read = itertools.count(1), _read_py.read_data

    def counted(*of):
        if next(count) > most:
            raise TooMany
        return read(*of)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_read_py, "read_data", counted)
        try:
            _read_py.schemaless_reader(io.BytesIO(value), schema, None)
        except TooMany:
            return most + 1
        except Exception:  # whatever the bytes provoke
            pass
    return next(count) - 1


values = st.integers(0, 30).flatmap(lambda size: st.lists(st.sampled_from(b"\0\2\2\4"), min_size=size, max_size=size))


@given(schemas(), values.map(bytes))
def test_a_value_that_is_read_has_few_parts_for_its_bytes(schema, value):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bounds, "FREE_PARTS", FREE)
        refused = bounds.boundless(schema)
    event(f"refused: {refused}")
    most = FREE + bounds.PARTS_PER_BYTE * len(value)
    assert refused or parts_read(schema, value, most) <= most
