"""Reads the commands topic; decodes, routes and folds each record into the table. Writes only through the fold."""

from typing import Any

from streamapp.agents.parts import Parts
from streamapp.core.errors import Unprocessable
from streamapp.core.events import CommandReceived
from streamapp.core.model import Command, Original, Reason, Rejection, Source
from streamapp.kafka.transport import DurableApp
from streamapp.wire.reopens import decode_reopens
from streamapp.wire.times import from_record


def register(app: DurableApp, topic: Any, parts: Parts) -> None:
    """Add the agent to the app."""

    @app.agent(topic, name="sequencer", concurrency=1)
    async def sequencer(stream: Any) -> None:
        async for event in stream.noack().events():
            message = event.message
            received = await receive(parts, message)
            if message.generation_id == app.consumer_generation_id:  # else it comes again, to whoever owns it now
                parts.fold(message, received, event.ack)


async def receive(parts: Parts, message: Any) -> CommandReceived:
    """What a Kafka message says: a command with its policy, or why it can never run."""
    source = Source(message.topic, message.partition, message.offset)
    recorded_at = from_record(message.timestamp)
    headers = tuple(message.headers or ())

    async def decode() -> Command | Rejection:
        return await parts.commands.decode(
            source=source, key=message.key, value=message.value, headers=headers, recorded_at=recorded_at
        )

    content = await parts.patiently("registry: commands", message.topic, decode)
    policy = reopens = None
    try:
        reopens = decode_reopens(source, headers)
    except Unprocessable as error:
        content = Rejection(reason=error.reason, detail=error.detail, id=content.id, command=content.command)
    if isinstance(content, Command):
        policy = parts.routes.find(content.command)
        if policy is None:
            content = Rejection(
                reason=Reason.UNKNOWN_ROUTE,
                detail=f"no route takes the command {content.command!r}",
                id=content.id,
                command=content.command,
            )
    return CommandReceived(
        source=source,
        key=message.key,
        recorded_at=recorded_at,
        original=Original(message.value, headers),
        content=content,
        policy=policy,
        reopens=reopens,
        at=parts.clock.now(),
    )
