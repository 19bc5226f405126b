from datetime import UTC, datetime, timedelta, timezone

import pytest

from streamapp.wire.times import from_millis, from_record, from_text, to_millis, to_text

AT = datetime(2026, 1, 2, 3, 4, 5, 678000, tzinfo=UTC)


@pytest.mark.parametrize(
    "text",
    [
        "2026-01-02T03:04:05.678Z",
        "2026-01-02T03:04:05.678999+00:00",
        "2026-01-02T05:04:05.678+02:00",
        "2026-01-02 03:04:05.678Z",
        "20260102T030405.678Z",
    ],
)
def test_iso_8601_with_an_offset_is_read_and_cut_to_milliseconds(text):
    assert from_text(text) == AT
    assert from_text(text).tzinfo is UTC


@pytest.mark.parametrize(
    "text",
    [
        "",
        "soon",
        "2026-01-02",
        "2026-01-02T03:04:05",
        "1767322845678",
        "0001-01-01T00:00:00+05:00",
        "9999-12-31T23:59:59-05:00",
    ],
)
def test_other_text_is_refused(text):
    with pytest.raises(ValueError):
        from_text(text)


def test_times_are_written_in_utc_with_milliseconds():
    assert (
        to_text((AT + timedelta(microseconds=999)).astimezone(timezone(timedelta(hours=2))))
        == "2026-01-02T03:04:05.678Z"
    )


def test_milliseconds_are_cut_not_rounded():
    assert to_millis(AT + timedelta(microseconds=999)) == 1767323045678
    assert from_millis(1767323045678) == AT
    assert to_millis(datetime(1969, 12, 31, 23, 59, 59, 999500, tzinfo=UTC)) == -1


@pytest.mark.parametrize("millis", [0, -1, 1767323045678, 4102444800001, 95617584000001, 253402300799999])
def test_a_record_keeps_its_milliseconds_although_faust_tells_seconds(millis):
    assert to_millis(from_record(millis / 1000.0)) == millis


@pytest.mark.parametrize("millis", [2**63 - 1, -(2**63), 10**17, 253402300800000, -62135596800001])
def test_any_time_of_a_record_is_a_time(millis):
    assert from_record(millis / 1000.0).year in {1, 9999}


def test_a_record_may_have_no_time():
    assert to_millis(from_record(None)) == 0
