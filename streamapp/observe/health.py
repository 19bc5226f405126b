"""Reads a worker's figures, answers with a verdict: does it live, is it ready. Writes nothing."""

from dataclasses import dataclass
from datetime import timedelta

from streamapp.observe.figures import Figures

STALLED_AFTER = timedelta(seconds=90)
"""Longer than Kafka's client tries to send (40 s): whoever is silent for so long will not recover by itself."""


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
    if figures.lease_remaining <= timedelta(0):
        problems.append("the membership in the group has run out: nothing may be written any more")
    if figures.stalled >= STALLED_AFTER:
        seconds = figures.stalled.total_seconds()
        problems.append(f"no fold has ended for {seconds:.0f} s, although {figures.folds_open} are under way")
    return Verdict(tuple(problems))


def ready(figures: Figures) -> Verdict:
    """Whether the worker does its share. One that got no partitions has nothing to do, and is ready."""
    problems = list(live(figures).problems)
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
