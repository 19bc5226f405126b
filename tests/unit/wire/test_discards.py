import pytest

from streamapp.core.model import DeadLetter, Original, Reason, Source
from streamapp.wire.dead_letter import decode_dead_letter, encode_dead_letter
from streamapp.wire.discards import Discard, decode_discard, encode_discard
from tests.support.builders import AT


@pytest.mark.parametrize("note", [None, "sent twice"])
def test_a_mark_comes_back_as_it_was_and_is_no_dead_letter(note):
    discard = Discard(dlq_id="commands-0-5-1", by="ann", note=note, at=AT)
    key, value, headers = encode_discard(b"k", discard)
    assert (key, headers) == (b"k", [("streamapp-discard", b"commands-0-5-1")])
    assert decode_discard(value, headers) == discard
    assert decode_dead_letter(key, value, headers) is None


def test_a_key_that_is_too_long_is_left_out():
    assert encode_discard(b"k" * 9000, Discard(dlq_id="a-0-0-1", by="ann", at=AT)).key is None


@pytest.mark.parametrize("value", [None, b"", b"\xff", b"{}", b'{"dlq_id": "a", "by": "b", "at": 7}'])
def test_what_is_no_mark(value):
    assert decode_discard(value, [("streamapp-discard", b"a")]) is None
    assert decode_discard(value, [("dlq.id", b"a")]) is None


def test_a_dead_letter_is_no_mark_though_its_command_was_written_like_one():
    mark = encode_discard(b"k", Discard(dlq_id="commands-0-5-1", by="ann", at=AT))
    written = Original(mark.value, tuple(mark.headers))
    letter = DeadLetter(
        source=Source("commands", 0, 7),
        key=b"k",
        original=written,
        round=1,
        reason=Reason.INVALID_COMMAND,
        detail="",
        at=AT,
    )
    record = encode_dead_letter(letter)
    assert decode_discard(record.value, record.headers) is None
    assert decode_dead_letter(*record) == letter


def test_a_record_that_looks_like_a_mark_is_none_without_its_header():
    """Who writes such a body elsewhere discards nobody's letter."""
    mark = encode_discard(b"k", Discard(dlq_id="commands-0-5-1", by="ann", at=AT))
    assert decode_discard(mark.value, []) is None


def test_a_mark_without_a_note_has_no_note():
    assert b"note" not in encode_discard(b"k", Discard(dlq_id="commands-0-5-1", by="ann", at=AT)).value
