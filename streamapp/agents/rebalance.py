"""What happens when partitions come and go: reads the table into memory, ends what is under way. Writes nothing."""

from collections.abc import Callable
from contextlib import closing
from datetime import timedelta
from typing import Any

from streamapp.agents.parts import Parts
from streamapp.core.errors import ConfigError, Unsafe
from streamapp.kafka.recovery import rebuild_allowed, stop_flow
from streamapp.kafka.transport import DurableApp

DRAIN_SHARE = 0.9
"""Of what remains of the lease, for ending what is under way before partitions are given up."""
DRAIN_LOOK = timedelta(milliseconds=5)
REBUILD_AT_ONCE = timedelta(milliseconds=20)
"""Before others may go on. A heartbeat takes several turns of the loop, so each turn must be short beside a session."""


def register(app: DurableApp, parts: Parts) -> None:
    """Add the hooks to the app."""

    async def drain() -> None:
        await end_folds(app, parts)

    @app.on_rebalance_complete.connect(weak=False)
    async def rebuild(*_: Any, **__: Any) -> None:
        stop_flow(app)
        if rebuild_allowed(app):
            try:
                await take_over(app, parts)
            except Exception as error:  # noqa: BLE001 - a worker without its index must not go on
                app.leave(error)

    app.drain = drain


async def end_folds(app: DurableApp, parts: Parts) -> None:
    """Fold nothing new; wait until everything under way is acked, then forget the partitions.

    From then on nothing new is seen of their runs; what was seen has to stand in the logs before the next owner looks
    how far they go.

    Raises:
        Unsafe: the lease nears its end before that.
    """
    parts.partitions.drain()
    until = parts.clock.monotonic() + app.lease.remaining.total_seconds() * DRAIN_SHARE

    async def end(what: str, still_open: Callable[[], int]) -> None:
        while count := still_open():
            if parts.folds.failed is not None or parts.clock.monotonic() > until:
                raise Unsafe(f"{count} {what}")
            await parts.clock.sleep(DRAIN_LOOK)

    await end("folds are still open", lambda: parts.folds.open)
    parts.partitions.give_up()
    await end("reports are not answered", lambda: parts.sends.open)


async def take_over(app: DurableApp, parts: Parts, at_once: timedelta = REBUILD_AT_ONCE) -> None:
    """Rebuild the index from the table for the partitions that are ours now; stop if they are given up meanwhile.

    Raises:
        ConfigError: the topics no longer have the same number of partitions.
        Unsafe: the client does not know how many a topic has. It does again at the next start: while a topic's leader
            is elected, say, the brokers answer with an error of this topic, and the client forgets what it knew. Or
            who gave out the partitions did not know, and gave out none of it: nobody would read what was seen of runs.
    """
    counts: dict[str, int] = {}
    for name, count in app.partition_counts().items():
        if count is None:
            raise Unsafe(f"Kafka does not tell now how many partitions {name} has")
        counts[name] = count
    if len(set(counts.values())) > 1:
        raise ConfigError(
            f"these topics must have the same number of partitions, but have {counts}: add the missing ones"
        )
    owned = {tp.partition for tp in app.assigned_commands()}
    for name, numbers in app.assigned_sources().items():
        if numbers != owned:
            raise Unsafe(f"of {name}, other partitions were given out here than of the commands topic")
    total = counts[app.commands_topic]
    parts.ready.share(len(owned), total)
    parts.share(owned, total)
    with closing(parts.partitions.rebuild(owned)) as steps:
        begun = parts.clock.monotonic()
        for _ in steps:
            if parts.clock.monotonic() - begun >= at_once.total_seconds():
                await parts.clock.sleep(timedelta(0))
                begun = parts.clock.monotonic()
    parts.measure()
