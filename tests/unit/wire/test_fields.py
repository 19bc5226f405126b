from datetime import UTC, datetime
from uuid import UUID

import pytest

from streamapp.wire.fields import WrongField, avro_time, conform


def read(value, kind):
    return conform({"field": value}, {"fields": [{"name": "field", "type": kind}]}, avro_time)["field"]


@pytest.mark.parametrize(("kind", "bits"), [("int", 31), ("long", 63)])
def test_whole_numbers_have_as_many_bits_as_avro_gives_them(kind, bits):
    """One that is larger can be read, and never be written again: the record would stop each worker in turn."""
    assert [read(edge, kind) for edge in (-(2**bits), 2**bits - 1)] == [-(2**bits), 2**bits - 1]
    for beyond in (-(2**bits) - 1, 2**bits, True, 1.0, "1"):
        with pytest.raises(WrongField, match="whole number"):
            read(beyond, kind)


def test_a_uuid_is_text():
    assert read(UUID(int=7), "string") == "00000000-0000-0000-0000-000000000007"


@pytest.mark.parametrize("value", ["text", 7, [{}]])
def test_a_record_within_a_record_is_one(value):
    with pytest.raises(WrongField, match="must be a record"):
        read(value, {"type": "record", "name": "R", "fields": []})


MILLIS = {"type": "long", "logicalType": "timestamp-millis"}
AT = datetime(2026, 1, 2, 3, 4, 5, 678000, tzinfo=UTC)


def test_a_time_is_one_with_an_offset_or_milliseconds():
    assert read(AT.replace(microsecond=678999), MILLIS) == AT
    assert read(round(AT.timestamp() * 1000), MILLIS) == AT


@pytest.mark.parametrize("value", [AT.replace(tzinfo=None), "2026-01-02T03:04:05Z", 1.5, 2**62])
def test_what_is_no_time_is_told_by_its_field(value):
    """A local time would be another point in time on each machine."""
    with pytest.raises(WrongField, match="field must be a time"):
        read(value, MILLIS)
