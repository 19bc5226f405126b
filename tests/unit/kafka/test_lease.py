from datetime import timedelta
from types import SimpleNamespace

import pytest
from aiokafka.errors import (
    DuplicateSequenceNumber,
    MessageSizeTooLargeError,
    NodeNotReadyError,
    NoError,
    NotLeaderForPartitionError,
    RequestTimedOutError,
    UnknownMemberIdError,
)

from streamapp.core.errors import Unsafe
from streamapp.kafka import exits
from streamapp.kafka.lease import SAFE_SHARE, Lease, LeasedProducer, bind, refusal
from streamapp.kafka.producer import StrictProducer
from tests.support.manual_clock import ManualClock

SESSION = timedelta(seconds=10)


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture
def left():
    return []


@pytest.fixture
def lease(clock, left):
    return Lease(clock, SESSION, leave=left.append)


def test_before_the_first_assignment_it_lasts(lease, clock, left):
    clock.advance(timedelta(hours=1))
    lease.check("starting a run")
    assert left == []


def test_it_ends_before_the_session_does(lease, clock, left):
    lease.renew(lease.now())
    clock.advance(SESSION * SAFE_SHARE - timedelta(milliseconds=1))
    lease.check("starting a run")
    assert left == []
    clock.advance(timedelta(milliseconds=1))
    lease.check("starting a run")
    assert left == [exits.LEASE_LOST]


def test_it_counts_from_before_the_heartbeat(lease, clock, left):
    since = lease.now()
    clock.advance(timedelta(seconds=8))
    lease.renew(since)
    clock.advance(timedelta(seconds=1))
    lease.check("starting a run")
    assert left == [exits.LEASE_LOST]


def test_a_late_answer_does_not_shorten_it(lease, clock):
    early = lease.now()
    clock.advance(timedelta(seconds=5))
    lease.renew(lease.now())
    remaining = lease.remaining
    lease.renew(early)
    assert lease.remaining == remaining


class SyncGroupRequest:
    pass


class JoinGroupRequest:
    pass


class OffsetCommitRequest:
    pass


class Coordinator:
    """A group's coordinator that takes a second for each answer, and some to connect to."""

    coordinator_id = 1

    def __init__(self, clock, *, beats=True, error_code=0, connects_within=timedelta(0)):
        self._clock, self._beats, self._error_code = clock, beats, error_code
        self._client = SimpleNamespace(ready=self._connect)
        self._connects_within = connects_within

    async def _connect(self, *_, **__):
        self._clock.advance(self._connects_within)

    async def _do_heartbeat(self):
        self._clock.advance(timedelta(seconds=1))
        return self._beats

    async def _send_req(self, _):
        self._clock.advance(timedelta(seconds=1))
        return SimpleNamespace(error_code=self._error_code)


async def test_a_heartbeat_that_is_answered_renews_it_from_before(lease, clock):
    coordinator = Coordinator(clock)
    bind(coordinator, lease)
    assert await coordinator._do_heartbeat()
    assert lease.remaining == SESSION * SAFE_SHARE - timedelta(seconds=1)


async def test_partitions_that_are_given_out_renew_it_from_before(lease, clock):
    coordinator = Coordinator(clock)
    bind(coordinator, lease)
    await coordinator._send_req(SyncGroupRequest())
    clock.advance(timedelta(seconds=5))  # frozen before the answer is handled
    assert lease.remaining == SESSION * SAFE_SHARE - timedelta(seconds=6)


@pytest.mark.parametrize(
    ("request_", "answers"),
    [(SyncGroupRequest(), {"error_code": 25}), (JoinGroupRequest(), {}), (None, {"beats": False})],
)
async def test_nothing_else_renews_it(lease, clock, request_, answers):
    coordinator = Coordinator(clock, **answers)
    bind(coordinator, lease)
    lease.renew(lease.now())
    await (coordinator._do_heartbeat() if request_ is None else coordinator._send_req(request_))
    assert lease.remaining == SESSION * SAFE_SHARE - timedelta(seconds=1)


async def test_it_is_renewed_once_however_often_topics_are_subscribed(lease, clock):
    coordinator = Coordinator(clock)
    bind(coordinator, lease)
    once = coordinator._do_heartbeat
    bind(coordinator, lease)
    assert coordinator._do_heartbeat is once


async def test_a_member_commits(lease, clock):
    coordinator = Coordinator(clock)
    bind(coordinator, lease)
    lease.renew(lease.now())
    assert await coordinator._send_req(OffsetCommitRequest())


@pytest.mark.parametrize("coordinator", [{}, {"connects_within": SESSION}])
async def test_a_former_member_commits_nothing(lease, clock, left, coordinator):
    """Where the next owner has come and gone, Kafka would take it, and what it has forgotten would come again.

    After an outage of Kafka's that is no reason to leave.
    """
    coordinator = Coordinator(clock, **coordinator)
    bind(coordinator, lease)
    lease.renew(lease.now())
    clock.advance(SESSION - coordinator._connects_within)
    with pytest.raises(UnknownMemberIdError):
        await coordinator._send_req(OffsetCommitRequest())
    assert left == []


class ProduceRequest:
    """What writes to Kafka."""


class Client:
    """Kafka's client, whose connection takes as long as it is told."""

    def __init__(self, clock, takes, *, connects=True):
        self._clock, self._takes, self._connects, self._connected = clock, takes, connects, False
        self.written = []
        self.answer = SimpleNamespace(topics=[])

    async def ready(self, _):
        if not self._connected:
            self._clock.advance(self._takes)
            self._connected = self._connects
        return self._connected

    async def send(self, node_id, request):
        if not await self.ready(node_id):
            raise NodeNotReadyError
        self.written.append(request)
        return self.answer


class Left(Exception):
    """The process would have ended."""


@pytest.fixture
def producer(clock, monkeypatch):
    async def started(_):
        pass

    def leave(code):
        raise Left(code)

    def make(client):
        monkeypatch.setattr(StrictProducer, "on_start", started)
        producer = object.__new__(LeasedProducer)
        producer.app = SimpleNamespace(lease=Lease(clock, SESSION, leave=leave))
        producer.app.lease.renew(producer.app.lease.now())
        producer._producer = SimpleNamespace(_sender=SimpleNamespace(client=client))
        return producer

    return make


async def test_nothing_is_written_to_a_connection_that_took_longer_than_it_lasts(producer, clock):
    client = Client(clock, takes=SESSION)
    await producer(client).on_start()
    with pytest.raises(Left):
        await client.send(1, ProduceRequest())
    assert client.written == []


async def test_a_connection_in_time_is_written_to(producer, clock):
    client = Client(clock, takes=SESSION / 2)
    await producer(client).on_start()
    await client.send(1, ProduceRequest())
    assert len(client.written) == 1


async def test_where_there_is_no_connection_the_client_tries_again(producer, clock):
    client = Client(clock, takes=SESSION / 2, connects=False)
    await producer(client).on_start()
    with pytest.raises(NodeNotReadyError):
        await client.send(1, ProduceRequest())
    assert client.written == []


def answer_of(*errors):
    return SimpleNamespace(topics=[("results", [(0, NoError.errno, 0), *((1, error.errno, 0) for error in errors)])])


@pytest.mark.parametrize("error", [NoError, DuplicateSequenceNumber, NotLeaderForPartitionError, RequestTimedOutError])
def test_what_kafka_takes_when_it_is_asked_again_is_no_refusal(error):
    """Else each election of a leader would end all workers."""
    assert refusal(answer_of(error)) is None


async def test_after_a_batch_that_was_refused_nothing_is_written(producer, clock):
    client = Client(clock, takes=SESSION / 2)
    client.answer = answer_of(MessageSizeTooLargeError)
    writes = producer(client)
    await writes.on_start()
    left = []

    def leave(error):
        left.append(str(error))
        raise Left

    writes.app.leave = leave
    await client.send(1, ProduceRequest())
    with pytest.raises(Left):
        await client.send(1, ProduceRequest())
    assert left == ["Kafka refused records of results: MessageSizeTooLargeError"]
    assert len(client.written) == 1


async def test_an_answer_that_comes_after_a_refusal_does_not_undo_it(producer, clock):
    """Batches to two brokers are under way at once."""
    client = Client(clock, takes=SESSION / 2)
    writes = producer(client)
    stock = client.send

    async def send(*args):
        writes.failed = Unsafe("Kafka refused another one meanwhile")
        return await stock(*args)

    client.send = send
    await writes.on_start()
    await client.send(1, ProduceRequest())
    assert writes.failed is not None
