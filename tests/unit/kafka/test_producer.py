"""What becomes of a record that is posted, in the real client's batches, without a broker."""

import asyncio
from types import SimpleNamespace

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import MessageSizeTooLargeError, ProducerClosed
from aiokafka.producer.message_accumulator import MessageAccumulator
from faust.transport.drivers import aiokafka as driver

from streamapp.clock import SystemClock
from streamapp.kafka.dispatches import new_app
from streamapp.kafka.producer import REQUEST_BYTES, StrictProducer, bound_requests
from streamapp.settings import Settings

BATCH_BYTES = 1000
TOPIC = "results"


class Cluster:
    """Who leads a partition: one of two brokers, in turn."""

    def leader_for_partition(self, tp):
        return tp.partition % 2


class Client:
    """Kafka's client, which knows how many partitions each topic has."""

    def __init__(self):
        self.kept = []

    def set_topics(self, topics):
        self.kept += topics

    async def _wait_on_metadata(self, topic):
        return {2, 0, 1}

    async def _metadata_update(self, cluster, topics):
        pass


@pytest.fixture
async def batches():
    return MessageAccumulator(Cluster(), BATCH_BYTES, 0, 60.0)


@pytest.fixture
async def producer(batches, monkeypatch):
    async def started(_):
        pass

    monkeypatch.setattr(driver.Producer, "on_start", started)
    producer = object.__new__(StrictProducer)
    producer.app = SimpleNamespace(written_topics=(TOPIC,), clock=SystemClock())
    producer._producer = SimpleNamespace(
        client=Client(), _message_accumulator=batches, _partitioner=lambda key, all_, available: all_[len(key)]
    )
    await producer.on_start()
    return producer


def waiting(batches, partition=0):
    """How many records each of the batches of a partition has."""
    return [batch.record_count for batch in batches._batches.get(TopicPartition(TOPIC, partition), ())]


async def test_what_is_written_to_stays_known(producer):
    """A record would wait for it, and one that was posted later could leave before."""
    assert producer._producer.client.kept == [TOPIC]


async def test_records_go_into_one_batch_at_once_and_into_the_next_where_it_is_full(producer, batches):
    sent = [producer.post(TOPIC, b"k", b"x" * 100, partition=0) for _ in range(12)]
    assert [count > 1 for count in waiting(batches)] == [True, True]
    assert sum(waiting(batches)) == 12
    for batch in batches._batches[TopicPartition(TOPIC, 0)]:
        batch.done(base_offset=0)
    assert [future.result().offset for future in sent] == [*range(waiting(batches)[0]), *range(waiting(batches)[1])]


async def test_a_record_goes_where_its_key_belongs_unless_that_is_told(producer, batches):
    """The order of partitions is that of their numbers for all producers."""
    producer.post(TOPIC, b"k", b"x")
    producer.post(TOPIC, b"", b"x", partition=2)
    assert [waiting(batches, number) for number in range(3)] == [[], [1], [1]]


async def test_headers_may_come_as_any_sequence(producer, batches):
    producer.post(TOPIC, b"k", b"x", (("traceparent", b"1"),), partition=0)
    assert waiting(batches) == [1]


@pytest.mark.parametrize("why", [None, MessageSizeTooLargeError()])
async def test_after_its_end_the_client_takes_no_record_and_who_waits_is_told(producer, batches, why):
    """It would wait for ever for one that nobody sends any more."""
    if why is None:
        await batches.close()
    else:
        batches.fail_all(why)
    refused = producer.post(TOPIC, b"k", b"x", partition=0)
    assert type(refused.exception()) is (ProducerClosed if why is None else type(why))
    assert producer.failed is refused.exception(), "others would leave after it"
    assert waiting(batches) == []


async def test_the_first_batch_that_fails_is_remembered(producer, batches):
    first, second = (producer.post(TOPIC, b"k", b"x", partition=number) for number in (0, 1))
    assert producer.failed is None
    errors = [MessageSizeTooLargeError("first"), MessageSizeTooLargeError("second")]
    for number, (sent, error) in enumerate(zip((first, second), errors, strict=True)):
        batches._batches[TopicPartition(TOPIC, number)][0].failure(error)
        await asyncio.sleep(0)
        assert str(sent.exception()) == str(error)
    assert producer.failed is errors[0]


async def test_a_batch_that_arrives_or_that_nobody_waits_for_any_more_is_no_failure(producer, batches):
    producer.post(TOPIC, b"k", b"x", partition=0)
    producer.post(TOPIC, b"k", b"x", partition=1)
    batches._batches[TopicPartition(TOPIC, 0)][0].done(base_offset=0)
    batches._batches[TopicPartition(TOPIC, 1)][0].future.cancel()
    await asyncio.sleep(0)
    assert producer.failed is None


async def test_all_replicas_acknowledge_and_nothing_is_written_twice(tmp_path):
    app = new_app(Settings(), SystemClock(), datadir=tmp_path)
    settings = app.producer._settings_extra()
    assert (settings["acks"], settings["enable_idempotence"]) == ("all", True)


# Requests


def drained(batches, most, muted=frozenset()):
    """The partitions of each request that leaves."""
    bound_requests(batches, most)
    nodes, _ = batches.drain_by_nodes(ignore_nodes=(), muted_partitions=muted)
    return {node: sorted(tp.partition for tp in taken) for node, taken in nodes.items()}


@pytest.fixture
async def large(producer, batches):
    """A record of about 500 bytes for each of six partitions, of two brokers."""
    for number in range(6):
        producer.post(TOPIC, b"k", b"x" * 500, partition=number)
    return batches


async def test_requests_are_bounded_once_the_producer_has_started(producer, batches):
    """A broker closes the connection at a larger one, and the client sends the same again."""
    value = b"x" * (REQUEST_BYTES // 3 + 1)
    for number in (0, 2, 4):
        producer.post(TOPIC, b"k", value, partition=number)
    nodes, _ = batches.drain_by_nodes(ignore_nodes=())
    assert [len(taken) for taken in nodes.values()] == [2]


async def test_of_each_broker_a_request_takes_what_fits(large):
    size = large._batches[TopicPartition(TOPIC, 0)][0]._builder.size()
    assert drained(large, 2 * size) == {0: [0, 2], 1: [1, 3]}
    assert drained(large, 2 * size) == {0: [4], 1: [5]}


async def test_a_request_takes_one_batch_however_large(large):
    assert drained(large, 1) == {0: [0], 1: [1]}


async def test_batches_that_do_not_leave_take_no_room(large):
    """Of a partition whose last request is not answered yet."""
    size = large._batches[TopicPartition(TOPIC, 0)][0]._builder.size()
    assert drained(large, size, muted={TopicPartition(TOPIC, 0)}) == {0: [2], 1: [1]}
