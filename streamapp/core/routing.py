"""From a command's name to its policy: the first route whose pattern matches. Reads and writes nothing."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from fnmatch import translate

from streamapp.core.model import OnFailure, Ordering, Paused, Policy, Reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One `[[route]]`: which commands it takes, and how they run."""

    command: str = "app.*"
    """A glob over the whole name of the command, case-sensitive."""
    dag: str = "{name}"
    """The DAG; `{name}` stands for what follows the first dot of the command."""
    ordering: Ordering = Ordering.COMPLETED
    on_failure: OnFailure = OnFailure.DEAD_LETTER
    max_attempts: int = 1
    retry_delay: timedelta = timedelta(seconds=30)
    retry_delay_max: timedelta = timedelta(hours=1)
    retry_on: frozenset[Reason] = frozenset({Reason.RUN_FAILED, Reason.RUN_NOT_STARTED})
    not_before: timedelta | None = None
    deadline: timedelta | None = None
    dedupe_for: timedelta | None = None
    max_in_flight: int | None = None
    paused: Paused = Paused.WAIT
    _pattern: re.Pattern[str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_pattern", re.compile(translate(self.command)))

    def policy(self, command: str) -> Policy | None:
        """The policy of a command that this route takes, else None."""
        if self.why_not(command) is not None:
            return None
        return Policy(
            dag_id=self._dag_of(command),
            ordering=self.ordering,
            on_failure=self.on_failure,
            max_attempts=self.max_attempts,
            retry_delay=self.retry_delay,
            retry_delay_max=self.retry_delay_max,
            retry_on=self.retry_on,
            not_before=self.not_before,
            deadline=self.deadline,
            max_in_flight=self.max_in_flight,
            dedupe_for=self.dedupe_for,
            paused=self.paused,
        )

    def why_not(self, command: str) -> str | None:
        """Why it does not take a command, in words for a person; None where it takes it."""
        if not self._pattern.match(command):
            return f"its pattern {self.command!r} does not match"
        if not self._dag_of(command):
            return f"its DAG {self.dag!r} would have no name: nothing follows the first dot of the command"
        return None

    def _dag_of(self, command: str) -> str:
        return self.dag.replace("{name}", command.partition(".")[2])


DEFAULT_ROUTES = (Route(),)


def find_policy(routes: Sequence[Route], command: str) -> Policy | None:
    """The policy of the first route that takes the command; None when no route does."""
    return next((policy for route in routes if (policy := route.policy(command))), None)


def later(at: datetime, delay: timedelta | None) -> datetime | None:
    """The moment a delay after another one."""
    return None if delay is None else at + delay
