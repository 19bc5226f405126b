"""How often a client asks who leads partitions."""

import asyncio
from contextlib import suppress
from datetime import timedelta

import pytest
from aiokafka.client import AIOKafkaClient

from streamapp.clock import SystemClock
from streamapp.kafka import metadata
from streamapp.kafka.metadata import PAUSE, pace
from tests.support.manual_clock import ManualClock

MILLISECOND = timedelta(milliseconds=1)


class Client:
    """A client that notes which topics it has asked for."""

    def __init__(self):
        self.asked = []

    async def _metadata_update(self, cluster, topics):
        self.asked.append(topics)
        return "told"


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture
def client(clock):
    client = Client()
    pace(client, clock)
    return client


async def turns():
    for _ in range(5):
        await asyncio.sleep(0)


async def test_the_first_question_is_asked_at_once(client):
    assert await client._metadata_update("cluster", {"commands"}) == "told"
    assert client.asked == [{"commands"}]


async def test_the_next_question_waits_for_the_end_of_the_pause(client, clock):
    await client._metadata_update("cluster", {"commands"})
    clock.advance(PAUSE - MILLISECOND)
    again = asyncio.create_task(client._metadata_update("cluster", {"commands"}))
    await turns()
    assert len(client.asked) == 1
    clock.advance(MILLISECOND)
    await again
    assert len(client.asked) == 2
    clock.advance(PAUSE)
    await client._metadata_update("cluster", {"commands"})
    assert clock.sleeping == 0


async def test_other_topics_are_asked_for_at_once(client):
    await client._metadata_update("cluster", {"commands"})
    await client._metadata_update("cluster", {"commands", "results"})
    await client._metadata_update("cluster", None)
    assert client.asked == [{"commands"}, {"commands", "results"}, None]


async def test_after_an_error_there_is_a_pause_too(client, clock):
    client = Client()

    async def broken(*_):
        client.asked.append("broken")
        raise OSError

    client._metadata_update = broken
    pace(client, clock)
    with suppress(OSError):
        await client._metadata_update("cluster", {"commands"})
    again = asyncio.create_task(client._metadata_update("cluster", {"commands"}))
    await turns()
    assert client.asked == ["broken"]
    again.cancel()


@pytest.mark.parametrize(("pause", "fewest", "most"), [(PAUSE, 1, 8), (timedelta(0), 50, 10**6)])
async def test_kafkas_client_keeps_to_it_where_no_broker_answers(monkeypatch, pause, fewest, most):
    """Without a pause it asks as often as it can: what this is for."""
    monkeypatch.setattr(metadata, "PAUSE", pause)
    client = AIOKafkaClient(bootstrap_servers="127.0.0.1:1")
    pace(client, SystemClock())
    asked = 0
    synchronizer = asyncio.create_task(client._md_synchronizer())
    with suppress(TimeoutError):
        async with asyncio.timeout(0.5):
            while True:
                assert not await client.force_metadata_update()
                asked += 1
    synchronizer.cancel()
    assert fewest <= asked <= most
