import json
import socket
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from streamapp.cli.main import main
from streamapp.cli.results import as_json_object
from streamapp.cli.tail import outcome_line
from streamapp.core.model import Outcome, Reason, Source, Status

OUTCOME = Outcome(
    command_id="order-17",
    key=b"event",
    command="app.probe",
    dag_id="probe",
    dag_run_id=None,
    round=1,
    attempt=1,
    status=Status.FAILED,
    reason=Reason.RUN_FAILED,
    detail="the run \x1b[2Jfailed",
    at=datetime(2026, 1, 31, 8, tzinfo=UTC),
    source=Source("commands", 3, 42),
)


def test_a_line_for_people() -> None:
    assert click.unstyle(outcome_line(OUTCOME)) == (
        "2026-01-31T08:00:00.000Z  failed          order-17  key=event  app.probe  (run_failed: the run \\x1b[2Jfailed)"
    )


def test_lines_of_all_attempts_stand_in_the_same_columns() -> None:
    lines = [click.unstyle(outcome_line(replace(OUTCOME, status=status))) for status in Status if len(status) < 15]
    assert len(lines) > 10
    assert {line.index("order-17") for line in lines} == {42}


def test_a_json_object_has_the_fields_of_the_topic() -> None:
    fields = json.loads(json.dumps(as_json_object(OUTCOME)))
    assert fields["id"] == "commands-3-42-1.1-failed"
    assert fields["key"] == "event"
    assert fields["source"] == {"topic": "commands", "partition": 3, "offset": 42}
    assert fields["at"] == "2026-01-31T08:00:00.000Z"


def test_a_kafka_that_says_nothing_is_told_when_the_time_is_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as mute:
        servers = f"127.0.0.1:{mute.getsockname()[1]}"
        done = CliRunner(env={"STREAMAPP_BOOTSTRAP_SERVERS": servers}).invoke(main, ["tail", "--timeout", "300ms"])
    assert done.exit_code == 1
    assert done.stdout == ""
    assert done.stderr == f"Error: Kafka at {servers} has not answered in time; nothing was read\n"


@pytest.mark.parametrize(
    "arguments", [["--from", "middle"], ["--count", "0"], ["--timeout", "soon"], ["--timeout", "0"], ["extra"]]
)
def test_wrong_usage(arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(main, ["tail", *arguments])
    assert done.exit_code == 2
    assert done.stdout == ""
