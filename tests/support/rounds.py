"""Rounds of commands as the command line reads them: records that follow others, and outcomes."""

from typing import Any

from streamapp.cli.rounds import Rounds
from streamapp.core.model import Outcome, Reopens, Status
from tests.support.builders import AT, source


def said(offset: int, status: Status, *, attempt: int = 1, round_: int = 1, **fields: Any) -> Outcome:
    """An outcome of partition 0."""
    fields = {"command_id": f"c{offset}", "key": b"k", "command": "app.probe", "dag_id": "probe"} | fields
    return Outcome(
        dag_run_id=None, round=round_, attempt=attempt, status=status, at=AT, source=source(offset), **fields
    )


def rounds(*outcomes: Outcome, **followers: Reopens) -> Rounds:
    """What is known from them; followers as `at5=Reopens(…)`."""
    known = Rounds("commands")
    for name, reopens in followers.items():
        known.note_record((0, int(name.removeprefix("at"))), reopens)
    for outcome in outcomes:
        known.note_outcome(outcome)
    return known
