import asyncio
from collections import deque

import pytest

from streamapp.clock import SystemClock
from streamapp.kafka.channel import PullChannel
from streamapp.kafka.dispatches import new_app
from streamapp.settings import Settings


@pytest.fixture
def app():
    return new_app(Settings(), SystemClock())


@pytest.fixture
def index():
    return deque(["one", "two", "three"])


@pytest.fixture
def channel(app, index):
    return PullChannel(app, available=lambda: bool(index), take=index.popleft)


def rebalance(app):
    app.flow_control.suspend()
    app.flow_control.clear()
    app.flow_control.resume()


async def test_a_rebalance_wipes_nothing(app, channel):
    rebalance(app)
    assert await channel.queue.get() == "one"


async def test_stock_wipes_its_channels(app):
    channel = app.channel()
    app.flow_control.resume()
    await channel.queue.put("one")
    rebalance(app)
    assert channel.queue.empty()


async def test_an_item_leaves_the_index_only_when_somebody_takes_it(channel, index):
    await asyncio.sleep(0)
    assert len(index) == 3
    await channel.queue.get()
    assert len(index) == 2


async def test_all_actors_share_what_there_is(channel, index):
    actors = [channel.clone(is_iterator=True) for _ in range(4)]
    index.clear()
    waiting = [asyncio.ensure_future(actor.queue.get()) for actor in actors]
    await asyncio.sleep(0)
    index.extend(["four", "five"])
    channel.wake()  # said once: whoever takes one wakes the next
    done, still = await asyncio.wait(waiting, timeout=1)
    assert sorted(future.result() for future in done) == ["five", "four"]
    for future in still:
        future.cancel()
