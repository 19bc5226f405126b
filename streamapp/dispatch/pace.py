"""How often to ask for ended runs: often where a command waits for a young run, rarely else. Reads and writes nothing.

What a delay costs is measured by what the run takes anyway: a share of its age so far, between bounds.
"""

from datetime import timedelta

SHARE_WAITED_FOR = 0.1
"""Of a run's age: the time between two looks while another command waits for its end. The delay is half of it."""

SHARE = 0.25
"""The same where nothing waits for the end."""

SHARE_FORETOLD = 0.5
"""The same where Airflow hints at ends: a look finds only the end whose hint got lost."""

FORETOLD_LATER = 2
"""Times the age before which an end would be a surprise: so much later than that, its hint must have got lost."""

LONGEST_WAITED_FOR = timedelta(seconds=2)
"""Between two looks at a run of any age that a command waits for."""

LONGEST = timedelta(seconds=10)
"""Between two looks at any run: what nothing waits for is told this late at most."""

BUSY_SHARE = 1 / 3
"""Of the time, that one worker's polls may keep Airflow busy: a slow Airflow is asked less often."""

QUICK = timedelta(milliseconds=50)
"""What a look may take without being taken for slow at once."""

SOON = 0.8
"""Of the shortest time that a DAG's runs took lately: before that, an end would be a surprise."""

FORGIVING = 1.1
"""How fast that shortest time grows again, by each run that took longer."""


class Durations:
    """The shortest time, from its creation on, that runs of each DAG took lately."""

    def __init__(self) -> None:
        self._shortest: dict[str, float] = {}

    def note(self, dag_id: str, took: timedelta) -> None:
        """A run has ended."""
        seconds = max(took.total_seconds(), 0.0)
        self._shortest[dag_id] = min(seconds, self._shortest.get(dag_id, seconds) * FORGIVING)

    def soonest(self, dag_id: str) -> float:
        """The age in seconds before which an end would be a surprise."""
        return SOON * self._shortest.get(dag_id, 0.0)


def pause_seconds(
    age_seconds: float, since_look_seconds: float, *, waited_for: bool, foretold: bool, soonest: float
) -> float:
    """The time between the last look and the next one, as far as one run is concerned.

    Args:
        age_seconds: How long the run has been known.
        since_look_seconds: How long ago the last look was.
        waited_for: Whether another command waits for its end.
        foretold: Whether Airflow is likely to hint at its end.
        soonest: The age before which an end would be a surprise.
    """
    longest = (LONGEST_WAITED_FOR if waited_for else LONGEST).total_seconds()
    expected = soonest * FORETOLD_LATER if foretold else soonest
    if (waited_for or foretold) and age_seconds < expected:
        return min(since_look_seconds + expected - age_seconds, longest)
    share = SHARE_FORETOLD if foretold else SHARE_WAITED_FOR if waited_for else SHARE
    return min(age_seconds * share, longest)


def smoothed(took_seconds: float, before_seconds: float) -> float:
    """How long looks take: twice as long as before at most, so that one slow answer does not make all others late."""
    return min(took_seconds, max(2 * before_seconds, QUICK.total_seconds()))


def shortest_seconds(poll_seconds: float) -> float:
    """The least time between two looks, by how long the last one took."""
    return poll_seconds * (1 / BUSY_SHARE - 1)
