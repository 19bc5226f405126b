"""The route that shows a table's fingerprints, and what `streamapp doctor --tables` makes of its answers."""

import asyncio
import threading
from contextlib import asynccontextmanager
from datetime import timedelta
from urllib.parse import urlsplit

import aiohttp
import httpx
import pytest
from aiohttp import web

from streamapp.cli.tables import _copy_check, _equal
from streamapp.console import tables
from streamapp.console.answers import tell_errors
from streamapp.core.errors import Unsafe
from streamapp.settings import Settings

PORTION = b"%032d %032d\n" % (1, 2) * 1000
PATH = "/api/v1/tables/0"


@asynccontextmanager
async def serving(fingerprints, **how):
    """A web server with the route; its address."""
    app = web.Application(middlewares=[tell_errors(lambda status, text: web.Response(status=status, text=text))])
    tables.register(app.router, fingerprints, **how)
    runner = web.AppRunner(app)  # as Faust's; aiohttp's server for tests would cancel what it serves to who goes away
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


async def doctor(url):
    """What it says of the table."""
    async with httpx.AsyncClient() as client:
        return await _copy_check(client, Settings(), "table 0", url, 0)


async def test_one_table_at_a_time_and_the_loop_goes_on():
    asked, may_go_on = threading.Event(), threading.Event()

    def portions():
        asked.set()
        assert may_go_on.wait(30)
        yield b"7\n"
        yield PORTION

    async with serving(lambda _: portions()) as url, aiohttp.ClientSession(url) as session:
        first = asyncio.create_task(session.get(PATH))
        assert await asyncio.to_thread(asked.wait, 30)
        async with session.get(PATH) as second:
            assert second.status == 503
            assert "try again" in (await second.json())["error"]
        check = await doctor(url)
        assert (check.state, check.mend) == ("problem", "run the check again")
        may_go_on.set()
        assert await (await first).read() == b"7\n" + PORTION
        async with session.get(PATH) as third:
            assert await third.read() == b"7\n" + PORTION


async def test_no_more_is_read_than_is_taken_and_who_takes_nothing_is_left():
    taken, closed = 0, threading.Event()

    def endless():
        nonlocal taken
        try:
            while True:
                taken += 1
                yield PORTION
        finally:
            closed.set()

    async with serving(lambda _: endless(), patience=timedelta(seconds=0.2)) as url:
        place = urlsplit(url)
        reader, writer = await asyncio.open_connection(place.hostname, place.port)
        writer.write(f"GET {PATH} HTTP/1.1\r\nHost: {place.netloc}\r\n\r\n".encode())
        assert b"200 OK" in await reader.readline()
        assert await asyncio.to_thread(closed.wait, 30)
        assert taken < 1000  # what fits into the buffers of the connection
        writer.close()


async def test_who_goes_away_is_left(caplog):
    closed = threading.Event()

    def endless():
        try:
            while True:
                yield PORTION
        finally:
            closed.set()

    async with serving(lambda _: endless()) as url, aiohttp.ClientSession(url) as session:
        answer = await session.get(PATH)
        await answer.content.readexactly(len(PORTION))
        answer.close()
        assert await asyncio.to_thread(closed.wait, 30)
    assert caplog.text == ""


async def test_what_breaks_off_is_no_table_with_fewer_rows(caplog):
    def portions():
        yield b"7\n"
        yield PORTION
        raise Unsafe("the database was taken away")

    async with serving(lambda _: portions()) as url, aiohttp.ClientSession(url) as session:
        with pytest.raises((aiohttp.ClientPayloadError, aiohttp.ClientOSError)):
            await (await session.get(PATH)).read()
        check = await doctor(url)
    assert (check.state, check.what) == ("problem", f"{url} broke its answer off")
    assert check.mend == "run the check again"
    assert caplog.text == ""


async def test_a_partition_of_another_worker():
    async with serving(lambda _: None) as url, aiohttp.ClientSession(url) as session:
        async with session.get(PATH) as answer:
            assert answer.status == 404
            assert await answer.json() == {"error": "partition 0 is not this worker's"}
        check = await doctor(url)
    assert (check.state, check.what) == ("problem", "it moved to another worker meanwhile")


@pytest.mark.parametrize("number", ["9" * 5000, "100000", "%D9%A3", "-1", ""], ids=lambda number: number[:9])
async def test_what_is_no_partition_is_not_found(number):
    async with serving(lambda _: pytest.fail("asked")) as url, aiohttp.ClientSession(url) as session:
        assert (await session.get(f"/api/v1/tables/{number}")).status == 404


def test_an_empty_table_has_no_offset_to_tell():
    assert _equal(3, 7) == "3 rows equal their changelog up to offset 7"
    assert "None" not in _equal(0, None)
