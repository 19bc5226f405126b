import asyncio
import threading
from types import SimpleNamespace

import pytest
from aiokafka.errors import KafkaConnectionError
from faust.transport.drivers import aiokafka as driver

from streamapp.kafka.one_loop import OneLoopThread
from tests.support.tasks import tasks_made


class Client:
    """What a consumer of Kafka is to its thread."""

    def __init__(self, error=None):
        self.error = error
        self.threads = []
        self.stopped = False

    async def start(self):
        self.threads.append(threading.current_thread())
        if self.error is not None:
            raise self.error

    async def stop(self):
        self.threads.append(threading.current_thread())
        self.stopped = True


def with_client(kind):
    class WithClient(kind):
        abstract = False

        def __init__(self, client):
            self._client = client
            conf = SimpleNamespace(
                producer_partitioner=None, stream_processing_timeout=1, broker_commit_livelock_soft_timeout=1
            )
            app = SimpleNamespace(conf=conf)
            consumer = SimpleNamespace(app=app, transport=SimpleNamespace(app=app), RebalanceListener=lambda _: None)
            super().__init__(consumer, loop=asyncio.get_running_loop())

        def _create_consumer(self, loop):
            return self._client

    return WithClient


OneLoop, Stock = with_client(OneLoopThread), with_client(driver.AIOKafkaConsumerThread)


async def double(number):
    await asyncio.sleep(0)
    return 2 * number


async def fail():
    raise LookupError("nothing there")


async def test_the_client_starts_and_stops_in_the_thread_of_everything_else():
    client = Client()
    thread = OneLoop(client)
    await thread.start()
    await asyncio.wait_for(thread.stop(), 10)
    assert client.threads == [threading.current_thread()] * 2
    assert client.stopped


async def test_stock_starts_it_in_another():
    client = Client()
    thread = Stock(client)
    await thread.start()
    await asyncio.wait_for(thread.stop(), 10)
    assert threading.current_thread() not in client.threads


async def test_what_keeps_the_client_from_starting_is_told():
    thread = OneLoop(Client(KafkaConnectionError("no broker")))
    with pytest.raises(KafkaConnectionError):
        await asyncio.wait_for(thread.start(), 10)


async def test_stopping_leaves_the_tasks_of_others_alone():
    thread, other = OneLoop(Client()), asyncio.ensure_future(asyncio.Event().wait())
    await thread.start()
    await asyncio.wait_for(thread.stop(), 10)
    await asyncio.sleep(0)
    assert not other.done()
    other.cancel()


async def test_a_call_is_answered_without_tasks():
    thread = OneLoop(Client())
    with tasks_made() as made:
        assert await thread.call_thread(double, 2) == 4
        assert await thread.call_thread(max, 1, 2) == 2, "some of what is called is no coroutine"
    assert made == []


async def test_an_error_goes_to_who_called():
    with pytest.raises(LookupError):
        await OneLoop(Client()).call_thread(fail)


async def test_a_slow_call_does_not_hold_up_the_next():
    thread, go_on = OneLoop(Client()), asyncio.Event()
    slow = asyncio.ensure_future(thread.call_thread(go_on.wait))
    await asyncio.sleep(0)
    assert await thread.call_thread(double, 1) == 2
    assert not slow.done()
    go_on.set()
    assert await slow
