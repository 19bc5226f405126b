import pytest

from streamapp.wire.headers import last, traceparent

HEADERS = (("traceparent", b"00-1"), ("traceparent", b"00-2"), ("streamapp-redrive", b"commands-0-1-1"), ("none", None))


def test_the_last_of_a_name_counts():
    assert last(HEADERS, "traceparent") == b"00-2"


@pytest.mark.parametrize("name", ["none", "absent"])
def test_a_null_value_is_as_good_as_absent(name):
    assert last(HEADERS, name) is None


def test_what_the_headers_say():
    assert traceparent(HEADERS) == "00-2"


def test_what_is_not_utf_8_says_nothing():
    assert traceparent((("traceparent", b"\xff"),)) is None


@pytest.mark.parametrize("headers", [(), (("traceparent", None),)])
def test_a_record_without_a_trace_belongs_to_none(headers):
    """A producer may give any header a null value: one of those must not end a worker."""
    assert traceparent(headers) is None
