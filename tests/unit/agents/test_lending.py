"""Workers that lend and borrow permits over real web sockets."""

import asyncio
from contextlib import AsyncExitStack, suppress
from datetime import timedelta

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from pydantic import SecretStr

from streamapp.agents import lending
from streamapp.agents.lending import PATH, WELCOME, Lending
from streamapp.airflow.limit import Limit
from streamapp.clock import SystemClock
from streamapp.settings import Settings

PARTITIONS = 8


class Member:
    """A worker's permits, with its web server."""

    def __init__(self, crew, *, total, password):
        self.clock = SystemClock()
        self.limit = Limit(total, self.clock)
        self.limit.own.gradient._settle(total)
        settings = Settings(airflow_username="admin", airflow_password=SecretStr(password))
        self.lending = Lending(self.limit, settings, self.clock, lender=lambda: crew.lender)
        app = web.Application()
        app.router.add_get(PATH, self.lending.serve)
        app.on_shutdown.append(self.lending.close)
        self.server = TestServer(app)

    @property
    def url(self):
        return str(self.server.make_url("/"))

    async def start(self):
        await self.server.start_server()
        self.task = asyncio.create_task(self.lending.run())

    async def stop(self):
        self.task.cancel()
        with suppress(asyncio.CancelledError):
            await self.task
        await self.server.close()

    async def until_borrowing(self):
        await until(lambda: self.lending.borrows_from is not None)


class Crew:
    """Workers; all of them are told who lends."""

    def __init__(self, stack):
        self._stack = stack
        self.lender = None

    async def start(self, *, total=4, password="hush-a"):
        member = Member(self, total=total, password=password)
        await member.start()
        self._stack.push_async_callback(member.stop)
        return member


@pytest.fixture
async def crew():
    async with AsyncExitStack() as stack:
        crew = Crew(stack)
        crew.session = await stack.enter_async_context(aiohttp.ClientSession())
        yield crew


async def until(condition):
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - of many things, that tell nobody
            await asyncio.sleep(0.005)


async def acquire(member):
    await until(member.limit.try_acquire)


async def test_a_worker_has_the_permits_of_the_owner_of_partition_0(crew):
    a, b = await crew.start(), await crew.start()
    crew.lender = a.url
    a.lending.share([0, 1], PARTITIONS)
    b.lending.share([2, 3, 4, 5, 6, 7], PARTITIONS)
    assert not b.limit.try_acquire()  # not before it is known whose permits it has
    await b.until_borrowing()
    await until(lambda: a.limit.own.bound == 4)
    for member in (a, b, a, b):
        await acquire(member)
    assert not a.limit.try_acquire()
    b.limit.release()
    await acquire(a)
    assert (a.limit.own.out, a.limit.in_flight, b.limit.in_flight) == (4, 3, 1)
    assert (b.limit.source.number, b.limit.source.bound) == (4, 4)


async def test_a_read_of_a_borrower_waits_for_a_permit(crew):
    a, b = await crew.start(total=1), await crew.start(total=1)
    crew.lender = a.url
    a.lending.share([0], 2)
    b.lending.share([1], 2)
    await b.until_borrowing()
    assert a.limit.try_acquire()

    async def read():
        async with b.limit.reading():
            return a.limit.own.out

    reading = asyncio.create_task(read())
    await until(lambda: a.limit.own._reads)
    a.limit.release()
    assert await reading == 1
    await until(lambda: a.limit.own.out == 0)


async def test_when_another_worker_lends_all_turn_to_it(crew):
    a, b, c = [await crew.start() for _ in range(3)]
    crew.lender = a.url
    for member, owned in ((a, [0, 1]), (b, [2, 3]), (c, [4, 5, 6, 7])):
        member.lending.share(owned, PARTITIONS)
    await b.until_borrowing()
    await c.until_borrowing()
    crew.lender = b.url
    for member, owned in ((c, [4, 5, 6, 7]), (a, [2, 3]), (b, [0, 1])):
        member.lending.share(owned, PARTITIONS)
    await until(lambda: {a.lending.borrows_from, c.lending.borrows_from} == {b.url})
    await until(lambda: (a.limit.own.bound, b.limit.own.bound) == (1, 4))
    await acquire(c)
    assert b.limit.own.out == 1


async def test_a_worker_that_lends_itself_by_the_time_it_is_welcome_has_its_own_permits(crew, monkeypatch):
    """A rebalance may come while two workers shake hands."""
    a, b = await crew.start(), await crew.start()
    stock = lending._text

    async def text(socket):
        said = await stock(socket)
        if said == WELCOME:
            crew.lender = None
            b.lending.share(range(PARTITIONS), PARTITIONS)
        return said

    monkeypatch.setattr(lending, "_text", text)
    crew.lender = a.url
    a.lending.share([0, 1, 2, 3], PARTITIONS)
    b.lending.share([4, 5, 6, 7], PARTITIONS)
    await until(lambda: b.lending.lends)
    await acquire(b)
    async with asyncio.timeout(20), b.limit.reading():
        assert b.limit.source is b.limit.own


async def test_what_a_worker_owns_may_change_while_it_borrows(crew):
    a, b = await crew.start(total=8), await crew.start(total=8)
    crew.lender = a.url
    a.lending.share([0], PARTITIONS)
    b.lending.share([1], PARTITIONS)
    await b.until_borrowing()
    await until(lambda: a.limit.own.bound == 2)
    b.lending.share([1, 2, 3], PARTITIONS)
    await until(lambda: a.limit.own.bound == 4)
    assert b.lending.borrows_from == a.url


async def test_without_the_lender_a_worker_has_its_own_part_and_says_so(crew, caplog, monkeypatch):
    monkeypatch.setattr(lending, "GRACE", timedelta())
    a, b = await crew.start(), await crew.start()
    crew.lender = a.url
    a.lending.share([0, 1], PARTITIONS)
    b.lending.share([2, 3, 4, 5, 6, 7], PARTITIONS)
    await b.until_borrowing()
    await acquire(b)
    await a.server.close()
    await until(lambda: b.lending.borrows_from is None)
    assert b.limit.source is b.limit.own
    assert b.limit.own.bound == 3
    assert b.limit.try_acquire()
    assert [record.action for record in caplog.records] == ["permits_alone"]
    assert "STREAMAPP_WEB_BIND" in caplog.text
    assert a.limit.own.out == 0


async def test_a_lender_that_comes_later_is_found(crew, monkeypatch):
    monkeypatch.setattr(lending, "GRACE", timedelta())
    monkeypatch.setattr(lending, "AGAIN_LATER", timedelta(milliseconds=50))
    a, b = await crew.start(), await crew.start()
    crew.lender = a.url
    b.lending.share([1], 2)
    await acquire(b)  # `a` does not lend yet, so it has its own
    assert b.lending.borrows_from is None
    a.lending.share([0], 2)
    await b.until_borrowing()


async def test_who_knows_another_log_in_gets_nothing(crew, caplog, monkeypatch):
    monkeypatch.setattr(lending, "GRACE", timedelta())
    a, b = await crew.start(), await crew.start(password="hush-b")
    crew.lender = a.url
    a.lending.share([0], 2)
    b.lending.share([1], 2)
    await acquire(b)
    assert b.lending.borrows_from is None
    assert a.limit.own.bound == 2
    assert {record.action for record in caplog.records} == {"permits_refused", "permits_alone"}
    assert "hush-b" not in caplog.text
    assert "hush-a" not in caplog.text


@pytest.mark.parametrize("said", [WELCOME, "", "\udcff".encode("utf-8", "surrogatepass").hex(), "ü"])
async def test_a_stranger_gets_nothing(crew, said):
    a = await crew.start()
    a.lending.share([0], 1)
    async with crew.session.ws_connect(a.url + PATH.lstrip("/")) as socket:
        await socket.receive_str()
        await socket.send_str(said)
        assert (await socket.receive()).type is aiohttp.WSMsgType.CLOSE
    assert len(a.lending._lender) == 0


async def test_nonsense_ends_the_connection_and_what_was_lent_comes_back(crew):
    a, b = await crew.start(), await crew.start()
    a.lending.share([0], 1)
    async with crew.session.ws_connect(a.url + PATH.lstrip("/")) as socket:
        await socket.send_str(b.lending._proof(await socket.receive_str()))
        assert await socket.receive_str() == WELCOME
        await socket.send_str('{"ask": 1}')
        await socket.receive_str()
        assert a.limit.own.out == 1
        await socket.send_str("nonsense")
        assert (await socket.receive()).type is not aiohttp.WSMsgType.TEXT
    await until(lambda: a.limit.own.out == 0)


async def test_a_lender_that_ends_does_not_wait_for_its_borrowers(crew):
    a, b = await crew.start(), await crew.start()
    crew.lender = a.url
    a.lending.share([0], 2)
    b.lending.share([1], 2)
    await b.until_borrowing()
    async with asyncio.timeout(5):
        await a.stop()
