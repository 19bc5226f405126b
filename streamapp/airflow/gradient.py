"""How many requests in flight are of use: reads how long each took, answers a number. Pure; time comes with each call.

By Little's law, n requests in flight that take t each make n / t a second. So two latencies, one under each of two
neighbouring numbers, tell whether one more in flight makes more a second, or only lets all of them wait. One more is
kept where it does, and one less where it doesn't: the number ends at the smallest that gives full throughput, 1 where
requests exclude each other, the bound where a server scales. That a ratio of latencies steers a limit is the idea of
Netflix's concurrency-limits (`Gradient2Limit`, `VegasLimit`), and before that of TCP Vegas (Brakmo, Peterson 1995).
Here neighbours are compared, rather than the present with the best ever, since Airflow's own work changes both.

Failures that took long say that even this number is too large.
"""

from dataclasses import dataclass
from datetime import timedelta
from statistics import median

WINDOW_SAMPLES = 100
"""Requests in a decision, at least: a median of fewer follows every hiccup of Airflow's scheduler."""
WINDOW = timedelta(seconds=1.5)
"""A decision takes at least as long: hiccups are correlated in time."""
CLEAR_SAMPLES = 3
"""Requests that are enough where they take several times as long: a server that collapses answers few."""
CLEAR_FACTOR = 3.0
FINEST = timedelta(milliseconds=5)
"""Shorter latencies count as this: below it nothing is to be won, and their noise is large."""
WORTH = 0.08
"""What one more in flight must add to the throughput, at most."""
CHECK_EVERY = (timedelta(seconds=30), timedelta(minutes=2))
"""How often one less is tried: Airflow's own work may leave less for requests than before. At first, doubling while it
was of no use, to at most."""
STALE_AFTER = timedelta(minutes=1)
"""Latencies this far apart are not compared."""
USELESS_FOR = (timedelta(seconds=15), timedelta(minutes=10))
"""For how long a number that was of no use is not tried again: at first, doubling to at most."""
HARMFUL_FOR = (timedelta(minutes=10), timedelta(hours=2))
"""The same for a number under which requests failed: on SQLite each trial costs an answer 500."""
SLOW = timedelta(seconds=2)
"""A failure that took longer is one of too many requests; a defect answers fast. SQLite gives a lock up after 5 s."""
WORTH_AT_BEST = 0.4
"""The same as a part of what one more would add where a server scales."""


@dataclass(frozen=True, slots=True)
class _Level:
    """What was measured."""

    number: int
    seconds: float
    at: float


@dataclass(slots=True)
class _Barred:
    """A number that is not tried for a while."""

    until: float
    pause: float


class Gradient:
    """The number of requests in flight, from 1 to a bound.

    Args:
        bound: The most; it may change.
    """

    def __init__(self, bound: int) -> None:
        self._bound = bound
        self._number = 1
        self._era = 0
        self._samples: list[float] = []
        self._since: float | None = None
        self._compare: _Level | None = None
        self._check_at = 0.0
        self._check_pause = CHECK_EVERY[0].total_seconds()
        self._barred: dict[int, _Barred] = {}
        self.recent: float | None = None
        """How long requests took in the last decision, in seconds; None before the first."""
        self.before: float | None = None
        """How long they took under the number that was compared last."""

    @property
    def number(self) -> int:
        """Requests that may be in flight now."""
        return min(self._number, self._bound)

    @property
    def bound(self) -> int:
        """The most."""
        return self._bound

    @property
    def era(self) -> int:
        """Grows whenever the number changes: a request that began in an earlier era tells nothing of this one."""
        return self._era

    def share(self, bound: int) -> None:
        """Go on with another bound."""
        if bound != self._bound:
            self._bound = bound
            self._go(self._number)

    def restart(self) -> None:
        """Begin with one again, after an outage; what failed then says nothing of any number."""
        self._barred.clear()
        self._go(1)

    def sample(self, seconds: float, now: float) -> None:
        """A request was carried out that had begun in this era, with as many in flight as may be."""
        if self._since is None:
            self._since = now - seconds
        self._samples.append(max(seconds, FINEST.total_seconds()))
        if self._enough(now):
            self._decide(_Level(self.number, median(self._samples), now))

    def failed(self, seconds: float, now: float, *, again: bool = False) -> None:
        """A request failed as requests do where there are too many.

        Args:
            seconds: How long it took.
            now: On the monotonic clock.
            again: Whether the same failed before: unless it took long, it has a defect of its own.
        """
        slow = seconds > SLOW.total_seconds()
        if again and not slow:
            return
        if self.number > 1:
            self._bar(self.number, now, HARMFUL_FOR if slow else USELESS_FOR)
            self._go(self.number // 2)

    # Inside

    def _enough(self, now: float) -> bool:
        assert self._since is not None
        if len(self._samples) >= WINDOW_SAMPLES and now - self._since >= WINDOW.total_seconds():
            return True
        if len(self._samples) < CLEAR_SAMPLES:
            return False
        clear = SLOW.total_seconds() if self._compare is None else self._compare.seconds * CLEAR_FACTOR
        return median(self._samples) > clear

    def _decide(self, here: _Level) -> None:
        there, self._compare = self._compare, None
        self._samples, self._since = [], None
        self.recent = here.seconds
        if there is None or here.at - there.at > STALE_AFTER.total_seconds():
            self._look_around(here)
        else:
            self.before = there.seconds
            self._choose(there, here)

    def _choose(self, there: _Level, here: _Level) -> None:
        """The better one of two neighbouring numbers; what is in use is the second."""
        fewer, more = sorted((there, here), key=lambda level: level.number)
        if self._gain(fewer, more) <= self._worth(fewer.number, more.number):
            self._bar(more.number, here.at, HARMFUL_FOR if more.seconds > SLOW.total_seconds() else USELESS_FOR)
            if here is more:
                self._go(fewer.number)
            else:
                self._check_pause = CHECK_EVERY[0].total_seconds()
        elif here is more:
            self._barred.pop(more.number, None)
            self._check_pause = CHECK_EVERY[0].total_seconds()
            self._check_at = here.at + self._check_pause
            self._look_around(here)
        else:
            self._check_pause = min(2 * self._check_pause, CHECK_EVERY[1].total_seconds())
            self._check_at = here.at + self._check_pause
            self._go(more.number)

    def _look_around(self, here: _Level) -> None:
        """Try one more, or now and then one less."""
        barred = self._barred.get(here.number + 1)
        if here.number < self._bound and (barred is None or here.at >= barred.until):
            self._go(here.number + 1)
            self._compare = here
        elif here.number > 1 and here.at >= self._check_at:
            self._go(here.number - 1)
            self._compare = here

    @staticmethod
    def _gain(fewer: _Level, more: _Level) -> float:
        """How many times as much a second more in flight make."""
        return more.number / fewer.number * fewer.seconds / more.seconds

    @staticmethod
    def _worth(fewer: int, more: int) -> float:
        return 1 + min(WORTH, (more / fewer - 1) * WORTH_AT_BEST)

    def _bar(self, number: int, now: float, pauses: tuple[timedelta, timedelta]) -> None:
        first, longest = (pause.total_seconds() for pause in pauses)
        before = self._barred.get(number)
        pause = first if before is None else min(max(before.pause * 2, first), max(longest, before.pause))
        self._barred[number] = _Barred(now + pause, pause)

    def _go(self, number: int) -> None:
        self._number = number
        self._compare = None
        self._samples, self._since = [], None
        self._era += 1
