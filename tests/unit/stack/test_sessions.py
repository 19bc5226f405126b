"""What is ended: the part's own processes, and no others."""

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from stack import sessions

SLEEP = "import time; print(flush=True); time.sleep(60)"
WITH_CHILD = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {SLEEP!r}]); {SLEEP}"
STUBBORN = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {SLEEP}"


@pytest.fixture
def started() -> Iterator[list[subprocess.Popen[str]]]:
    """Processes to be ended after the test."""
    processes: list[subprocess.Popen[str]] = []
    yield processes
    for process in processes:
        process.kill()
        process.communicate()


def start(code: str, folder: Path, started: list[subprocess.Popen[str]]) -> int:
    argv = [sys.executable, "-c", code]
    process = subprocess.Popen(argv, cwd=folder, stdout=subprocess.PIPE, text=True, start_new_session=True)
    started.append(process)
    assert process.stdout
    process.stdout.readline()
    return process.pid


def test_ends_a_part_and_its_children(tmp_path: Path, started: list[subprocess.Popen[str]]) -> None:
    session = start(WITH_CHILD, tmp_path, started)
    deadline = time.monotonic() + 10
    while len(sessions.members(session, tmp_path)) < 2 and time.monotonic() < deadline:
        time.sleep(0.02)
    assert sessions.end(session, tmp_path, grace_seconds=10) == 2
    assert sessions.members(session, tmp_path) == []
    assert started[0].wait(10) != 0


def test_kills_what_does_not_listen(tmp_path: Path, started: list[subprocess.Popen[str]]) -> None:
    session = start(STUBBORN, tmp_path, started)
    assert sessions.end(session, tmp_path, grace_seconds=0.2) == 1
    assert sessions.members(session, tmp_path) == []


def test_a_stranger_that_got_the_number_lives_on(tmp_path: Path, started: list[subprocess.Popen[str]]) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "part").mkdir()
    session = start(SLEEP, tmp_path / "elsewhere", started)
    assert sessions.end(session, tmp_path / "part", grace_seconds=1) == 0
    assert started[0].poll() is None


def test_another_session_in_the_folder_lives_on(tmp_path: Path, started: list[subprocess.Popen[str]]) -> None:
    session = start(SLEEP, tmp_path, started)
    start(SLEEP, tmp_path, started)
    assert sessions.end(session, tmp_path, grace_seconds=10) == 1
    assert started[1].poll() is None
