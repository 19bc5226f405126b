"""Reads: how far a run is. Writes: faults. What happens to a way while it works."""

import threading
import time
from typing import Literal

from benchmarks.peers.site import Site
from benchmarks.peers.ways import Dispatcher

Fault = Literal["none", "kills", "restart"]
FAULTS: tuple[Fault, ...] = ("none", "kills", "restart")
KILLS_AT = (0.2, 0.45, 0.7)
RESTART_AT = 0.3
"""Shares of the commands for which there is a run."""
GRACE_SECONDS = 2.0
"""For requests under way; connections that are kept open would make it wait for longer."""


class Faults:
    """What is still to happen. `tick` is told how far the run is."""

    def __init__(self, kind: Fault, site: Site, dispatcher: Dispatcher) -> None:
        self._kills_left = list(KILLS_AT if kind == "kills" else ())
        self._restart = kind == "restart"
        self._site = site
        self._dispatcher = dispatcher
        self._thread: threading.Thread | None = None
        self._killed: int | None = None
        self._runs_before: int | None = None
        self.kills = 0
        self.away_seconds: float | None = None
        """How long Airflow's API gave no answer, as far as it is over."""

    @property
    def over(self) -> bool:
        """Whether everything has happened."""
        return not self._kills_left and not self._restart and (self._thread is None or not self._thread.is_alive())

    def tick(self, share: float, runs: int) -> None:
        """Do what is due.

        Args:
            share: Of the commands that have a run.
            runs: How many there are.
        """
        if self._kills_left and share >= self._kills_left[0] and self._at_work(runs):
            self._kills_left.pop(0)
            self._killed = self.kills % self._dispatcher.processes
            self._runs_before = None
            self._dispatcher.kill(self._killed)
            self.kills += 1
        if self._restart and share >= RESTART_AT:
            self._restart = False
            self._thread = threading.Thread(target=self._take_away)
            self._thread.start()

    def _at_work(self, runs: int) -> bool:
        """Whether what was killed last is back, and there has been a new run since: a kill should hit something."""
        if self._killed is None:
            return True
        if self._runs_before is None and self._dispatcher.running(self._killed):
            self._runs_before = runs
        return self._runs_before is not None and runs > self._runs_before

    def close(self) -> None:
        """Wait until Airflow's API is back."""
        if self._thread is not None:
            self._thread.join()

    def _take_away(self) -> None:
        begun = time.monotonic()
        self._site.airflow.api.stop(GRACE_SECONDS)
        self._site.airflow.api.start()
        self.away_seconds = time.monotonic() - begun
