"""The producer on a real broker: who waits for a record that was refused is told, and nothing leaves after it."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource

from streamapp.clock import SystemClock
from streamapp.kafka.dispatches import MAX_REQUEST_BYTES, new_app, new_topic
from streamapp.settings import Settings
from tests.support.installation import Installation
from tests.support.stack import Kafka
from tests.support.waiting import until


@pytest.fixture
async def topics(install: Callable[..., Installation]) -> AsyncIterator[Callable[..., Any]]:
    """A topic whose producer is running."""
    apps = []

    async def topic(installation: Installation) -> Any:
        servers = installation.environment["STREAMAPP_BOOTSTRAP_SERVERS"]
        app = new_app(Settings(bootstrap_servers=servers, app_id=installation.name), SystemClock())
        await app.producer.maybe_start()
        apps.append(app)
        return new_topic(app, installation.name)

    yield topic
    for app in apps:
        await app.producer._producer.stop()


async def send_after_a_refusal(installation: Installation, kafka: Kafka, topic: Any) -> asyncio.Future[Any]:
    """Send a record that the broker takes, wait until it has refused another one; answer a third."""
    admin = AdminClient(kafka.client)
    entry = ConfigEntry("max.message.bytes", "200", incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ConfigResource.Type.TOPIC, installation.name, incremental_configs=[entry])
    admin.incremental_alter_configs([resource])[resource].result(10)

    def send(size: int) -> asyncio.Future[Any]:
        future: asyncio.Future[Any] = topic.send_soon(key=b"k", value=b"x" * size, partition=0)
        return future

    await send(1)
    refused = send(1000)
    await until(refused.done)
    assert refused.exception() is not None
    return send(1)


async def test_nothing_leaves_after_a_refused_record(
    install: Callable[..., Installation], kafka: Kafka, topics: Callable[..., Any]
) -> None:
    installation = await asyncio.to_thread(install, partitions=1)
    topic = await topics(installation)
    left: list[BaseException] = []

    def leave(error: BaseException) -> None:
        left.append(error)
        raise error  # the real one does not return either

    topic.app.leave = leave
    after = await send_after_a_refusal(installation, kafka, topic)
    await until(lambda: left or after.done())
    assert "MessageSizeTooLarge" in str(left), "it was sent"
    assert [record.value for record in installation.records()] == [b"x"]


async def test_a_record_that_the_client_refuses_is_told(
    install: Callable[..., Installation], topics: Callable[..., Any]
) -> None:
    topic = await topics(await asyncio.to_thread(install, partitions=1))
    refused = topic.send_soon(key=b"k", value=b"x" * 2 * MAX_REQUEST_BYTES, partition=0)
    await until(refused.done)
    assert refused.exception() is not None


async def test_records_that_are_sent_together_go_on_together(
    install: Callable[..., Installation], topics: Callable[..., Any]
) -> None:
    """Stock Faust lets three turns of the loop go by for each."""
    topic = await topics(await asyncio.to_thread(install, partitions=1))
    await topic.send_soon(key=b"k", value=b"the topic is known from here on", partition=0)
    sent = [topic.send_soon(key=b"k", value=b"%d" % number, partition=0) for number in range(100)]
    turns = 0
    while topic.app.producer.buffer.size:
        await asyncio.sleep(0)
        turns += 1
    assert turns <= 3
    assert [(await future).offset for future in sent] == list(range(1, 101))
