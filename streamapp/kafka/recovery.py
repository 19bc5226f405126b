"""Restoring the table: reads Faust's state of recovery, says when an index may be rebuilt, mends a recovery that hangs.

Faust announces a completed rebalance also when the next one is already pending, or has taken the partitions away
(REBUILD), resumes partitions before it clears the streams' queues, so that records in between vanish (FLOW), and may
wait for ever for changelog records that were drained elsewhere (WATCHDOG).
"""

import logging
from datetime import timedelta
from typing import Any

import faust
from faust.types import TP
from mode import Service

log = logging.getLogger(__name__)

STUCK_AFTER = timedelta(seconds=4)
"""Without progress: several fetches' worth, and short beside a session."""
TRIES = 3
"""Positions are set again this often before the worker gives up and is restarted."""
_LOOK_EVERY = timedelta(seconds=1)


def stop_flow(app: faust.App) -> None:
    """Let no event through until Faust resumes the consumer and its streams together."""
    app.consumer.stop_flow()
    app.flow_control.suspend()


def rebuild_allowed(app: faust.App) -> bool:
    """Whether the tables are restored and no further rebalance is pending, nor under way."""
    recovery = app.tables.recovery
    return not app.consumer.given_up and not recovery.signal_recovery_start.is_set() and not recovery.need_recovery()


class RecoveryWatchdog(Service):  # type: ignore[misc]
    """Sets the changelogs' positions again when a recovery makes no progress; gives up after a few tries."""

    def __init__(self, app: faust.App, **kwargs: Any) -> None:
        self.app = app
        self.mended = 0
        super().__init__(**kwargs)

    @Service.task
    async def _watch(self) -> None:
        stuck_for, tries, before = 0.0, 0, None
        while not self.should_stop:
            await self.sleep(_LOOK_EVERY.total_seconds())
            now = self._remaining()
            if now is None or now != before:
                stuck_for, tries, before = 0.0, 0, now
                continue
            stuck_for += _LOOK_EVERY.total_seconds()
            if stuck_for < STUCK_AFTER.total_seconds():
                continue
            stuck_for, tries = 0.0, tries + 1
            await self._mend(tries, now[1])

    def _remaining(self) -> tuple[int, dict[TP, int]] | None:
        recovery = self.app.tables.recovery
        remaining = {tp: count for tp, count in recovery.active_remaining().items() if count > 0}
        if not (recovery.in_recovery and remaining and self.app.consumer.flow_active):
            return None
        return self.app.consumer_generation_id, remaining

    async def _mend(self, tries: int, remaining: dict[TP, int]) -> None:
        log.error(
            "restoring the table makes no progress, %d records are missing: setting positions again", len(remaining)
        )
        self.mended += 1
        if tries > TRIES:
            await self.app.crash(RuntimeError("restoring the table makes no progress"))
            return
        applied = self.app.tables.recovery.active_offsets
        await self.app.consumer.seek_wait({tp: max(applied[tp], 0) for tp in remaining})
