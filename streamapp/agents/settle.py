"""Reads the results topic; folds what the sink and the follower observed. Verdicts, which folds wrote, pass by."""

from functools import partial
from typing import Any

from streamapp.agents.parts import Parts
from streamapp.core.events import Observed
from streamapp.kafka.transport import DurableApp


def register(app: DurableApp, topic: Any, parts: Parts) -> None:
    """Add the agent to the app."""

    @app.agent(topic, name="settle", concurrency=1)
    async def settle(stream: Any) -> None:
        async for event in stream.noack().events():
            message = event.message
            outcome = await parts.patiently(
                "registry: results", message.topic, partial(parts.outcomes.decode, message.key, message.value)
            )
            if message.generation_id != app.consumer_generation_id:
                continue  # it comes again, to whoever owns it now
            if outcome is None or outcome.source.partition != message.partition:
                parts.pass_over(message, event.ack)
            else:
                parts.fold(message, Observed(key=message.key, outcome=outcome, at=parts.clock.now()), event.ack)
