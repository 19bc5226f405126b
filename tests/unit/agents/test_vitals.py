import asyncio
import threading
from datetime import timedelta

import pytest

from streamapp.agents import vitals
from streamapp.agents.vitals import Pulse, give_up_if
from streamapp.kafka import exits
from streamapp.observe.health import Verdict
from tests.support.eventually import eventually


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(vitals, "TICK_EVERY", timedelta(milliseconds=10))
    monkeypatch.setattr(vitals, "LOOP_STUCK_AFTER", timedelta(milliseconds=50))


class Loop:
    """Runs what it is told, or does not."""

    def __init__(self, *, turns: bool, closed: bool = False) -> None:
        self.turns = turns
        self.closed = closed
        self.asked = threading.Semaphore(0)

    def call_soon_threadsafe(self, callback) -> None:
        if self.closed:
            raise RuntimeError("Event loop is closed")
        self.asked.release()
        if self.turns:
            callback()


def test_a_loop_that_does_not_turn_is_found_out():
    ended = threading.Event()
    Pulse(ended.set).start(Loop(turns=False))
    assert ended.wait(20)


def test_a_loop_that_turns_is_left_alone():
    ended, loop = threading.Event(), Loop(turns=True)
    pulse = Pulse(ended.set)
    pulse.start(loop)
    for _ in range(20):
        assert loop.asked.acquire(timeout=20)
    pulse.stop()
    assert not ended.is_set()


async def test_a_real_loop_that_turns_is_left_alone(monkeypatch):
    monkeypatch.setattr(vitals, "LOOP_STUCK_AFTER", timedelta(seconds=1))  # a busy machine may keep it waiting
    ended = threading.Event()
    pulse = Pulse(ended.set)
    pulse.start(asyncio.get_running_loop())
    for _ in range(150):
        await asyncio.to_thread(ended.wait, 0.01)
    pulse.stop()
    assert not ended.is_set()


@pytest.mark.parametrize("closed", [True, False])
def test_the_thread_ends_with_what_it_watches(closed):
    before = set(threading.enumerate())
    pulse = Pulse(lambda: None)
    pulse.start(Loop(turns=True, closed=closed))
    if not closed:
        pulse.stop()

    def ended() -> None:
        assert set(threading.enumerate()) <= before

    eventually(ended)


def test_a_bad_verdict_ends_the_process_and_says_why(caplog):
    left = []
    give_up_if(Verdict(("it is stuck", "and so is that")), left.append)
    assert left == [exits.STUCK]
    assert "it is stuck; and so is that" in caplog.text


def test_a_good_verdict_does_not():
    give_up_if(Verdict(), lambda _: pytest.fail("it has left"))
