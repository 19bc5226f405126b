"""The producer: hands records to Kafka's client at once and in order, and remembers the first failure.

Stock Faust queues each record for a task of its own, which waits while a batch is full, and answers with a second
future (docs/benchmarks/speed.md). It logs a failed send and goes on with the next, and leaves the sender waiting for
ever when the client refuses a record at once. That nothing leaves after a failure is seen to at the last step, in
`lease`. How large a record may be, its topic says: the client's own bound is left out.
"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from aiokafka import TopicPartition
from aiokafka.errors import KafkaError, ProducerClosed
from faust.transport.drivers import aiokafka as driver

from streamapp.kafka import metadata
from streamapp.wire.headers import Headers

Acknowledgement = asyncio.Future[Any]
"""What the broker says of a record: its `offset`, or why it was not taken."""


REQUEST_BYTES = 32 * 2**20
"""Of one request. A broker closes the connection at more than its `socket.request.max.bytes`, 100 MiB by default."""


class StrictProducer(driver.Producer):  # type: ignore[misc]
    """Idempotent, acknowledged by all replicas in sync."""

    failed: BaseException | None = None

    async def on_start(self) -> None:
        """Get to know the topics that are written to, and keep knowing them: no record waits for that."""
        await super().on_start()
        client = self._producer.client
        metadata.pace(client, self.app.clock)
        client.set_topics(self.app.written_topics)
        bound_requests(self._producer._message_accumulator)  # noqa: SLF001
        self._partitions: dict[str, Sequence[int]] = {
            topic: sorted(await client._wait_on_metadata(topic))  # noqa: SLF001
            for topic in self.app.written_topics
        }

    def post(
        self, topic: str, key: bytes | None, value: bytes | None, headers: Headers = (), partition: int | None = None
    ) -> Acknowledgement:
        """Put a record behind those that went before. Who posts bounds how many wait, and how large one is.

        Args:
            topic: One of the app's `written_topics`.
            key: Of the record.
            value: Of the record.
            headers: Of the record.
            partition: None: the one that the key belongs to.
        """
        producer: Any = self._producer
        if partition is None:
            partitions = self._partitions[topic]
            partition = producer._partitioner(key, partitions, partitions)  # noqa: SLF001
        try:
            return self._append(producer._message_accumulator, TopicPartition(topic, partition), key, value, headers)  # noqa: SLF001
        except KafkaError as error:
            refused: Acknowledgement = asyncio.get_running_loop().create_future()
            refused.set_exception(error)
            self._note(refused)
            return refused

    def _append(
        self, batches: Any, tp: TopicPartition, key: bytes | None, value: bytes | None, headers: Headers
    ) -> Acknowledgement:
        if batches._closed or batches._exception is not None:  # noqa: SLF001 - nobody would send it any more
            raise batches._exception or ProducerClosed()  # noqa: SLF001
        headers = list(headers)  # the client's C code takes nothing else
        waiting = batches._batches.get(tp)  # noqa: SLF001
        acknowledged = None
        if waiting:
            acknowledged = waiting[-1].append(key, value, None, headers=headers)
        if acknowledged is None:  # no batch, or a full one: the client sends them one after another
            batch = batches._append_batch(batches.create_builder(), tp)  # noqa: SLF001
            batch.future.add_done_callback(self._note)
            acknowledged = batch.append(key, value, None, headers=headers)
        return acknowledged  # type: ignore[no-any-return]

    async def flush(self) -> None:
        """Nothing to do: whoever gives partitions up has waited for what followed from events, and for reports."""

    def _note(self, answered: Acknowledgement) -> None:
        error = None if answered.cancelled() else answered.exception()
        if error is not None and self.failed is None:
            self.failed = error

    def _settings_extra(self) -> Mapping[str, Any]:
        return {**super()._settings_extra(), "acks": "all", "enable_idempotence": True}


def bound_requests(batches: Any, most: int = REQUEST_BYTES) -> None:
    """Have a request to a broker take no more than so many bytes, unless its first batch alone has more.

    The client takes a batch of each partition, however large. What is left waits for the answer, as it would anyway.
    """
    stock = batches.drain_by_nodes

    def drain(ignore_nodes: Any, muted_partitions: Any = frozenset()) -> Any:
        sizes: dict[Any, int] = {}
        left = set(muted_partitions)
        for tp, waiting in batches._batches.items():  # noqa: SLF001
            if tp in muted_partitions:
                continue
            leader = batches._cluster.leader_for_partition(tp)  # noqa: SLF001
            size = sizes.get(leader, 0) + waiting[0]._builder.size()  # noqa: SLF001
            if leader in sizes and size > most:
                left.add(tp)
            else:
                sizes[leader] = size
        return stock(ignore_nodes=ignore_nodes, muted_partitions=left)

    batches.drain_by_nodes = drain
