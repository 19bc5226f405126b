import asyncio
from contextlib import asynccontextmanager

import pytest
from mode.threads import MethodQueue

from streamapp.kafka.calls import Calls
from tests.support.tasks import tasks_made


@asynccontextmanager
async def started(kind):
    calls = kind(loop=asyncio.get_running_loop())
    await calls.start()
    try:
        yield lambda function, *arguments: call(calls, function, *arguments)
    finally:
        await calls.stop()


async def call(calls, function, *arguments):
    promise = await calls.call(asyncio.get_running_loop().create_future(), function, *arguments)
    return await asyncio.wait_for(promise, 10)


async def double(number):
    await asyncio.sleep(0)
    return 2 * number


async def fail():
    raise LookupError("nothing there")


async def test_calls_are_answered_in_order():
    async with started(Calls) as ask:
        assert [await ask(double, number) for number in range(5)] == [0, 2, 4, 6, 8]


async def test_an_error_goes_to_who_called():
    async with started(Calls) as ask:
        with pytest.raises(LookupError):
            await ask(fail)
        assert await ask(double, 1) == 2, "the others go on"


async def test_a_slow_call_does_not_hold_up_the_next():
    """Two at a time, as stock has it: a fetch that waits must not keep a commit waiting."""
    go_on = asyncio.Event()
    async with started(Calls) as ask:
        slow = asyncio.ensure_future(ask(go_on.wait))
        await asyncio.sleep(0)
        assert await ask(double, 1) == 2
        assert not slow.done()
        go_on.set()
        assert await slow


async def test_a_call_makes_no_tasks():
    assert await made_by(Calls) == []


async def test_stock_makes_three_for_each():
    made = await made_by(MethodQueue)
    assert len([name for name in made if name == "Event.wait"]) >= 3


async def made_by(kind):
    """What is made for one call, once the first has gone through."""
    async with started(kind) as ask:
        await ask(double, 0)
        with tasks_made() as made:
            await ask(double, 1)
    return made


async def test_it_ends_with_nothing_to_do():
    calls = Calls(loop=asyncio.get_running_loop())
    await calls.start()
    await asyncio.wait_for(calls.stop(), 10)
