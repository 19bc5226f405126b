"""The producer on a real broker: who waits for a record that was refused is told, and nothing leaves after it."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from aiokafka.client import AIOKafkaClient
from aiokafka.errors import ProducerClosed
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource

from streamapp.clock import SystemClock
from streamapp.kafka.dispatches import new_app
from streamapp.kafka.transport import DurableApp
from streamapp.settings import Settings
from tests.support.installation import Installation
from tests.support.stack import Kafka
from tests.support.waiting import until

MIB = 2**20


@pytest.fixture
async def writing(install: Callable[..., Installation]) -> AsyncIterator[Callable[..., Any]]:
    """An app whose producer is running, and knows one topic."""
    apps = []

    async def start(installation: Installation) -> DurableApp:
        servers = installation.environment["STREAMAPP_BOOTSTRAP_SERVERS"]
        app = new_app(Settings(bootstrap_servers=servers, app_id=installation.name), SystemClock())
        app.written_topics = (installation.name,)
        await app.producer.maybe_start()
        apps.append(app)
        return app

    yield start
    for app in apps:
        await app.producer._producer.stop()


def let_it_take(bytes_: int, installation: Installation, kafka: Kafka) -> None:
    """Set the largest record that the topic takes."""
    admin = AdminClient(kafka.client)
    entry = ConfigEntry("max.message.bytes", str(bytes_), incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ConfigResource.Type.TOPIC, installation.name, incremental_configs=[entry])
    admin.incremental_alter_configs([resource])[resource].result(10)


async def send_after_a_refusal(installation: Installation, kafka: Kafka, app: DurableApp) -> asyncio.Future[Any]:
    """Send a record that the broker takes, wait until it has refused another one; answer a third."""
    let_it_take(200, installation, kafka)

    def send(size: int) -> asyncio.Future[Any]:
        return app.producer.post(installation.name, b"k", b"x" * size, partition=0)

    await send(1)
    refused = send(1000)
    await until(refused.done)
    assert refused.exception() is not None
    return send(1)


async def test_nothing_leaves_after_a_refused_record(
    install: Callable[..., Installation], kafka: Kafka, writing: Callable[..., Any]
) -> None:
    installation = await asyncio.to_thread(install, partitions=1)
    app = await writing(installation)
    left: list[BaseException] = []

    def leave(error: BaseException) -> None:
        left.append(error)
        raise error  # the real one does not return either

    app.leave = leave  # type: ignore[method-assign]
    after = await send_after_a_refusal(installation, kafka, app)
    await until(lambda: left or after.done())
    assert "MessageSizeTooLarge" in str(left), "it was sent"
    assert [record.value for record in installation.records()] == [b"x"]


async def test_a_record_that_the_client_refuses_is_told(
    install: Callable[..., Installation], writing: Callable[..., Any]
) -> None:
    installation = await asyncio.to_thread(install, partitions=1)
    app = await writing(installation)
    await app.producer._producer._message_accumulator.close()
    refused = app.producer.post(installation.name, b"k", b"x", partition=0)
    assert isinstance(refused.exception(), ProducerClosed)
    assert app.producer.failed is not None, "others would leave after it"


async def test_a_record_may_be_as_large_as_its_topic_takes(
    install: Callable[..., Installation], kafka: Kafka, writing: Callable[..., Any]
) -> None:
    """A dead letter holds what came in; the client's own bound would stop one worker after the other at it."""
    installation = await asyncio.to_thread(install, partitions=1)
    let_it_take(20 * MIB, installation, kafka)
    app = await writing(installation)
    assert (await app.producer.post(installation.name, b"k", b"x" * 19 * MIB, partition=0)).offset == 0


async def test_large_records_of_many_partitions_are_not_one_request(
    install: Callable[..., Installation], kafka: Kafka, writing: Callable[..., Any]
) -> None:
    """The broker would close the connection at it, again and again."""
    installation = await asyncio.to_thread(install, partitions=12)
    let_it_take(20 * MIB, installation, kafka)
    await asyncio.sleep(2)  # a partition that has only just begun may not know yet how much it takes
    app = await writing(installation)
    value = b"x" * 10 * MIB
    sent = [app.producer.post(installation.name, b"k", value, partition=number) for number in range(12)]
    try:
        async with asyncio.timeout(60):
            assert [(await future).offset for future in sent] == [0] * 12
    except TimeoutError:
        app.producer._producer._sender.sender_task.cancel()  # it would try for ever
        raise


async def test_records_leave_in_order_however_many_are_sent_at_once(
    install: Callable[..., Installation], writing: Callable[..., Any]
) -> None:
    """They fill a hundred of the client's batches, and nobody waits for room."""
    installation = await asyncio.to_thread(install, partitions=1)
    app = await writing(installation)
    values = [b"%d" % number + b"x" * 2000 for number in range(1000)]
    sent = [app.producer.post(installation.name, b"k", value, partition=0) for value in values]
    assert [(await future).offset for future in sent] == list(range(1000))
    assert [record.value for record in installation.records()] == values


async def test_what_is_written_to_stays_known(
    install: Callable[..., Installation], writing: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client that has seen all topics has been told of none: of one more, it would forget all others."""
    stock = AIOKafkaClient.bootstrap

    async def bootstrap(client: AIOKafkaClient) -> None:
        await stock(client)
        await client.force_metadata_update()

    monkeypatch.setattr(AIOKafkaClient, "bootstrap", bootstrap)
    installation = await asyncio.to_thread(install, partitions=1)
    app = await writing(installation)
    client = app.producer._producer.client
    await client.add_topic("another")
    assert (await app.producer.post(installation.name, b"k", b"x", partition=0)).offset == 0


async def test_a_record_without_a_partition_goes_where_its_key_belongs(
    install: Callable[..., Installation], writing: Callable[..., Any]
) -> None:
    """As Java clients would put it; without key and value, too, as the dead letter of such a record is."""
    installation = await asyncio.to_thread(install, partitions=4)
    app = await writing(installation)
    keyed = [await app.producer.post(installation.name, key, b"x") for key in (b"a", b"b", b"c", b"d", b"a")]
    assert [sent.partition for sent in keyed] == [0, 0, 2, 1, 0]
    assert (await app.producer.post(installation.name, None, None)).partition in range(4)
