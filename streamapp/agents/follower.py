"""Watches runs, hints and the time. Writes ended runs to the results topic, passed deadlines to the control topic."""

from datetime import timedelta
from typing import Any

import faust
from mode import Service

from streamapp.agents.parts import Parts
from streamapp.airflow.hints import HintListener, listen
from streamapp.core.model import Action, Instruction

TIMERS_EVERY = timedelta(milliseconds=100)
"""How late a `not_before`, a retry or a deadline may be noticed."""


def register(app: faust.App, parts: Parts, *, hint_listen: str | None, hint_secret: str | None) -> None:
    """Add the service to the app; Faust starts it once the table is restored.

    Args:
        app: The worker's app.
        parts: Its moving parts.
        hint_listen: Where hints are taken; None: nowhere.
        hint_secret: What signs them.
    """

    @app.service
    class FollowerService(Service):  # type: ignore[misc]
        def __init__(self, **kwargs: Any) -> None:
            super().__init__(**kwargs)

        @Service.task
        async def _follow(self) -> None:
            await parts.follower.run()

        @Service.task
        async def _run_errands(self) -> None:
            await parts.follower.run_errands()

        @Service.task
        async def _reconcile(self) -> None:
            await parts.reconciler.run()

        @Service.task
        async def _look_up_unknown(self) -> None:
            await parts.reconciler.look_up_unknown()

        @Service.task
        async def _watch_hints(self) -> None:
            if hint_listen is not None and hint_secret is not None:
                await _take_hints(parts, hint_listen, hint_secret)

        @Service.task
        async def _timers(self) -> None:
            while not self.should_stop:
                await parts.clock.sleep(TIMERS_EVERY)
                let_time_pass(parts)
                parts.measure()
                parts.wake()


async def _take_hints(parts: Parts, address: str, secret: str) -> None:
    """Listen for hints, for ever."""
    transport = await listen(address, HintListener(secret, parts.follower.hint, parts.follower.refuse_hint))
    try:
        await parts.follower.watch_hints()
    finally:
        transport.close()


def let_time_pass(parts: Parts) -> None:
    """Let what waited for a time run, and report deadlines that have passed."""
    for note in parts.ready.advance():
        entry = parts.partitions.entry(note.source.partition, note.key, note.source.offset)
        if entry is None:
            continue
        instruction = Instruction(
            control_id=f"expire-{entry.source}-{entry.round}",
            action=Action.EXPIRE,
            command_id=entry.id,
            key=entry.key,
            by="streamapp",
            reason="the deadline has passed",
            at=parts.clock.now(),
        )
        parts.instruct(instruction, entry.source.partition)
