"""The producer that remembers the first failure: sends records in order, and tells who waits what became of them.

Stock Faust logs a failed send and goes on with the next, and leaves the sender waiting for ever when the client refuses
a record at once. That nothing leaves after a failure is seen to at the last step, in `lease`.
"""

import sys
from collections.abc import Mapping
from typing import Any

from faust.transport.drivers import aiokafka as driver
from faust.types.tuples import FutureMessage

_NOTHING = object()
"""Stands for a null value where the key is null, too: aiokafka refuses to send that, although Kafka takes it."""


class StrictProducer(driver.Producer):  # type: ignore[misc]
    """Idempotent, acknowledged by all replicas in sync."""

    failed: BaseException | None = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # Above it, Faust stops reading anything at all; here, commands are held by the number of open folds.
        self.buffer.max_messages = sys.maxsize
        stock = self.buffer._send_pending  # noqa: SLF001

        async def send_pending(future: FutureMessage) -> None:
            try:
                await stock(future)
            except Exception as error:  # noqa: BLE001 - whoever waits for this record has to hear of it
                self.failed = error
                if not future.done():
                    future.set_exception(error)

        self.buffer._send_pending = send_pending  # noqa: SLF001

    def send_soon(self, fut: FutureMessage) -> None:
        """Queue a record, and remember if it fails."""
        fut.add_done_callback(self._note)
        super().send_soon(fut)

    async def send(self, topic: str, key: bytes | None, value: Any, *args: Any, **kwargs: Any) -> Any:
        """Send a record; also one without key and value, which is what the dead letter of such a record is."""
        if key is None and value is None:
            value = _NOTHING
        return await super().send(topic, key, value, *args, **kwargs)

    async def flush(self) -> None:
        """Nothing to do: an event is acked only once all that followed from it was acknowledged."""

    def _note(self, future: FutureMessage) -> None:
        error = None if future.cancelled() else future.exception()
        if error is not None and self.failed is None:
            self.failed = error

    def _settings_extra(self) -> Mapping[str, Any]:
        own = {"acks": "all", "enable_idempotence": True, "value_serializer": _to_bytes}
        return {**super()._settings_extra(), **own}


def _to_bytes(value: Any) -> bytes | None:
    return None if value is _NOTHING else value
