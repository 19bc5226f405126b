"""Permits for requests to Airflow, for all workers together. Reads how long requests take; writes nothing.

Beyond the database connections of Airflow's API server it wedges and running tasks die, so there is a hard bound, well
below them. Under it, a gradient of latencies finds how many in flight are of use. One worker has the permits and lends
them to the others (`lending`), so that what is of use is found for all of them together.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from streamapp.airflow.gradient import Gradient
from streamapp.clock import Clock


@dataclass(eq=False, slots=True)
class Ask:
    """Somebody wants a permit."""

    reading: bool
    """Reads come before all triggers: no load of triggers can starve the polls that find out which keys may go on."""
    granted: Callable[[], None]
    """Called when it gets one, unless it got it at once."""


class Source(Protocol):
    """Where permits come from."""

    @property
    def number(self) -> int:
        """Permits that there are just now."""

    @property
    def bound(self) -> int:
        """The most that there may be."""

    @property
    def era(self) -> int:
        """Grows whenever the number changes."""

    @property
    def full(self) -> bool:
        """Whether all permits are out."""

    @property
    def recent(self) -> float | None:
        """How long triggers took under this number, in seconds; None before it is known."""

    @property
    def before(self) -> float | None:
        """The same under the number that was compared with it."""

    def ask(self, ask: Ask) -> bool:
        """Whether it got one at once; else it waits."""

    def withdraw(self, ask: Ask) -> None:
        """It waits no longer. What is granted already must be given back."""

    def give_back(self) -> None:
        """A permit comes back."""

    def sample(self, seconds: float, era: int) -> None:
        """A trigger was carried out that began in an era, while all permits were out."""

    def failed(self, seconds: float, *, again: bool) -> None:
        """A trigger failed as they do where there are too many; see `Gradient.failed`."""

    def restart(self) -> None:
        """Begin with one again, after an outage."""


class Permits:
    """The permits themselves.

    Args:
        bound: The most; it may change.
        clock: For latencies.
    """

    def __init__(self, bound: int, clock: Clock) -> None:
        if bound < 1:
            raise ValueError("a limit must let at least one request through")
        self._clock = clock
        self._out = 0
        self._reads: deque[Ask] = deque()
        self._triggers: deque[Ask] = deque()
        self.gradient = Gradient(bound)

    @property
    def number(self) -> int:
        """Permits that there are just now."""
        return self.gradient.number

    @property
    def bound(self) -> int:
        """The most that there may be."""
        return self.gradient.bound

    @property
    def out(self) -> int:
        """Permits that are given out: more than there are, for a while, after a loss."""
        return self._out

    @property
    def era(self) -> int:
        """Grows whenever the number changes."""
        return self.gradient.era

    @property
    def full(self) -> bool:
        """Whether all permits are out."""
        return self._out >= self.number

    @property
    def recent(self) -> float | None:
        """How long triggers took under this number, in seconds; None before it is known."""
        return self.gradient.recent

    @property
    def before(self) -> float | None:
        """The same under the number that was compared with it."""
        return self.gradient.before

    def ask(self, ask: Ask) -> bool:
        """Whether it got one at once; else it waits."""
        if not (self.full or self._reads or self._triggers):
            self._out += 1
            return True
        (self._reads if ask.reading else self._triggers).append(ask)
        return False

    def withdraw(self, ask: Ask) -> None:
        """It waits no longer."""
        waiting = self._reads if ask.reading else self._triggers
        if ask in waiting:
            waiting.remove(ask)

    def give_back(self) -> None:
        """A permit comes back.

        Raises:
            ValueError: none is out.
        """
        if self._out == 0:
            raise ValueError("no permit is out")
        self._out -= 1
        self._hand_out()

    def share(self, bound: int) -> None:
        """Go on with another bound."""
        self.gradient.share(bound)
        self._hand_out()

    def sample(self, seconds: float, era: int) -> None:
        """A trigger was carried out that began in an era, while all permits were out."""
        if era == self.era:
            self.gradient.sample(seconds, self._clock.monotonic())
            self._hand_out()

    def failed(self, seconds: float, *, again: bool) -> None:
        """A trigger failed as they do where there are too many; see `Gradient.failed`."""
        self.gradient.failed(seconds, self._clock.monotonic(), again=again)

    def restart(self) -> None:
        """Begin with one again, after an outage."""
        self.gradient.restart()

    def _hand_out(self) -> None:
        while not self.full and (self._reads or self._triggers):
            ask = (self._reads or self._triggers).popleft()
            self._out += 1
            ask.granted()
