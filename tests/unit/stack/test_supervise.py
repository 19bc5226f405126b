"""The supervisor that starts a worker again."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from stack.config import ROOT
from stack.supervise import Pauses


def test_pauses_double_up_to_the_longest() -> None:
    pauses = Pauses(first_seconds=1, longest_seconds=5, steady_seconds=60)
    pause = 0.0
    seen = [pause := pauses.following(pause, ran=1) for _ in range(5)]
    assert seen == [1, 2, 4, 5, 5]


def test_a_worker_that_ran_for_long_starts_over_with_the_first_pause() -> None:
    assert Pauses(first_seconds=1).following(15, ran=61) == 1


class Supervised:
    """A supervisor under test with a worker written as a line of Python."""

    def __init__(self, folder: Path, worker: str) -> None:
        self.notes = folder / "notes"
        code = f"import os, signal, sys, time\nnotes = open({str(self.notes)!r}, 'a', 1)\n{worker}"
        argv = [sys.executable, "-m", "stack.supervise", sys.executable, "-c", code]
        self.process = subprocess.Popen(argv, cwd=ROOT, stdout=subprocess.PIPE, text=True)

    def wait_for_notes(self, count: int) -> list[str]:
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            lines = self.notes.read_text().splitlines() if self.notes.exists() else []
            if len(lines) >= count:
                return lines
            time.sleep(0.02)
        raise AssertionError(f"{count} notes wanted, {lines} seen")


@pytest.fixture
def supervised(tmp_path: Path) -> Iterator[list[Supervised]]:
    """What the test starts, ended after it."""
    started: list[Supervised] = []
    yield started
    for one in started:
        one.process.kill()
        one.process.communicate()


def test_starts_again_what_ended(tmp_path: Path, supervised: list[Supervised]) -> None:
    one = Supervised(tmp_path, "notes.write('started\\n'); sys.exit(7)")
    supervised.append(one)
    one.wait_for_notes(2)
    one.process.terminate()
    printed, _ = one.process.communicate(timeout=20)
    assert "ended with 7; starts again in 0.5 s" in printed


def test_bad_configuration_ends_it(tmp_path: Path, supervised: list[Supervised]) -> None:
    one = Supervised(tmp_path, "notes.write('started\\n'); sys.exit(2)")
    supervised.append(one)
    assert one.process.wait(20) == 2
    assert one.wait_for_notes(1) == ["started"]


def test_a_signal_reaches_the_worker_once_and_is_waited_for(tmp_path: Path, supervised: list[Supervised]) -> None:
    worker = (
        "signal.signal(signal.SIGTERM, lambda *_: notes.write('term\\n'))\n"
        "notes.write(f'{os.getpid()}\\n'); signal.pause(); time.sleep(0.3); notes.write('drained\\n'); sys.exit(3)"
    )
    one = Supervised(tmp_path, worker)
    supervised.append(one)
    pid = int(one.wait_for_notes(1)[0])
    assert os.getpgid(pid) != os.getpgid(one.process.pid)
    one.process.send_signal(signal.SIGTERM)
    assert one.process.wait(20) == 3
    assert one.wait_for_notes(3)[1:] == ["term", "drained"]
