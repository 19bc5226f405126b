import json
from datetime import timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from streamapp.cli.main import main
from streamapp.cli.routes import duration

FILE = """\
[[route]]
command = "app.mail"
dag = "mails"

[[route]]
command = "app.*"
max_attempts = 3
retry_on = []
dedupe_for = "36h"
"""


@pytest.fixture(autouse=True)
def _in_an_empty_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["routes", *arguments])


def test_without_a_file_the_default_route_is_listed() -> None:
    done = run()
    assert done.exit_code == 0
    assert [line.split() for line in done.stdout.splitlines()[1:]] == [["1", "app.*", "{name}", "default", "none"]]


def test_the_list_of_a_file() -> None:
    Path("streamapp.toml").write_text(FILE)
    lines = run().stdout.splitlines()
    assert lines[1].split() == ["1", "app.mail", "mails", "streamapp.toml:1", "none"]
    assert lines[2].endswith("max_attempts: 3; retry_on: nothing; dedupe_for: 36h")
    listed = json.loads(run("--json").stdout)["routes"]
    assert [(one["number"], one["command"], one["place"]) for one in listed] == [
        (1, "app.mail", "streamapp.toml:1"),
        (2, "app.*", "streamapp.toml:5"),
    ]
    assert listed[1]["given"] == {"command": "app.*", "max_attempts": 3, "retry_on": [], "dedupe_for": "36h"}


@pytest.mark.parametrize("arguments", [("app.send",), ("--command", "app.send")])
def test_why_a_command_takes_its_route(arguments: tuple[str, ...]) -> None:
    Path("streamapp.toml").write_text(FILE)
    done = run(*arguments)
    assert done.exit_code == 0
    cells = [line.split(None, 1) for line in done.stdout.splitlines()]
    assert ["not", "route 1 (streamapp.toml:1): its pattern 'app.mail' does not match"] in cells
    assert ["route:", "2 of 2 (streamapp.toml:5): app.*"] in cells
    assert ["dag:", "send ({name}, the default)"] in cells
    told = {cell[0]: " ".join(cell[1].split()) for cell in cells}
    assert told["max_attempts"] == "3 from the route"
    assert told["ordering"] == "completed default"
    assert told["dedupe_for"] == "36h from the route"


def test_the_same_as_json() -> None:
    Path("streamapp.toml").write_text(FILE)
    told = json.loads(run("app.send", "--json").stdout)
    assert (told["dag"], told["route"]["number"], told["policy"]["max_attempts"]) == ("send", 2, 3)
    assert "ordering" in told["defaults"]
    assert not {"max_attempts", "retry_on", "dedupe_for"} & set(told["defaults"])
    assert told["passed"] == [{"route": 1, "command": "app.mail", "why": "its pattern 'app.mail' does not match"}]


def test_a_command_that_no_route_takes() -> None:
    done = run("shop.buy")
    assert done.exit_code == 1
    assert "no route takes shop.buy" in done.stderr
    told = run("shop.buy", "--json")
    assert (told.exit_code, json.loads(told.stdout)["route"]) == (1, None)
    assert "would have no name" in run("app.").stdout


def test_without_a_policy_of_its_own_the_retention_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STREAMAPP_RETENTION", "3d")
    (line,) = [line for line in run("app.x").stdout.splitlines() if "dedupe_for" in line]
    assert " ".join(line.split()) == "dedupe_for 3d, from STREAMAPP_RETENTION default"


def test_two_commands_are_one_too_many() -> None:
    assert run("app.a", "--command", "app.b").exit_code == 2


def test_a_check_tells_everything_that_is_wrong() -> None:
    Path("streamapp.toml").write_text("broken")  # not looked at
    Path("new.toml").write_text("[[route]]\ncommand = 'a'\nordring = 'none'\nmax_attempts = 0\n")
    done = run("--check", "new.toml")
    assert done.exit_code == 1
    assert done.stderr.splitlines() == [
        "problem: new.toml:4: max_attempts = '0': must be greater than or equal to 1",
        "problem: new.toml:3: 'ordring' is not a key of a route; did you mean ordering?",
    ]
    assert len(json.loads(run("--check", "new.toml", "--json").stdout)["problems"]) == 2


def test_a_check_looks_at_the_settings_too() -> None:
    Path("new.toml").write_text("[streamapp]\npartitions = 0\n")
    assert "new.toml:2 (partitions)" in run("--check", "new.toml").stderr
    Path("new.toml").write_text(FILE)
    assert run("--check", "new.toml").exit_code == 0
    assert "mails" in run("--check", "new.toml", "app.mail").stdout


def test_a_wrong_file_in_use_is_one_line() -> None:
    Path("streamapp.toml").write_text("[[route]]\ncommand = 7\n")
    done = run()
    assert done.exit_code == 2
    assert done.stderr == "Error: streamapp.toml:2: command = '7': must be a valid string\n"


@pytest.mark.parametrize("text", ["0s", "500ms", "90s", "5m", "36h", "7d"])
def test_durations_are_shown_as_they_are_written(text: str) -> None:
    numbers = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
    unit = text.lstrip("0123456789")
    assert duration(timedelta(milliseconds=int(text.removesuffix(unit)) * numbers[unit])) == text
