"""Reads and writes the control topic: instructions as JSON."""

import base64
from typing import Any

from streamapp.core.key import MAX_KEY_BYTES, show_key
from streamapp.core.model import Action, Instruction
from streamapp.wire import strict_json
from streamapp.wire.fields import conform, json_time
from streamapp.wire.outgoing import Outgoing
from streamapp.wire.records import ControlRecord
from streamapp.wire.schemas import CONTROL

MAX_TEXT_LENGTH = 1000
"""Of each text: what answers an instruction repeats some of them, and must fit into the results topic."""


def encode_instruction(instruction: Instruction) -> Outgoing:
    """The record for the control topic; its Kafka key is the control id, which says nothing of the partition."""
    key, shown = instruction.key, show_key(instruction.key)
    record = ControlRecord(
        control_id=instruction.control_id,
        action=instruction.action,
        command_id=instruction.command_id,
        key=shown,
        key_base64=base64.b64encode(key).decode() if key is not None and (shown or "").encode() != key else None,
        dag_id=instruction.dag_id,
        by=instruction.by,
        reason=instruction.reason,
        at=instruction.at,
    )
    fields = {name: content for name, content in record.asdict().items() if content is not None}
    return Outgoing(instruction.control_id.encode(), strict_json.dumps(fields))


def decode_instruction(value: bytes | None) -> Instruction | None:
    """The instruction, None for what is none or has no bounds: no bytes make it raise."""
    try:
        fields: dict[str, Any] = conform(strict_json.loads((value or b"").decode()), CONTROL, json_time)
        record = ControlRecord(**fields)
        key: bytes | None = None
        if record.key_base64 is not None:
            key = base64.b64decode(record.key_base64, validate=True)
        elif record.key is not None:
            key = record.key.encode()
        texts = (record.control_id, record.action, record.command_id, record.dag_id, record.by, record.reason)
        if len(key or b"") > MAX_KEY_BYTES or any(len(text or "") > MAX_TEXT_LENGTH for text in texts):
            return None
        return Instruction(
            control_id=record.control_id,
            action=Action(record.action),
            command_id=record.command_id,
            key=key,
            dag_id=record.dag_id,
            by=record.by,
            reason=record.reason,
            at=record.at,
        )
    except ValueError:
        return None
