"""How a worker's process ends, and with which code. A supervisor starts it again after every code but 2."""

import logging
import os
import threading
from collections.abc import Callable
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
LAST_WORDS = timedelta(seconds=5)
"""For the log; who reads it may be what the process waits for, and holds the log's lock meanwhile."""


def exit_now(code: int) -> None:
    """Leave without any clean-up that could still send something."""
    logging.shutdown()
    os._exit(code)


def exit_later(code: int, grace: timedelta = GRACE) -> None:
    """Leave after the grace, however busy the loop is and whoever reads the log, unless the process ended before."""

    def say() -> None:
        log.critical("the worker has not ended within %s: leaving", grace)

    timer = threading.Timer(grace.total_seconds(), exit_regardless, (code, say))
    timer.daemon = True
    timer.start()


def exit_regardless(code: int, say: Callable[[], None]) -> None:
    """Say something and leave, whatever the log does."""

    def last_words() -> None:
        say()
        logging.shutdown()

    speaker = threading.Thread(target=last_words, daemon=True)
    speaker.start()
    speaker.join(LAST_WORDS.total_seconds())
    os._exit(code)
