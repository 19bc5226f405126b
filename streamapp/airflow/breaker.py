"""Tells "Airflow is down" from "this command is bad". Reads how requests end, answers what may be sent. Pure.

Failures alone can't tell: one DAG whose triggers are always answered with 500 looks like an Airflow that is down, when
nothing else is asked for. So after a few failures in a row, with no good answer to anything in between, Airflow's
health is asked: if it is well (its database, the log-in), what failed is to blame, and goes its own way, trying again
and again, for itself. If not, the breaker opens: nothing is sent but that question, one at a time, until it is well;
then one request alone, and when that is answered, all goes on.
"""

from datetime import timedelta
from enum import StrEnum

FAILURES = 3
"""In a row, of anything that is not to blame already."""
BLAMED_FOR = timedelta(seconds=30)
"""How long failures of what is to blame say nothing: it would have Airflow's health asked at each third try."""
FIRST_PAUSE = timedelta(seconds=1)
"""Before the second question; it doubles from there."""
LONGEST_PAUSE = timedelta(seconds=15)
"""How late it may be noticed that Airflow is back."""


class BreakerState(StrEnum):
    """What may be sent."""

    CLOSED = "closed"
    """Everything."""
    SUSPECTED = "suspected"
    """The question how Airflow is: too much has failed."""
    OPEN = "open"
    """The same: it was not well."""
    HALF_OPEN = "half_open"
    """One request at a time: it says that it is well."""


class Breaker:
    """A state machine; whoever sends requests tells it how they end, and asks it before."""

    def __init__(self) -> None:
        self.state = BreakerState.CLOSED
        self.why = ""
        """What failed last, or what Airflow's health is."""
        self.opened = 0
        """How often Airflow was found to be down."""
        self._failures: list[str] = []
        self._blamed: dict[str, float] = {}
        self._pause = FIRST_PAUSE

    @property
    def passes(self) -> bool:
        """Whether requests may be sent."""
        return self.state in {BreakerState.CLOSED, BreakerState.HALF_OPEN}

    @property
    def pause(self) -> timedelta:
        """Until Airflow's health is to be asked (again)."""
        return timedelta() if self.state is BreakerState.SUSPECTED else self._pause

    def answered(self, subject: str) -> None:
        """A request was answered, if only with a refusal."""
        self._failures.clear()
        self._blamed.pop(subject, None)
        if self.state is BreakerState.HALF_OPEN:
            self._close()

    def failed(self, subject: str, why: str, now: float) -> bool:
        """A request was not answered, or with something that says nothing of the command.

        Args:
            subject: What was asked about: a DAG, say.
            why: For people.
            now: On the monotonic clock, in seconds.

        Returns:
            Whether Airflow's health is to be asked.
        """
        if not self.passes or self._blamed.get(subject, 0.0) > now:
            return False
        self._failures.append(subject)
        self.why = why
        if self.state is BreakerState.HALF_OPEN or len(self._failures) >= FAILURES:
            self.state = BreakerState.SUSPECTED if self.state is BreakerState.CLOSED else BreakerState.OPEN
            return True
        return False

    def is_well(self, now: float) -> None:
        """Airflow says that it is well."""
        self._blamed = {subject: until for subject, until in self._blamed.items() if until > now}
        self._blamed |= dict.fromkeys(self._failures, now + BLAMED_FOR.total_seconds())
        self._failures.clear()
        if self.state is BreakerState.SUSPECTED:
            self._close()
        else:
            self.state = BreakerState.HALF_OPEN

    def is_not_well(self, why: str) -> None:
        """Airflow is not well, or says nothing."""
        self._pause = FIRST_PAUSE if self.state is BreakerState.SUSPECTED else min(self._pause * 2, LONGEST_PAUSE)
        self.opened += self.state is BreakerState.SUSPECTED
        self.state, self.why = BreakerState.OPEN, why

    def _close(self) -> None:
        self.state, self.why = BreakerState.CLOSED, ""
        self._pause = FIRST_PAUSE
