"""Reads: the settings. Writes: nothing by itself. A producer whose records count once Kafka has acknowledged them."""

import asyncio
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from typing import Any

from aiokafka import AIOKafkaProducer

from streamapp.kafka import topics
from streamapp.settings import Settings

ACKNOWLEDGED_WITHIN = timedelta(seconds=30)
"""An idempotent producer tries for ever by itself; shorter, and a broker's restart would end a long file."""
STOPPED_WITHIN = timedelta(seconds=5)


@asynccontextmanager
async def producing(settings: Settings, **more: Any) -> AsyncIterator[AIOKafkaProducer]:
    """An idempotent producer, started and stopped: what it sends again by itself arrives once.

    Raises:
        Unavailable: Kafka does not answer.
    """
    producer = AIOKafkaProducer(
        **topics.client_arguments(settings),
        enable_idempotence=True,
        linger_ms=5,
        max_request_size=settings.max_command_bytes + topics.OVERHEAD_BYTES,
        request_timeout_ms=15_000,
        **more,
    )
    try:
        yield await topics.start(producer, settings)
    finally:
        # It waits for ever for a broker that is away.
        with suppress(TimeoutError):
            async with asyncio.timeout(STOPPED_WITHIN.total_seconds()):
                await producer.stop()


async def acknowledged(sent: Awaitable[Any]) -> Any:
    """Where a record went, once Kafka has it.

    Raises:
        KafkaError: It was refused.
        TimeoutError: Kafka has not said so in time; it may have it or not.
    """
    return await asyncio.wait_for(sent, ACKNOWLEDGED_WITHIN.total_seconds())
