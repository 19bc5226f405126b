import asyncio
from collections import deque
from functools import partial
from unittest.mock import MagicMock

import faust
import pytest
from faust._cython import streams
from mode import Service

from streamapp.kafka import delivery
from streamapp.kafka.delivery import TURN_SECONDS, DirectConsumer, Turns, begin
from tests.support.tasks import tasks_made


class Waiting(Service):
    """What waits for several, as Faust's consumer does; notes how often."""

    times = 0

    async def __call__(self, *coros):
        self.times += 1
        return (await self.wait_first(*coros)).results


@pytest.fixture
async def wait():
    return Waiting(loop=asyncio.get_running_loop())


async def put(queue, item, steps=1):
    for _ in range(steps):
        await queue.put(item)
    return item


async def test_where_there_is_room_nothing_waits(wait):
    queue, stop = asyncio.Queue(), asyncio.Event()
    assert await begin(put(queue, 1), [stop.wait()], wait) is None
    assert queue.get_nowait() == 1
    assert wait.times == 0


async def test_where_there_is_none_it_waits_in_order(wait):
    queue, stop = asyncio.Queue(1), asyncio.Event()

    async def deliver():
        for item in range(5):
            await begin(put(queue, item), [stop.wait()], wait)

    delivering = asyncio.ensure_future(deliver())
    assert [await queue.get() for _ in range(5)] == [0, 1, 2, 3, 4]
    await delivering
    assert wait.times > 0


async def test_it_may_wait_more_than_once(wait):
    queue, stop = asyncio.Queue(1), asyncio.Event()
    delivering = asyncio.ensure_future(begin(put(queue, "a", steps=4), [stop.wait()], wait))
    assert [await queue.get() for _ in range(4)] == ["a"] * 4
    assert await delivering == ["a"]


async def test_a_wait_for_room_ends_when_another_is_first(wait):
    queue, stop = asyncio.Queue(1), asyncio.Event()
    queue.put_nowait(0)
    delivering = asyncio.ensure_future(begin(put(queue, 1), [stop.wait()], wait))
    await asyncio.sleep(0)
    stop.set()
    assert await delivering == [True]
    assert queue.get_nowait() == 0
    assert queue.empty()  # what was not delivered is not delivered later either


@pytest.mark.parametrize("steps", [0, 2])
async def test_an_error_comes_through_before_and_after_a_wait(wait, steps):
    turns = deque(range(steps))

    async def fail():
        while turns:
            turns.popleft()
            await asyncio.sleep(0)
        raise OSError("broken")

    with pytest.raises(OSError, match="broken"):
        await begin(fail(), [asyncio.Event().wait()], wait)


async def test_a_turn_of_the_loop_between_two_fetches_makes_no_task():
    consumer = object.__new__(DirectConsumer)
    with tasks_made() as made:
        await consumer.sleep(0)
    assert made == []


async def test_a_real_pause_ends_when_the_consumer_stops():
    """As stock has it."""
    consumer = object.__new__(DirectConsumer)
    consumer._stopped = asyncio.Event()
    pause = asyncio.ensure_future(consumer.sleep(3600))
    await asyncio.sleep(0)
    assert not pause.done()
    consumer._stopped.set()
    await asyncio.wait_for(pause, 10)


@pytest.fixture
async def turns():
    """How many turns others have had."""
    had = []

    async def others():
        while True:
            await asyncio.sleep(0)
            had.append(None)

    task = asyncio.ensure_future(others())
    await asyncio.sleep(0)
    yield had
    task.cancel()


class Records:
    """What a stream of Faust's reads from: a number at a time."""

    last = 0

    async def __anext__(self):
        self.last += 1
        return self.last


def stream():
    """Faust's own reading, with nothing behind it but numbers."""

    async def as_it_is(value):
        return value

    stub = MagicMock(channel=Records(), on_merge=as_it_is, _processors=[])
    stub.app.conf = faust.App("stub", store="memory://").conf
    return streams.StreamIterator(stub)


@pytest.mark.parametrize(("shared", "most"), [(False, 101), (True, 1)])
async def test_a_stream_hands_over_many_records_in_one_turn(turns, monkeypatch, shared, most):
    monkeypatch.setattr(streams, "sleep", asyncio.sleep)  # whatever was installed before
    monkeypatch.setattr(delivery, "TURN_SECONDS", 3600)
    if shared:
        delivery.install()
    reading, before = stream(), len(turns)
    assert [(await reading.next())[0] for _ in range(100)] == list(range(1, 101))
    assert most - 1 <= len(turns) - before <= most  # stock: one for each


async def test_others_have_their_turn_once_it_has_lasted(turns, monkeypatch):
    shared, had = Turns(), []
    for now in (100.0, 100.0, 100.0 + TURN_SECONDS / 2, 100.0 + TURN_SECONDS, 101.0, 101.0):
        monkeypatch.setattr(asyncio.get_running_loop(), "time", partial(float, now))
        before = len(turns)
        await shared.give_way(0)
        had.append(len(turns) > before)
    assert had == [True, False, False, True, True, False]
