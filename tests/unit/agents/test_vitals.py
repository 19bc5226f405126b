import asyncio
import threading
from dataclasses import MISSING, fields
from datetime import timedelta
from types import SimpleNamespace

import pytest
from faust.types import TP

from streamapp.agents import vitals
from streamapp.agents.parts import Parts
from streamapp.agents.vitals import Pulse, Vitals, give_up_if
from streamapp.core.errors import Unavailable
from streamapp.dispatch.gate import Gate
from streamapp.kafka import exits
from streamapp.observe.health import STALLED_AFTER, Verdict
from tests.support.eventually import eventually
from tests.support.manual_clock import ManualClock
from tests.support.waiting import until

MINUTE = timedelta(minutes=1)


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


class Unread:
    """An app whose topics have one record each that nobody takes in."""

    commands_topic = "commands"
    rebalancing = in_recovery = False

    def __init__(self) -> None:
        topics = TP("commands", 0), TP("results", 0), TP("control", 0)
        self.gaps = SimpleNamespace(in_hand=lambda: dict.fromkeys(topics, (7, 8)))
        client = SimpleNamespace(_subscription=SimpleNamespace(subscription=None))
        self.consumer = SimpleNamespace(highwaters=self._ends, _thread=SimpleNamespace(_consumer=client))
        self.looked = 0

    async def _ends(self, *tps) -> dict[TP, int]:
        return dict.fromkeys(tps, 8)

    async def look_at_topics(self) -> None:
        self.looked += 1


@pytest.mark.parametrize("accepting", [True, False])
async def test_each_look_is_also_one_at_the_topics_once_partitions_are_here(accepting):
    app = Unread()
    parts = SimpleNamespace(
        partitions=SimpleNamespace(accepting=accepting), gate=Gate(print, print), waiting=set(), clock=ManualClock()
    )
    await Vitals(app, parts).look()
    assert app.looked == accepting


async def test_results_that_wait_for_the_registry_are_no_reason_to_leave():
    """A worker that is started again waits for it, too, and does not even fold instructions meanwhile."""
    clock, there = ManualClock(), []
    needed = {one.name: None for one in fields(Parts) if one.default is MISSING and one.default_factory is MISSING}
    gate = Gate(hold=lambda: None, release=lambda: None)
    parts = Parts(**needed | {"clock": clock, "gate": gate, "partitions": SimpleNamespace(accepting=True)})
    signs = Vitals(Unread(), parts)

    async def decode():
        if not there:
            raise Unavailable("the registry does not answer")
        return "an outcome"

    async def untaken():
        await signs.look()
        clock.advance(STALLED_AFTER)
        await signs.look()
        return {topic for topic, since in signs.untaken.items() if since >= STALLED_AFTER}

    decoding = asyncio.create_task(parts.patiently("registry: results", "results", decode))
    await until(lambda: clock.sleeping)
    assert await untaken() == {"control"}
    there.append(True)
    clock.advance(STALLED_AFTER)
    assert await decoding == "an outcome"
    assert await untaken() == {"commands", "results", "control"}, "what nobody takes in, though nothing is in the way"


class Consumer:
    """Kafka, which has ten records of each topic."""

    def __init__(self, tps):
        assignment = SimpleNamespace(
            tps=frozenset(tps), state_value=lambda _: SimpleNamespace(has_valid_position=False)
        )
        subscription = SimpleNamespace(subscription=SimpleNamespace(assignment=assignment))
        self._thread = SimpleNamespace(_consumer=SimpleNamespace(_subscription=subscription))

    async def highwaters(self, *tps):
        return dict.fromkeys(tps, 10)


async def see_nothing_new():
    """The topics are what they were."""


@pytest.mark.parametrize(("reasons", "late"), [({}, {"commands", "results"}), ({"ready"}, {"results"})])
async def test_commands_that_are_held_are_nobodys_fault(reasons, late):
    """Else a worker would restart again and again while Airflow is away and its index is full."""
    clock = ManualClock()
    in_hand = {TP("commands", 0): (3, 3), TP("results", 0): (3, 3)}
    gaps = SimpleNamespace(in_hand=lambda: in_hand)
    app = SimpleNamespace(
        commands_topic="commands",
        gaps=gaps,
        rebalancing=False,
        in_recovery=False,
        consumer=Consumer(in_hand),
        look_at_topics=see_nothing_new,
    )
    parts = SimpleNamespace(
        partitions=SimpleNamespace(accepting=True), gate=SimpleNamespace(reasons=reasons), waiting=set(), clock=clock
    )
    looks = vitals.Vitals(app, parts)
    await looks.look()
    clock.advance(MINUTE)
    await looks.look()
    assert looks.untaken == dict.fromkeys(late, MINUTE)
