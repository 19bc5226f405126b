"""Reads: outcomes in the order of their partition. Writes: nothing. What happened to one command, step by step."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from streamapp.core.model import ANSWERS, Outcome, Status

_STOPS = ("hold ", "pause ")
"""How an instruction is told that stops a key, a DAG or all."""


@dataclass(frozen=True, slots=True)
class Step:
    """Something that happened to a command, or to what it depends on."""

    at: datetime
    what: str
    text: str
    outcome: Outcome


class Timeline:
    """Collects what concerns one command, however long the topic is: its own outcomes, and who let it wait."""

    def __init__(self, command_id: str) -> None:
        self._id = command_id
        self._seen: set[str] = set()
        self._round_began: datetime | None = None
        self._waits_since: datetime | None = None
        """None while it has a run, or has ended."""
        self._own: Outcome | None = None
        self._before: Outcome | None = None
        """What was before it in its key's queue and ended last, while it waited."""
        self._stopped: dict[tuple[int, bytes | None, str | None], Outcome] = {}
        """Keys on hold and paused DAGs, by partition; without both, all DAGs."""
        self.steps: list[Step] = []

    def note(self, outcome: Outcome) -> None:
        """Take the next outcome of its partition."""
        if outcome.command_id == self._id:
            if outcome.id not in self._seen:
                self._seen.add(outcome.id)
                self.steps += self._of_itself(outcome)
        elif not outcome.command_id:
            self._of_key_or_dag(outcome)
        elif self._waits and self._own is not None and outcome.status.terminal and _before(outcome, self._own):
            self._before = outcome

    @property
    def _waits(self) -> bool:
        return self._waits_since is not None

    def _of_itself(self, outcome: Outcome) -> Iterator[Step]:
        if outcome.status in ANSWERS:
            yield Step(outcome.at, "instruction", outcome.detail or "", outcome)
            return
        if outcome.status is Status.TRIGGERED and self._before is not None:
            before = self._before
            yield Step(
                before.at, "its key", f"{before.command_id}, which was before it, ended as {before.status}", before
            )
        if outcome.status is Status.DUPLICATE and self._own is not None and outcome.source != self._own.source:
            yield Step(outcome.at, outcome.status, f"{outcome.source}: {outcome.detail}", outcome)
            return  # another record of its id: nothing has changed for it
        self._before = None
        yield Step(outcome.at, outcome.status, self._text(outcome), outcome)
        self._own = outcome
        waits = outcome.status in {Status.ACCEPTED, Status.ATTEMPT_FAILED, Status.BLOCKED}
        self._waits_since = outcome.at if waits else None
        if outcome.status is Status.ACCEPTED:
            self._round_began = outcome.at
            for stopped in self._stopped.values():
                if about := _about(stopped, outcome):
                    yield Step(stopped.at, about, f"{stopped.detail}, still in force", stopped)

    def _of_key_or_dag(self, outcome: Outcome) -> None:
        if outcome.status is not Status.INSTRUCTION_APPLIED:
            return
        scope = outcome.source.partition, outcome.key, outcome.dag_id
        if (outcome.detail or "").startswith(_STOPS):
            self._stopped[scope] = outcome
        else:
            self._stopped.pop(scope, None)
        about = _about(outcome, self._own) if self._own is not None and self._waits else None
        if about is not None:
            self.steps.append(Step(outcome.at, about, outcome.detail or "", outcome))

    def _text(self, outcome: Outcome) -> str:
        why = ": ".join(part for part in (outcome.reason, outcome.detail) if part)
        match outcome.status:
            case Status.ACCEPTED:
                return f"{outcome.command} from {outcome.source}" + (
                    f", round {outcome.round}" if outcome.round > 1 else ""
                )
            case Status.TRIGGERED:
                waited = f" after {_span(outcome.at - self._waits_since)}" if self._waits_since else ""
                return f"attempt {outcome.attempt}: run {outcome.dag_run_id}{waited}"
            case Status.RUN_ENDED:
                return f"attempt {outcome.attempt}: {outcome.result}{_took(outcome)}" + (f" ({why})" if why else "")
        total = f"{_span(outcome.at - self._round_began)} after it was accepted" if self._round_began else ""
        return "; ".join(part for part in (why, total if outcome.status.terminal else "") if part)


def _before(outcome: Outcome, own: Outcome) -> bool:
    """Whether an outcome is about a command that was before another one in its key's queue."""
    places = outcome.source.partition == own.source.partition and outcome.source.offset < own.source.offset
    return places and own.key is not None and outcome.key == own.key


def _about(instruction: Outcome, own: Outcome) -> str | None:
    """What an instruction about a key or DAGs has to do with a command."""
    if instruction.source.partition != own.source.partition:
        return None
    if instruction.key is not None:
        return "its key" if instruction.key == own.key else None
    if instruction.dag_id is None:
        return "all DAGs"
    return "its DAG" if instruction.dag_id == own.dag_id else None


def _took(outcome: Outcome) -> str:
    started, ended = outcome.timings.started_at, outcome.timings.ended_at
    return f" after {_span(ended - started)}" if started and ended else ""


def _span(time: timedelta) -> str:
    """Such as 0.4s, 12.3s, 4m05s, 2h07m, 3d04h."""
    seconds = max(time.total_seconds(), 0.0)
    if seconds < 60:
        return f"{seconds:.1f}s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes}m{rest:02}s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes:02}m" if hours < 24 else f"{hours // 24}d{hours % 24:02}h"
