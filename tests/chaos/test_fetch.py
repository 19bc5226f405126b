"""The consumer's thread on a real broker: what is fetched, what is put back, where reading starts."""

import asyncio
from collections.abc import AsyncIterator, Callable
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from faust.transport.drivers.aiokafka import AIOKafkaConsumerThread

from streamapp.clock import SystemClock
from streamapp.kafka.fetch import FetchThread
from streamapp.kafka.gaps import Gaps
from streamapp.kafka.intake import Intake
from streamapp.kafka.recreated import Originals
from streamapp.kafka.seek import SeekThread
from tests.support.stack import Kafka

POLL_SECONDS = 1.0


class Bench:
    """A thread of Faust's, without its thread, around a real client."""

    def __init__(self, consumer: AIOKafkaConsumer, prefix: str) -> None:
        self.consumer = consumer
        self.commands, self.changelog = (
            TopicPartition(f"{prefix}-commands", 0),
            TopicPartition(f"{prefix}-changelog", 0),
        )
        self.results = TopicPartition(f"{prefix}-results", 0)
        recovery = SimpleNamespace(in_recovery=False, active_offsets={})
        tables = SimpleNamespace(changelog_topics={self.changelog.topic}, recovery=recovery)
        self.app = SimpleNamespace(
            commands_topic=self.commands.topic,
            originals=Originals(
                SystemClock(),
                commands=self.commands.topic,
                results=self.results.topic,
                control=self.results.topic,
                changelog=self.changelog.topic,
                group="app",
            ),
            add_future=asyncio.ensure_future,
            consumer_generation_id=1,
            gaps=Gaps(),
            restoring=Gaps(),
            intake=Intake(),
            tables=tables,
            left=[],
        )
        self.app.leave = self.app.left.append
        self.faust = SimpleNamespace(flow_active=True)

    def thread(self, kind: type[AIOKafkaConsumerThread]) -> Any:
        thread = kind.__new__(kind)
        thread.app, thread.consumer, thread._consumer = self.app, self.faust, self.consumer
        return thread

    async def position(self, tp: TopicPartition) -> int:
        return int(await self.consumer.position(tp))


@pytest.fixture
async def bench(kafka: Kafka, request: pytest.FixtureRequest) -> AsyncIterator[Bench]:
    prefix = f"fetch-{abs(hash(request.node.name))}"
    names = [f"{prefix}-{end}" for end in ("commands", "results", "changelog")]
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap_servers)
    await admin.start()
    await admin.create_topics([NewTopic(name, 1, 1) for name in names])
    await admin.close()
    consumer = AIOKafkaConsumer(
        bootstrap_servers=kafka.bootstrap_servers,
        group_id=prefix,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        fetch_max_wait_ms=50,
        max_partition_fetch_bytes=4096,
        isolation_level="read_committed",
    )
    await consumer.start()
    bench = Bench(consumer, prefix)
    consumer.assign([bench.commands, bench.results, bench.changelog])
    await consumer.seek_to_beginning(*consumer.assignment())
    yield bench
    await consumer.stop()


@pytest.fixture
async def write(kafka: Kafka) -> AsyncIterator[Callable[..., Any]]:
    producer = AIOKafkaProducer(bootstrap_servers=kafka.bootstrap_servers)
    await producer.start()

    async def write(tp: TopicPartition, count: int, size: int = 10) -> None:
        for future in [await producer.send(tp.topic, b"x" * size, partition=0) for _ in range(count)]:
            await future

    yield write
    await producer.stop()


# How long the broker may wait while there is nothing to read


async def waits_ms(bench: Bench, *, restoring: bool) -> set[int]:
    """How long the broker may wait, as each fetch says."""
    bench.app.tables.recovery.in_recovery = restoring
    thread, fetcher = bench.thread(FetchThread), bench.consumer._fetcher
    await thread._fetch_records(bench.consumer, {bench.commands, bench.results}, POLL_SECONDS, 10)
    waits, stock = set(), fetcher._proc_fetch_request

    async def look(assignment: Any, node: int, request: Any) -> Any:
        waits.add(request._max_wait_ms)
        return await stock(assignment, node, request)

    fetcher._proc_fetch_request = look
    await thread._fetch_records(bench.consumer, {bench.commands, bench.results}, POLL_SECONDS, 10)
    return waits


async def test_an_idle_worker_asks_five_times_a_second(bench: Bench) -> None:
    assert await waits_ms(bench, restoring=False) == {200}


async def test_one_that_restores_its_table_asks_again_soon(bench: Bench) -> None:
    assert await waits_ms(bench, restoring=True) == {50}


# An empty set means "all partitions" to the client


async def test_nobody_asked_for_nothing_is_fetched(bench: Bench, write: Callable[..., Any]) -> None:
    await write(bench.changelog, 3)
    assert await bench.thread(FetchThread)._fetch_records(bench.consumer, set(), POLL_SECONDS, 10) == {}
    assert await bench.position(bench.changelog) == 0


async def test_stock_drains_what_nobody_asked_for(bench: Bench, write: Callable[..., Any]) -> None:
    await write(bench.changelog, 3)
    fetched = await bench.thread(AIOKafkaConsumerThread)._fetch_records(bench.consumer, set(), POLL_SECONDS, 10)
    assert bench.changelog in fetched


async def empty_the_live_set_meanwhile(
    bench: Bench, write: Callable[..., Any], kind: type[AIOKafkaConsumerThread]
) -> None:
    """A rebalance empties Faust's set while a fetch waits; then recovery's records arrive."""
    live = {bench.commands}
    fetching = asyncio.create_task(bench.thread(kind)._fetch_records(bench.consumer, live, 3 * POLL_SECONDS, 10))
    await asyncio.sleep(0)  # the fetch has begun
    live.clear()
    bench.app.consumer_generation_id = 2
    await write(bench.changelog, 3)
    await write(bench.commands, 3)
    await fetching


async def test_a_fetch_that_outlives_its_generation_takes_nothing_away(bench: Bench, write: Callable[..., Any]) -> None:
    await empty_the_live_set_meanwhile(bench, write, FetchThread)
    assert await bench.position(bench.changelog) == 0
    assert await bench.position(bench.commands) == 0


async def test_stock_takes_them_away(bench: Bench, write: Callable[..., Any]) -> None:
    await empty_the_live_set_meanwhile(bench, write, AIOKafkaConsumerThread)
    assert (await bench.position(bench.changelog), await bench.position(bench.commands)) != (0, 0)


async def go_elsewhere_meanwhile(bench: Bench, write: Callable[..., Any]) -> None:
    """Results are taken; while commands are waited for, a new generation sends reading to the results' beginning."""
    await write(bench.results, 4)
    bench.consumer.seek(bench.results, 2)
    await buffered(bench, bench.results, bench.changelog)
    thread = bench.thread(FetchThread)
    stock = thread._fetch_first_things_first

    async def fetch_then_rebalance(*args: Any) -> Any:
        fetched = await stock(*args)
        bench.app.consumer_generation_id = 2
        bench.consumer.seek(bench.results, 0)
        return fetched

    thread._fetch_first_things_first = fetch_then_rebalance
    await thread._fetch_records(bench.consumer, {bench.commands, bench.results}, POLL_SECONDS, 10)


async def test_what_is_put_back_does_not_leap_over_what_is_to_be_read(bench: Bench, write: Callable[..., Any]) -> None:
    await go_elsewhere_meanwhile(bench, write)
    assert await bench.position(bench.results) == 0


async def test_records_that_a_marker_follows_are_put_back(bench: Bench, kafka: Kafka) -> None:
    """Commands are held while a fetch waits; then a transaction's come, and behind them its marker."""
    bench.app.gaps.start({bench.commands: 0}, {})
    live = {bench.commands}
    thread = bench.thread(FetchThread)
    fetching = asyncio.create_task(thread._fetch_records(bench.consumer, live, 10 * POLL_SECONDS, 10))
    await asyncio.sleep(0)  # the fetch has begun
    live.clear()
    async with AIOKafkaProducer(
        bootstrap_servers=kafka.bootstrap_servers, transactional_id=bench.commands.topic
    ) as producer:
        for _ in range(2):
            async with producer.transaction():
                await producer.send(bench.commands.topic, b"x", partition=0)
        assert await fetching == {}
    assert await bench.position(bench.commands) == 0
    fetched = await thread._fetch_records(bench.consumer, {bench.commands}, 10 * POLL_SECONDS, 10)
    assert bench.app.gaps.expects(bench.commands, fetched[bench.commands][0].offset)
    assert bench.app.gaps.skipped == 0


# Results and control come first


async def first_batch(
    bench: Bench, write: Callable[..., Any], kind: type[AIOKafkaConsumerThread], backlog: TopicPartition
) -> dict[TopicPartition, Any]:
    """Two results stand behind a backlog, all of it in the client's hands."""
    idle = bench.commands if backlog == bench.changelog else bench.changelog
    await write(backlog, 50, size=100)
    await buffered(bench, backlog, idle)
    await write(bench.results, 2)
    await buffered(bench, bench.results, idle)
    wanted = {backlog, bench.results}
    fetched: dict[TopicPartition, Any] = await bench.thread(kind)._fetch_records(
        bench.consumer, wanted, POLL_SECONDS, 10
    )
    return fetched


async def buffered(bench: Bench, tp: TopicPartition, idle: TopicPartition) -> None:
    """Wait until the client has records of a partition that nobody has asked for yet; an idle one has none."""
    async with asyncio.timeout(20):
        while tp not in bench.consumer._fetcher._records:
            await bench.consumer.getmany(idle, timeout_ms=20)  # lets the client fetch for all


async def test_results_come_before_a_backlog_of_commands(bench: Bench, write: Callable[..., Any]) -> None:
    fetched = await first_batch(bench, write, FetchThread, bench.commands)
    assert len(fetched[bench.results]) == 2
    assert len(fetched[bench.commands]) == 8


async def test_results_come_before_what_a_standby_is_behind(bench: Bench, write: Callable[..., Any]) -> None:
    fetched = await first_batch(bench, write, FetchThread, bench.changelog)
    assert len(fetched[bench.results]) == 2
    assert len(fetched[bench.changelog]) == 8


async def test_stock_leaves_results_behind_the_backlog(bench: Bench, write: Callable[..., Any]) -> None:
    fetched = await first_batch(bench, write, AIOKafkaConsumerThread, bench.commands)
    assert bench.results not in fetched
    assert len(fetched[bench.commands]) == 10


# Where reading starts


@pytest.mark.parametrize("committed", [None, 0, 2])
async def test_reading_starts_where_it_was_committed(
    bench: Bench, write: Callable[..., Any], committed: int | None
) -> None:
    await write(bench.commands, 5)
    if committed is not None:
        await bench.consumer.commit({bench.commands: committed})
    await bench.consumer.getmany(bench.commands, timeout_ms=5000)  # what a rebalance drops
    assert await bench.position(bench.commands) > 2
    answered = await bench.thread(SeekThread)._seek_all()
    assert await bench.position(bench.commands) == (committed or 0)
    assert answered[bench.commands] == committed
    assert bench.app.gaps.expects(bench.commands, committed or 0)


@pytest.mark.parametrize("committed", [None, 0])
async def test_stock_skips_what_it_dropped_at_the_start(
    bench: Bench, write: Callable[..., Any], committed: int | None
) -> None:
    await write(bench.commands, 5)
    if committed is not None:
        await bench.consumer.commit({bench.commands: committed})
    await bench.consumer.getmany(bench.commands, timeout_ms=5000)
    await bench.consumer.seek_to_committed(bench.commands)
    assert await bench.position(bench.commands) > 2


async def test_an_end_below_what_was_committed_is_told(bench: Bench, write: Callable[..., Any]) -> None:
    await write(bench.commands, 5)
    await bench.consumer.commit({bench.commands: 9})
    await bench.thread(SeekThread)._seek_all()
    assert "deleted and created again, or a broker has lost records" in str(bench.app.left)
    assert "Use a new app id" in str(bench.app.left)
