"""Forgets what ended longer ago than the retention, a little at a time. Writes only through the folds."""

from datetime import timedelta
from typing import Any

from mode import Service

from streamapp.agents.parts import Parts
from streamapp.dispatch.prune import Offsets, Pruner
from streamapp.kafka.transport import DurableApp

TURN_EVERY = timedelta(milliseconds=100)
"""With what one turn does, this bounds what forgetting takes from the commands: 500 of them a second."""
LOOK_EVERY = timedelta(seconds=1)
"""While nothing is due, so often; an idle worker should sleep."""


def register(app: DurableApp, parts: Parts, pruner: Pruner) -> None:
    """Add the service to the app; Faust starts it once the table is restored."""

    @app.service
    class PrunerService(Service):  # type: ignore[misc]
        def __init__(self, **kwargs: Any) -> None:
            super().__init__(**kwargs)

        @Service.task
        async def _prune(self) -> None:
            rest = LOOK_EVERY
            while not self.should_stop:
                await parts.clock.sleep(rest)
                rest = TURN_EVERY if turn(app, parts, pruner) else LOOK_EVERY


def turn(app: DurableApp, parts: Parts, pruner: Pruner) -> bool:
    """Forget a little, unless there is more urgent work: partitions that change hands, or commands that are held.

    Returns:
        Whether anything was due; then the next turn should come soon.
    """
    if not parts.partitions.accepting or not parts.caught_up() or parts.gate.reasons or parts.folds.failed is not None:
        return False
    offsets = {(tp.topic, tp.partition): Offsets(*found) for tp, found in app.gaps.offsets().items()}
    return pruner.turn(offsets, app.commands_topic)
