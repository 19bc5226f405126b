"""How many requests in flight are of use: reads how long each took, answers a number. Pure; time comes with each call.

By Little's law, n requests in flight that take t each make n / t a second. So two latencies, one under each of two
neighbouring numbers, tell whether one more in flight makes more a second, or only lets all of them wait. One more is
kept where it does, and one less where it doesn't: the number ends at the smallest that gives full throughput, 1 where
requests exclude each other, the bound where a server scales. In a trial the two numbers alternate, several times a
second, so that what else Airflow does meets both alike. That a ratio of latencies steers a limit is the idea of
Netflix's concurrency-limits (`Gradient2Limit`, `VegasLimit`), and before that of TCP Vegas (Brakmo, Peterson 1995).
Here neighbours are compared, rather than the present with the best ever, since Airflow's own work changes both.

Failures that took long say that even this number is too large.
"""

from dataclasses import dataclass, field
from datetime import timedelta
from statistics import fmean, median

SLICE = timedelta(milliseconds=400)
"""Between two changes of the number in a trial, at least."""
SLICE_REQUESTS = 8
"""As many times as long as a request takes it is, too: those that were begun under the other number don't count."""
TRIAL = timedelta(seconds=6)
"""What a trial takes, at least: Airflow's scheduler and DAG processor have hiccups of a second, every few seconds."""
LONG_TRIAL = timedelta(seconds=18)
"""The same, where what was seen is so near to what is asked for that chance could decide."""
NEAR = 0.06
"""How near that is: about three times as far as two trials under the same conditions differ."""
TRIAL_SAMPLES = 80
"""Requests under each of the two numbers, at least."""
EARLY = timedelta(seconds=2)
"""A trial ends after as long where one more is of nearly as much use as it can be, or of none."""
EARLY_PART = 0.7
"""What it must add then, of what it would add where a server scales."""
CLEAR_SAMPLES = 3
"""Requests that are enough where they take several times as long: a server that collapses answers few."""
CLEAR_FACTOR = 3.0
FINEST = timedelta(milliseconds=5)
"""Shorter latencies count as this: below it nothing is to be won, and their noise is large."""
WORTH = 0.08
"""What one more in flight must add to the throughput, at most."""
WORTH_PART = 0.4
"""The same, of what it would add where a server scales."""
CHECK_EVERY = (timedelta(seconds=30), timedelta(minutes=4))
"""How often one less is tried: Airflow's own work may leave less for requests than before. At first, growing while it
was of no use, to at most."""
USELESS_FOR = (timedelta(seconds=30), timedelta(minutes=10))
"""For how long a number that was of no use is not tried again: at first, growing to at most."""
HARMFUL_FOR = (timedelta(minutes=10), timedelta(hours=2))
"""The same for a number under which requests failed: on SQLite each trial costs an answer 500."""
GROWTH = 4
"""How many times as long the next of these pauses is: while a number is tried, the slowest answers are its answers."""
SLOW = timedelta(seconds=2)
"""A failure that took longer is one of too many requests; a defect answers fast. SQLite gives a lock up after 5 s."""
RECENT_SAMPLES = 100
"""Requests of which the usual latency is told, between trials."""


def usual(seconds: list[float]) -> float:
    """How long requests take: the mean without the slowest and fastest tenth, which chance moves less than a median."""
    cut = len(seconds) // 10
    return fmean(sorted(seconds)[cut : len(seconds) - cut])


@dataclass(slots=True)
class _Trial:
    """Two neighbouring numbers, compared."""

    fewer: int
    since: float
    slice_since: float
    slice_samples: int = 0
    seconds: dict[int, list[float]] = field(default_factory=dict)
    """How long requests took under each of the two."""

    @property
    def more(self) -> int:
        """The larger number."""
        return self.fewer + 1

    @property
    def gain(self) -> float:
        """How many times as much a second more in flight make."""
        fewer, more = (usual(self.seconds[number]) for number in (self.fewer, self.more))
        return self.more / self.fewer * fewer / more

    @property
    def collapsed(self) -> bool:
        """Whether requests take so long under the larger number that a few tell."""
        more = self.seconds[self.more]
        if len(more) < CLEAR_SAMPLES:
            return False
        fewer = self.seconds[self.fewer]
        return median(more) > (median(fewer) * CLEAR_FACTOR if fewer else SLOW.total_seconds())

    def worth(self, part: float, most: float) -> float:
        """The gain that it takes."""
        return 1 + min(most, (self.more / self.fewer - 1) * part)

    def verdict(self, now: float) -> bool | None:
        """Whether more are worth it; None while that isn't known."""
        if self.collapsed:
            return False
        if min(len(each) for each in self.seconds.values()) < TRIAL_SAMPLES:
            return None
        if now - self.since >= TRIAL.total_seconds():
            worth = self.worth(WORTH_PART, WORTH)
            if abs(self.gain - worth) < NEAR and now - self.since < LONG_TRIAL.total_seconds():
                return None
            return self.gain > worth
        if now - self.since >= EARLY.total_seconds():
            return False if self.gain <= 1 else True if self.gain > self.worth(EARLY_PART, 1.0) else None
        return None


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
        self._level = 1
        self._number = 1
        self._era = 0
        self._trial: _Trial | None = None
        self._seconds: list[float] = []
        self._check_at = 0.0
        self._check_pause = CHECK_EVERY[0].total_seconds()
        self._barred: dict[int, _Barred] = {}
        self._lowered_at = float("-inf")
        self.recent: float | None = None
        """How long requests took lately, in seconds; None before the first trial."""
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
            self._settle(self._level)

    def restart(self) -> None:
        """Begin with one again, after an outage; what failed then says nothing of any number."""
        self._barred.clear()
        self._settle(1)

    def sample(self, seconds: float, now: float) -> None:
        """A request was carried out that had begun in this era, with as many in flight as may be."""
        seconds = max(seconds, FINEST.total_seconds())
        if self._trial is None:
            self._note(seconds)
            self._try_another(now)
        else:
            self._trial.seconds[self.number].append(seconds)
            self._go_on(self._trial, seconds, now)

    def failed(self, seconds: float, now: float, *, again: bool = False) -> None:
        """A request failed as requests do where there are too many.

        Those that were in flight together fail together: they say that once, and nothing of the smaller number.

        Args:
            seconds: How long it took.
            now: On the monotonic clock.
            again: Whether the same failed before: unless it took long, it has a defect of its own.
        """
        slow = seconds > SLOW.total_seconds()
        if (again and not slow) or now - seconds < self._lowered_at:
            return
        number = self.number if self._trial is None else self._trial.more
        if number > 1:
            self._bar(number, now, HARMFUL_FOR if slow else USELESS_FOR)
            self._settle(number // 2)
            self._lowered_at = now

    # Inside

    def _note(self, seconds: float) -> None:
        self._seconds.append(seconds)
        if len(self._seconds) >= RECENT_SAMPLES:
            self.recent, self._seconds = usual(self._seconds), []

    def _try_another(self, now: float) -> None:
        """One more, or now and then one less."""
        barred = self._barred.get(self.number + 1)
        if self.number < self._bound and (barred is None or now >= barred.until):
            self._begin(self.number, now)
        elif self.number > 1 and now >= self._check_at:
            self._begin(self.number - 1, now)

    def _begin(self, fewer: int, now: float) -> None:
        self._level = self.number
        self._trial = _Trial(fewer, now, now, seconds={fewer: [], fewer + 1: []})
        self._era += 1  # what is in flight began before

    def _go_on(self, trial: _Trial, seconds: float, now: float) -> None:
        verdict = trial.verdict(now)
        if verdict is not None:
            self._end(trial, now, worth_it=verdict)
            return
        trial.slice_samples += 1
        long_enough = max(SLICE.total_seconds(), SLICE_REQUESTS * seconds)
        if trial.slice_samples >= CLEAR_SAMPLES and now - trial.slice_since >= long_enough:
            trial.slice_since, trial.slice_samples = now, 0
            self._number = trial.fewer if self._number == trial.more else trial.more
            self._era += 1

    def _end(self, trial: _Trial, now: float, *, worth_it: bool) -> None:
        was, level = self._level, trial.more if worth_it else trial.fewer
        seconds = {number: usual(each) for number, each in trial.seconds.items() if each}
        self.recent = seconds.get(level)
        self.before = seconds.get(trial.fewer if worth_it else trial.more)
        if worth_it:
            self._barred.pop(level, None)
        else:
            harmful = median(trial.seconds[trial.more]) > SLOW.total_seconds()
            self._bar(trial.more, now, HARMFUL_FOR if harmful else USELESS_FOR)
        if level != was:
            self._check_pause = CHECK_EVERY[0].total_seconds()
        elif worth_it:  # one less was tried in vain
            self._check_pause = min(GROWTH * self._check_pause, CHECK_EVERY[1].total_seconds())
        self._check_at = now + self._check_pause
        self._settle(level)

    def _bar(self, number: int, now: float, pauses: tuple[timedelta, timedelta]) -> None:
        first, longest = (pause.total_seconds() for pause in pauses)
        before = self._barred.get(number)
        pause = first if before is None else min(max(before.pause * GROWTH, first), max(longest, before.pause))
        self._barred[number] = _Barred(now + pause, pause)

    def _settle(self, number: int) -> None:
        self._level = self._number = number
        self._trial = None
        self._seconds = []
        self._era += 1
