import asyncio

import pytest

from streamapp.core.errors import Unavailable
from streamapp.wire.patience import FIRST_WAIT, LONGEST_WAIT, patiently
from tests.support.instant_clock import InstantClock

AWAY = Unavailable("The registry is away")


def failing(times, error=AWAY):
    left = times

    async def ask():
        nonlocal left
        if left:
            left -= 1
            raise error
        return "answer"

    return ask


async def test_an_answer_at_once_costs_no_wait(caplog):
    clock = InstantClock()
    assert await patiently(failing(0), clock) == "answer"
    assert clock.slept == []
    assert caplog.records == []


async def test_an_outage_is_waited_out_and_said_once(caplog):
    clock = InstantClock()
    assert await patiently(failing(20), clock) == "answer"
    assert [record.action for record in caplog.records] == ["wait_begins", "wait_ends"]
    assert "The registry is away" in caplog.text


async def test_the_waits_double_up_to_a_limit():
    clock = InstantClock()
    await patiently(failing(20), clock)
    assert clock.slept[:3] == [FIRST_WAIT, FIRST_WAIT * 2, FIRST_WAIT * 4]
    assert max(clock.slept) == clock.slept[-1] == LONGEST_WAIT


async def test_other_errors_are_not_waited_out():
    clock = InstantClock()
    with pytest.raises(ValueError):
        await patiently(failing(1, ValueError()), clock)
    assert clock.slept == []


async def test_waiting_can_be_cancelled():
    task = asyncio.ensure_future(patiently(failing(-1), InstantClock()))
    for _ in range(10):
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
