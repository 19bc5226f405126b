"""Reads a worker's figures, answers with a verdict: does it live, is it ready. Writes nothing.

A worker lives while it makes progress, or waits for something that a restart would not bring: Kafka, Airflow or the
schema registry that are away, a partition that is being moved, commands that are held.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import timedelta

from streamapp.observe.figures import Figures

STALLED_AFTER = timedelta(seconds=90)
"""Longer than Kafka's client tries to send (40 s): whoever is silent for so long will not recover by itself."""
LAPSED_AFTER = timedelta(minutes=10)
"""Kafka may just be away, and no restart brings it; but after so long one costs nothing, and mends a hanging client."""


@dataclass(frozen=True, slots=True)
class Reading:
    """How the reading of a topic stands."""

    taken: int = 0
    """Grows with each record that is taken in."""
    waiting: int = 0
    """Records that Kafka has and that are not taken in yet."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether all is well, and what is not."""

    problems: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether there is no problem."""
        return not self.problems


def live(figures: Figures) -> Verdict:
    """Whether the worker makes progress; if not, only a restart helps."""
    problems = []
    if figures.failed is not None:
        problems.append(f"folding has stopped: {figures.failed}")
    if figures.lease_remaining <= -LAPSED_AFTER:
        problems.append(f"Kafka has answered no heartbeat for {LAPSED_AFTER}: the client may hang")
    if figures.stalled >= STALLED_AFTER:
        seconds = figures.stalled.total_seconds()
        problems.append(f"no fold has ended for {seconds:.0f} s, although {figures.folds_open} are under way")
    for topic, since in sorted(figures.untaken.items()):
        if since >= STALLED_AFTER:
            problems.append(f"no record of {topic} was taken in for {since.total_seconds():.0f} s, although some wait")
    return Verdict(tuple(problems))


def ready(figures: Figures) -> Verdict:
    """Whether the worker does its share. One that got no partitions has nothing to do, and is ready."""
    problems = list(live(figures).problems)
    if figures.lease_remaining <= timedelta(0):
        problems.append("the membership in the group has run out: nothing may be written until Kafka answers")
    if not figures.joined:
        problems.append("it has not joined the group yet")
    elif figures.rebalancing:
        problems.append("partitions are being given out anew")
    elif figures.restoring:
        problems.append("the table is being restored")
    elif not figures.accepting:
        problems.append("the index is being rebuilt from the table")
    return Verdict(tuple(problems))


class Progress:
    """Notices that nothing ends, from one look to the next; without looks it notices nothing."""

    def __init__(self) -> None:
        self._ended = 0
        self._since: float | None = None

    def look(self, under_way: int, ended: int, now: float) -> timedelta:
        """For how long nothing has ended, as far as looks can tell.

        Args:
            under_way: Folds that have not ended.
            ended: Folds that have ended so far.
            now: On the monotonic clock, in seconds.
        """
        if not under_way or ended != self._ended or self._since is None:
            self._since = now
        self._ended = ended
        return timedelta(seconds=now - self._since)


class Uptake:
    """Notices topics whose records nobody takes in, from one look to the next."""

    def __init__(self) -> None:
        self._seen: dict[str, tuple[int, float]] = {}
        """By topic: what was taken in, and since when no more than that."""

    def look(self, readings: Mapping[str, Reading] | None, held: Collection[str], now: float) -> dict[str, timedelta]:
        """For how long no record has been taken in of each topic that has some.

        Args:
            readings: By topic; None: nothing is known just now, and nothing counts.
            held: Topics that are not to be read just now.
            now: On the monotonic clock, in seconds.
        """
        before, self._seen = self._seen, {}
        for topic, reading in (readings or {}).items():
            if reading.waiting and topic not in held:
                taken, since = before.get(topic, (reading.taken, now))
                self._seen[topic] = reading.taken, since if taken == reading.taken else now
        return {topic: timedelta(seconds=now - since) for topic, (_, since) in self._seen.items()}
