"""How a worker's process ends, and with which code. A supervisor starts it again after every code but 2."""

import logging
import os
import threading
from datetime import timedelta

log = logging.getLogger(__name__)

CONFIG = 2
"""A setting or a topic does not fit: a restart would not help."""
LEASE_LOST = 70
"""The membership had run out, for example because the process was frozen: it may not write any more."""
UNSAFE = 71
"""Going on could have lost or doubled something, for example because Kafka refused a record."""
STUCK = 72
"""It should have ended by itself and did not, for example because Kafka was away."""

GRACE = timedelta(seconds=30)
"""For an orderly end. Faust may wait for ever for a broker that is away."""


def exit_now(code: int) -> None:
    """Leave without any clean-up that could still send something."""
    logging.shutdown()
    os._exit(code)


def exit_later(code: int, grace: timedelta = GRACE) -> None:
    """Leave after the grace, however busy the loop is, unless the process has ended by then."""

    def leave() -> None:
        log.critical("the worker has not ended within %s: leaving", grace)
        exit_now(code)

    timer = threading.Timer(grace.total_seconds(), leave)
    timer.daemon = True
    timer.start()
