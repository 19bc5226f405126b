"""The producer that stops at the first failure: sends records in order, and nothing after one that was refused.

Stock Faust logs a failed send and goes on with the next, and leaves the sender waiting for ever when the client refuses
a record at once.
"""

import sys
from collections.abc import Mapping
from typing import Any

from faust.transport.drivers import aiokafka as driver
from faust.types.tuples import FutureMessage


class StrictProducer(driver.Producer):  # type: ignore[misc]
    """Idempotent, acknowledged by all replicas in sync, and silent after a failure."""

    failed: BaseException | None = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # Above it, Faust stops reading anything at all; here, commands are held by the number of open folds.
        self.buffer.max_messages = sys.maxsize
        stock = self.buffer._send_pending  # noqa: SLF001

        async def send_pending(future: FutureMessage) -> None:
            if self.failed is not None:
                return
            try:
                await stock(future)
            except Exception as error:  # noqa: BLE001 - whoever waits for this record has to hear of it
                self.failed = error
                if not future.done():
                    future.set_exception(error)

        self.buffer._send_pending = send_pending  # noqa: SLF001

    def send_soon(self, fut: FutureMessage) -> None:
        """Queue a record; after a failed one, nothing leaves any more."""
        fut.add_done_callback(self._note)
        super().send_soon(fut)

    async def flush(self) -> None:
        """Nothing to do: an event is acked only once all that followed from it was acknowledged."""

    def _note(self, future: FutureMessage) -> None:
        error = None if future.cancelled() else future.exception()
        if error is not None and self.failed is None:
            self.failed = error

    def _settings_extra(self) -> Mapping[str, Any]:
        return {**super()._settings_extra(), "acks": "all", "enable_idempotence": True}
