from dataclasses import replace
from datetime import UTC, datetime

import pytest

from streamapp.core.model import DeadLetter, Original, Reason, Source
from streamapp.wire.dead_letter import decode_dead_letter, encode_dead_letter

AT = datetime(2026, 1, 2, 3, 4, 5, 678000, tzinfo=UTC)
LETTER = DeadLetter(
    source=Source("my-commands", 3, 42),
    key=b"order-1",
    original=Original(b"\x00raw", (("traceparent", b"t"), ("empty", None), ("twice", b"1"), ("twice", b"2"))),
    round=2,
    reason=Reason.UNDECODABLE,
    detail="The body does not fit: ü.",
    at=AT,
)
WRITTEN = [
    *LETTER.original.headers,
    ("dlq.id", b"my-commands-3-42-2"),
    ("dlq.reason", b"undecodable"),
    ("dlq.detail", "The body does not fit: ü.".encode()),
    ("dlq.topic", b"my-commands"),
    ("dlq.partition", b"3"),
    ("dlq.offset", b"42"),
    ("dlq.at", b"2026-01-02T03:04:05.678Z"),
]


def test_the_record_stays_and_the_headers_follow():
    assert encode_dead_letter(LETTER) == (b"order-1", b"\x00raw", WRITTEN)


def test_it_is_read_back():
    assert decode_dead_letter(*encode_dead_letter(LETTER)) == LETTER


def test_headers_of_an_earlier_dead_letter_are_replaced():
    earlier = replace(LETTER, original=Original(b"\x00raw", tuple(WRITTEN)), round=3)
    written = encode_dead_letter(earlier).headers
    assert [name for name, _ in written] == [name for name, _ in WRITTEN]
    assert dict(written)["dlq.id"] == b"my-commands-3-42-3"


def test_foreign_headers_that_look_alike_stay():
    letter = replace(LETTER, original=Original(None, (("dlq.team", b"x"),)))
    assert encode_dead_letter(letter).headers[0] == ("dlq.team", b"x")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("dlq.id", b"other-3-42-2"),
        ("dlq.id", b"my-commands-3-42-"),
        ("dlq.reason", b"unheard_of"),
        ("dlq.detail", b"\xff"),
        ("dlq.partition", b"x"),
        ("dlq.offset", None),
        ("dlq.at", b"today"),
    ],
)
def test_what_is_no_dead_letter_is_none(name, content):
    headers = [(header, content if header == name else value) for header, value in WRITTEN]
    assert decode_dead_letter(b"order-1", b"", headers) is None
    assert decode_dead_letter(b"order-1", b"", [header for header in WRITTEN if header[0] != name]) is None


def test_a_header_of_the_command_that_is_not_utf_8_is_kept():
    """Else the letter is taken for none, and can neither be looked at nor sent again."""
    letter = replace(LETTER, original=Original(b"raw", (("binary", b"\xff"),)))
    assert decode_dead_letter(*encode_dead_letter(letter)) == letter
