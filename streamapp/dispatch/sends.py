"""What is sent outside folds: what the sink and the follower saw, and passed deadlines. Counts it; writes nothing.

No event is held back until Kafka has these records, so whoever gives partitions up has to ask here: the next owner
starts nothing before it has folded what stood in the logs at its take-over, and would not know of what comes later.
"""

from collections.abc import Callable
from typing import ParamSpec

from streamapp.core.errors import Unsafe
from streamapp.dispatch.ports import Receipt

P = ParamSpec("P")


class Sends:
    """Sends whose failure stops the worker: what was seen must not be forgotten.

    Args:
        fail: Stops the worker.
    """

    def __init__(self, fail: Callable[[BaseException], None]) -> None:
        self._fail = fail
        self.open = 0
        """Those that Kafka has not answered."""

    def counted(self, send: Callable[P, Receipt]) -> Callable[P, None]:
        """The same send, for who does not wait for its answer."""

        def sent(*args: P.args, **kwargs: P.kwargs) -> None:
            receipt = send(*args, **kwargs)
            self.open += 1
            receipt.add_done_callback(self._answered)

        return sent

    def _answered(self, receipt: Receipt) -> None:
        self.open -= 1
        error = Unsafe("a send was given up") if receipt.cancelled() else receipt.exception()
        if error is not None:
            self._fail(error)
