"""The judge of commits sees each kind of record that was committed too early."""

import json

import pytest

from streamapp.core.effects import Queued, Settled
from streamapp.core.model import Entry, Status
from streamapp.wire.rows import row_key, row_value
from tests.support.builders import entry, source
from tests.support.chaos_commits import Recorded, unrecorded
from tests.support.topics_reader import Record

NOTHING = {"commands": {0: 0}, "results": {0: 0}, "control": {0: 0}}


def record(key: bytes | None = None, value: bytes | None = None, offset: int = 0) -> Record:
    return Record(topic="t", partition=0, offset=offset, timestamp_ms=0, key=key, value=value, headers=())


def outcome(status: Status, *, attempt: int = 1, offset: int = 0, at: int = 0, **fields: object) -> dict[str, object]:
    place = {"topic": "commands", "partition": 0, "offset": offset}
    return {"source": place, "round": 1, "attempt": attempt, "status": status, "record": record(offset=at), **fields}


def row(status: Status, where: type[Queued] | type[Settled] = Queued, **fields: object) -> Record:
    one: Entry = entry(source=source(0, 0), key=b"k", id="c0", status=status, **fields)
    return record(row_key(where(b"k", 0)), row_value(one))


@pytest.fixture
def recorded() -> Recorded:
    return Recorded()


def said(recorded: Recorded, **ends: int) -> list[str]:
    return unrecorded(NOTHING | {log: {0: end} for log, end in ends.items()}, recorded)


def test_a_command_of_which_nothing_was_told(recorded: Recorded) -> None:
    assert said(recorded, commands=0) == []
    assert len(said(recorded, commands=1)) == 1
    recorded.tell(outcome(Status.ACCEPTED, attempt=0))
    assert said(recorded, commands=1) == []
    assert len(said(recorded, commands=2)) == 1


def test_a_run_that_no_row_shows(recorded: Recorded) -> None:
    recorded.tell(outcome(Status.TRIGGERED, at=3))
    recorded.log(row(Status.ACCEPTED, attempt=0))
    assert said(recorded, results=3) == []
    assert "no run" in said(recorded, results=4)[0]
    recorded.log(row(Status.TRIGGERED, attempt=1))
    assert said(recorded, results=4) == []


def test_a_second_run_that_no_row_shows(recorded: Recorded) -> None:
    recorded.tell(outcome(Status.TRIGGERED, attempt=2))
    recorded.log(row(Status.ATTEMPT_FAILED, attempt=1))
    assert "no run" in said(recorded, results=1)[0]


def test_a_run_that_was_seen_after_the_verdict(recorded: Recorded) -> None:
    recorded.tell(outcome(Status.TRIGGERED))
    recorded.log(row(Status.EXPIRED, Settled, attempt=0))
    assert said(recorded, results=1) == []


@pytest.mark.parametrize("verdict", [Status.SUCCEEDED, Status.FAILED, Status.ATTEMPT_FAILED, Status.BLOCKED])
def test_an_end_without_a_verdict(recorded: Recorded, verdict: Status) -> None:
    recorded.tell(outcome(Status.RUN_ENDED))
    assert "nothing was decided" in said(recorded, results=1)[0]
    recorded.tell(outcome(verdict))
    assert said(recorded, results=1) == []


def test_a_verdict_of_an_earlier_attempt_does_not_count(recorded: Recorded) -> None:
    recorded.tell(outcome(Status.ATTEMPT_FAILED, attempt=1))
    recorded.tell(outcome(Status.RUN_ENDED, attempt=2))
    assert "nothing was decided" in said(recorded, results=1)[0]
    recorded.tell(outcome(Status.REJECTED, attempt=1))  # no run came of the second
    assert said(recorded, results=1) == []


def test_an_attempt_that_came_to_nothing_where_another_worker_made_the_run(recorded: Recorded) -> None:
    recorded.tell(outcome(Status.RUN_ENDED, result="not_created"))
    recorded.log(row(Status.ACCEPTED, attempt=0))
    assert "nothing was decided" in said(recorded, results=1)[0]
    recorded.log(row(Status.TRIGGERED, attempt=1))
    assert said(recorded, results=1) == []


def test_an_instruction_without_an_answer(recorded: Recorded) -> None:
    recorded.instruct(record(value=json.dumps({"action": "skip", "control_id": "i1"}).encode(), offset=2))
    assert said(recorded, control=2) == []
    assert "no answer" in said(recorded, control=3)[0]
    recorded.tell(outcome(Status.INSTRUCTION_REFUSED, control_id="i1"))
    assert said(recorded, control=3) == []


def test_a_deadline_that_was_not_noted(recorded: Recorded) -> None:
    recorded.instruct(record(value=json.dumps({"action": "expire", "command_id": "c0"}).encode(), offset=2))
    recorded.log(row(Status.ACCEPTED, attempt=0))
    assert said(recorded, control=2) == []
    assert "no deadline" in said(recorded, control=3)[0]
    recorded.log(row(Status.ACCEPTED, attempt=0, ending=Status.EXPIRED))
    assert said(recorded, control=3) == []


def test_a_deadline_after_the_run_had_begun(recorded: Recorded) -> None:
    recorded.instruct(record(value=json.dumps({"action": "expire", "command_id": "c0"}).encode()))
    recorded.log(row(Status.ACCEPTED, attempt=0))
    recorded.tell(outcome(Status.TRIGGERED))
    assert said(recorded, control=1) == []
