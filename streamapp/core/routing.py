"""From a command's name to its policy: the first route whose pattern matches. Reads and writes nothing."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from fnmatch import translate

from streamapp.core.model import OnFailure, Ordering, Policy


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
    max_in_flight: int = 16
    _pattern: re.Pattern[str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_pattern", re.compile(translate(self.command)))

    def policy(self, command: str) -> Policy | None:
        """The policy of a command that this route takes, else None."""
        dag_id = self.dag.replace("{name}", command.partition(".")[2])
        if not dag_id or not self._pattern.match(command):
            return None
        return Policy(
            dag_id=dag_id,
            ordering=self.ordering,
            on_failure=self.on_failure,
            max_attempts=self.max_attempts,
            retry_delay=self.retry_delay,
            max_in_flight=self.max_in_flight,
        )


DEFAULT_ROUTES = (Route(),)


def find_policy(routes: Sequence[Route], command: str) -> Policy | None:
    """The policy of the first route that takes the command; None when no route does."""
    return next((policy for route in routes if (policy := route.policy(command))), None)
