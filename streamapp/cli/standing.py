"""Reads: outcomes, as they come. Writes: nothing. How commands stand by what was said of their records."""

from datetime import datetime

from streamapp.cli.rounds import stage
from streamapp.core.model import ANSWERS, Outcome, Source, Status


class Standings:
    """Several records may carry one id, and what is said of a record may come again, late."""

    def __init__(self) -> None:
        self._told: dict[str, dict[Source, Outcome]] = {}
        """By command and record: the furthest outcome."""

    def note(self, outcome: Outcome) -> None:
        """Take an outcome; in the order of its partition."""
        if outcome.status in ANSWERS:
            return
        told = self._told.setdefault(outcome.command_id, {})
        before = told.get(outcome.source)
        if before is None or stage(outcome) > stage(before):
            told[outcome.source] = outcome

    def of(self, command_id: str) -> Outcome | None:
        """What was said last of the record that has the id; of another one with the id where nothing is known of it."""
        told = self._told.get(command_id, {})
        return max(reversed(told.values()), key=_has_the_id, default=None)

    def ended(self, command_id: str) -> bool:
        """Whether it has ended. A duplicate is no end: it says that another record has the id, not how that stands."""
        last = self.of(command_id)
        return last is not None and last.status.terminal and last.status is not Status.DUPLICATE


def _has_the_id(outcome: Outcome) -> tuple[bool, bool, datetime]:
    """A rejected record leaves the id to others, and a duplicate never had it."""
    return outcome.status is not Status.DUPLICATE, outcome.status is not Status.REJECTED, outcome.at
