"""What there is to be read: asks Kafka where the sources end, and its client how far it has come. Writes nothing."""

import asyncio
from datetime import timedelta
from typing import Any

import faust
from aiokafka.errors import KafkaError

from streamapp.observe.health import Reading

PATIENCE = timedelta(seconds=10)
"""For the broker's answer; without one, nothing is known of what it has."""


async def unread(app: faust.App) -> dict[str, Reading] | None:
    """How the reading of each source topic stands; None where Kafka does not say, or nothing is to be read just now."""
    in_hand = app.gaps.in_hand()
    if not in_hand or app.rebalancing or app.in_recovery:
        return None
    try:
        async with asyncio.timeout(PATIENCE.total_seconds()):
            ends = await app.consumer.highwaters(*in_hand)
    except (KafkaError, TimeoutError):
        return None
    found: dict[str, Reading] = {}
    for tp, (following, returned) in in_hand.items():
        position = _position(app, tp, returned)
        # The client passes what is no record, such as markers of transactions, without giving anything.
        waiting = max(ends[tp] - position, 0) + max(returned - following, 0)
        before = found.get(tp.topic, Reading())
        found[tp.topic] = Reading(before.taken + following, before.waiting + waiting)
    return found


def _position(app: faust.App, tp: Any, otherwise: int) -> int:
    """Where the client would read on."""
    subscription = app.consumer._thread._consumer._subscription.subscription  # noqa: SLF001 - nobody else tells it
    if subscription is None or subscription.assignment is None or tp not in subscription.assignment.tps:
        return otherwise
    state = subscription.assignment.state_value(tp)
    return int(state.position) if state.has_valid_position else otherwise
