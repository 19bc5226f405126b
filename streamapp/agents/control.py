"""Reads the control topic; folds each instruction. Writes nothing but through the fold."""

from typing import Any

from streamapp.agents.parts import Parts
from streamapp.core.events import Instructed
from streamapp.core.model import Source
from streamapp.kafka.transport import DurableApp
from streamapp.wire.control import decode_instruction


def register(app: DurableApp, topic: Any, parts: Parts) -> None:
    """Add the agent to the app."""

    @app.agent(topic, name="control", concurrency=1)
    async def control(stream: Any) -> None:
        async for event in stream.noack().events():
            message = event.message
            instruction = decode_instruction(message.value)
            if instruction is None:
                parts.pass_over(message, event.ack)
                continue
            source = Source(message.topic, message.partition, message.offset)
            parts.fold(message, Instructed(source=source, instruction=instruction, at=parts.clock.now()), event.ack)
