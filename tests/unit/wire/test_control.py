import json
from datetime import UTC, datetime

import pytest

from streamapp.core.model import Action, Instruction
from streamapp.wire.control import decode_instruction, encode_instruction

AT = datetime(2026, 1, 2, 3, 4, 5, 678000, tzinfo=UTC)
HOLD = Instruction(control_id="i1", action=Action.HOLD, key=b"order-1", by="alice", reason="why", at=AT)
FIELDS = {
    "control_id": "i1",
    "action": "hold",
    "key": "order-1",
    "by": "alice",
    "reason": "why",
    "at": "2026-01-02T03:04:05.678Z",
}


def test_an_instruction_is_json_without_nulls():
    key, value, headers = encode_instruction(HOLD)
    assert json.loads(value) == FIELDS
    assert (key, headers) == (b"i1", ())


def test_what_a_person_writes_is_read():
    assert decode_instruction(json.dumps({**FIELDS, "unknown": 1}).encode()) == HOLD


@pytest.mark.parametrize("key", [b"", b"\xff", b"/w==", None])
def test_keys_come_back_byte_for_byte(key):
    instruction = Instruction(control_id="i1", action=Action.RELEASE, key=key, by="alice", at=AT)
    assert decode_instruction(encode_instruction(instruction).value) == instruction


def test_a_key_that_is_not_utf_8_is_also_shown():
    instruction = Instruction(control_id="i1", action=Action.RELEASE, key=b"\xff", by="alice", at=AT)
    fields = json.loads(encode_instruction(instruction).value)
    assert (fields["key"], fields["key_base64"]) == ("/w==", "/w==")


@pytest.mark.parametrize(
    "change",
    [
        {"action": "explode"},
        {"action": None},
        {"control_id": None},
        {"by": 1},
        {"at": "today"},
        {"key": 1},
        {"key_base64": "?"},
        {"key_base64": "ü"},
        {"control_id": "x" * 1001},
        {"reason": "x" * 1001},
        {"key": "x" * 8193},
    ],
    ids=str,
)
def test_what_is_no_instruction_is_none(change):
    assert decode_instruction(json.dumps(FIELDS | change).encode()) is None


@pytest.mark.parametrize("value", [None, b"", b"[]", b"\xff", b"{}", b"\x00\x00\x00\x00\x01"])
def test_other_bytes_are_no_instruction(value):
    assert decode_instruction(value) is None
