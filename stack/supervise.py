"""Reads: a command line. Writes: nothing. Starts a worker again when it ends: `python -m stack.supervise faust …`.

honcho ends the whole stack when one process ends; a worker may end on purpose, to be started again.
"""

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from types import FrameType

BAD_CONFIGURATION = 2


@dataclass(frozen=True)
class Pauses:
    """How long to wait before the next start."""

    first_seconds: float = 0.5
    longest_seconds: float = 15.0
    steady_seconds: float = 60.0  # a worker that ran this long starts over with the first pause

    def following(self, pause: float, ran: float) -> float:
        """Return the pause after a run, from the pause before it."""
        if ran >= self.steady_seconds or not pause:
            return self.first_seconds
        return min(pause * 2, self.longest_seconds)


def supervise(argv: Sequence[str], pauses: Pauses) -> int:
    """Run the command again and again until asked to stop; return the exit code of its last run."""
    stop = threading.Event()
    child: subprocess.Popen[bytes] | None = None

    def pass_on(number: int, _frame: FrameType | None) -> None:
        stop.set()
        if child is not None and child.poll() is None:
            child.send_signal(number)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, pass_on)
    pause, code = 0.0, 0
    while not stop.is_set():
        started = time.monotonic()
        # A group of its own: a signal to this group reaches the worker once, from here.
        child = subprocess.Popen(argv, process_group=0)
        if stop.is_set():  # the signal came while it started
            child.terminate()
        code = child.wait()
        if stop.is_set() or code == BAD_CONFIGURATION:
            break
        pause = pauses.following(pause, time.monotonic() - started)
        print(f"supervisor: {argv[0]} ended with {code}; starts again in {pause:g} s", flush=True)
        stop.wait(pause)
    return code


if __name__ == "__main__":
    sys.exit(supervise(sys.argv[1:], Pauses()))
