"""Watches runs, hints and the time. Writes ended runs to the results topic, passed deadlines to the control topic."""

import asyncio
import socket
from datetime import timedelta
from typing import Any

import faust
from mode import Service

from streamapp.agents.parts import Parts
from streamapp.airflow.hints import HintListener, listen
from streamapp.core.errors import ConfigError, Unavailable
from streamapp.core.model import Action, Instruction
from streamapp.settings import variable

TIMERS_EVERY = timedelta(milliseconds=100)
"""How late a `not_before`, a retry or a deadline may be noticed."""


class Hints:
    """Where this worker takes hints.

    Args:
        parts: Its moving parts.
        address: host:port; None: nowhere.
        secret: What signs them.
    """

    def __init__(self, parts: Parts, address: str | None, secret: str | None) -> None:
        self._parts = parts
        self._address = address
        self._secret = secret
        self._place: asyncio.DatagramTransport | None = None

    async def open(self) -> None:
        """Take them from now on.

        Called before the worker joins the group: an address that can't be used costs the others no rebalance then.

        Raises:
            ConfigError: The address can't be used.
            Unavailable: Nobody tells just now what its name stands for: try again.
        """
        if self._address is None or self._secret is None:
            return
        runs = self._parts.follower
        try:
            self._place = await listen(self._address, HintListener(self._secret, runs.hint, runs.refuse_hint))
        except socket.gaierror as error:
            if error.errno == socket.EAI_AGAIN:
                raise Unavailable(f"the address of {self._address} can't be looked up") from error
            raise self._unusable(error) from error
        except (OSError, UnicodeError) as error:  # the second: it can't be the name of a host
            raise self._unusable(error) from error

    def _unusable(self, error: Exception) -> ConfigError:
        return ConfigError(f"{variable('hint_listen')}={self._address}: no hints can be taken there: {error}")

    def close(self) -> None:
        """Take no more."""
        if self._place is not None:
            self._place.close()


def register(app: faust.App, parts: Parts, hints: Hints) -> None:
    """Add the service to the app; Faust starts it once the table is restored."""

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
            try:
                await parts.follower.watch_hints()
            finally:
                hints.close()

        @Service.task
        async def _timers(self) -> None:
            while not self.should_stop:
                await parts.clock.sleep(TIMERS_EVERY)
                let_time_pass(parts)
                parts.measure()
                parts.wake()


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
