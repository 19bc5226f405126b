import asyncio
import socket
from datetime import timedelta

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from streamapp.console.names import path_of
from streamapp.core.model import Status
from tests.support.builders import AT, SECOND, entry, source


def ids(commands):
    return [fields["command_id"] for fields in commands]


def at(partition, offset, **fields):
    return entry(offset, source=source(offset, partition), id=f"p{partition}o{offset}", **fields)


@pytest.fixture
async def pair(benches):
    """Two workers with a command each."""
    one, other = await benches((0,), (1,))
    one.store(at(0, 0, key=b"a", at=AT))
    other.store(at(1, 0, key=b"b", at=AT + SECOND))
    return one, other


@pytest.fixture
async def silent():
    """Addresses of workers that are there, and do not answer as they should."""

    async def break_(_):
        raise web.HTTPInternalServerError

    async def nonsense(_):
        return web.Response(text="<p>hello", content_type="text/html")

    async def lie(_):
        return web.Response(text="{", content_type="application/json")

    async def listing(_):
        return web.json_response([1])

    async def elsewhere(_):
        raise web.HTTPFound("/found")

    async def found(_):
        return web.json_response({"commands": [], "worker": "not the one that was asked"})

    servers = []
    for handler in (break_, nonsense, lie, listing, elsewhere):
        app = web.Application()
        app.router.add_get("/found", found)
        app.router.add_get("/{any:.*}", handler)
        servers.append(TestServer(app))
        await servers[-1].start_server()
    yield [str(server.make_url("")).rstrip("/") for server in servers]
    for server in servers:
        await server.close()


async def test_any_worker_answers_for_all(pair):
    for bench in pair:
        assert (await bench.get("/api/v1/commands/p0o0"))["key"] == "a"
        assert (await bench.get("/api/v1/commands/p1o0"))["params"] == "{}"
        assert ids((await bench.get("/api/v1/commands"))["commands"]) == ["p1o0", "p0o0"]
        assert ids((await bench.get("/api/v1/keys/b"))["queue"]) == ["p1o0"]
        assert ids((await bench.get("/api/v1/commands?key=b"))["commands"]) == ["p1o0"]
        assert await bench.get("/api/v1/commands/nobody", status=404) == {"error": "no such command is known"}
        await bench.get("/api/v1/keys/nobody", status=404)
        await bench.page("/commands/p1o0")
        await bench.page("/keys/a")


async def test_filters_reach_the_others(pair):
    one, other = pair
    other.store(at(1, 1, key=b"c", status=Status.BLOCKED))
    assert ids((await one.get("/api/v1/commands?status=blocked"))["commands"]) == ["p1o1"]
    assert ids((await one.get("/api/v1/commands?dag=nobody"))["commands"]) == []
    limited = await one.get("/api/v1/commands?limit=1")
    assert ids(limited["commands"]) == ["p1o0"]
    assert limited["truncated"]


async def test_a_key_on_two_workers_is_one_key(pair):
    one, other = pair
    other.store(at(1, 5, key=b"a"), at(1, 1, key=b"a", status=Status.SUCCEEDED))
    answer = await one.get("/api/v1/keys/a")
    assert ids(answer["queue"]) == ["p0o0", "p1o5"]
    assert ids(answer["history"]) == ["p1o1"]


@pytest.mark.parametrize("text", ["..", "a/b", "a?b", "ü", "%41"])
async def test_strange_ids_reach_the_others(pair, text):
    one, other = pair
    other.store(entry(7, source=source(7, 1), id=text, key=text.encode()))
    assert (await one.get(path_of("/api/v1/commands", text.encode())))["command_id"] == text
    assert ids((await one.get(path_of("/api/v1/keys", text.encode())))["queue"]) == [text]


async def test_local_asks_nobody(pair):
    one, _ = pair
    await one.get("/api/v1/commands/p1o0?local=1", status=404)
    await one.get("/api/v1/keys/b?local=1", status=404)
    assert ids((await one.get("/api/v1/commands?local=1"))["commands"]) == ["p0o0"]


async def test_the_others_are_asked_once_and_for_their_own_part(bench):
    asked = []

    async def answer(request):
        asked.append(request.path_qs)
        return web.json_response({"commands": [], "truncated": False, "incomplete": []})

    app = web.Application()
    app.router.add_get("/{any:.*}", answer)
    async with TestServer(app) as other:
        url = str(other.make_url("")).rstrip("/")
        bench.change(workers=dict.fromkeys([bench.url, f"{bench.url}/", url, f"{url}/"], frozenset()))
        await bench.get("/api/v1/commands?status=failed&dag=a%26b")
    assert asked == ["/api/v1/commands?limit=100&status=failed&dag=a%26b&local=1"]


async def test_workers_that_do_not_answer_are_named(pair, silent):
    one, other = pair
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        away = f"http://127.0.0.1:{unused.getsockname()[1]}"
        one.change(
            workers={one.url: one.numbers, other.url: other.numbers} | dict.fromkeys([away, *silent], frozenset())
        )
        answer = await one.get("/api/v1/commands")
        assert ids(answer["commands"]) == ["p1o0", "p0o0"]
        assert answer["incomplete"] == sorted([away, *silent])
        assert (await one.get("/api/v1/commands/p1o0"))["key"] == "b"
        unknown = await one.get("/api/v1/commands/nobody", status=503)
        assert unknown["incomplete"] == sorted([away, *silent])
        assert "not all of them answer" in unknown["error"]
        assert (await one.get("/api/v1/keys/nobody", status=503))["incomplete"] == sorted([away, *silent])
        assert away in await one.page("/")
        assert away in await one.page("/workers")
        assert away in await one.page("/commands/nobody", status=503)


async def test_a_worker_that_hangs_is_not_waited_for(benches):
    never = asyncio.Event()

    async def wait(_):
        await never.wait()

    app = web.Application()
    app.router.add_get("/{any:.*}", wait)
    (one,) = await benches((0,), patience=timedelta(seconds=0.5))
    one.store(at(0, 0, key=b"a"))
    async with TestServer(app) as server:
        hanging = str(server.make_url("")).rstrip("/")
        one.change(workers={one.url: one.numbers, hanging: frozenset({1})})
        answer = await one.get("/api/v1/commands")
        assert ids(answer["commands"]) == ["p0o0"]
        assert answer["incomplete"] == [hanging]
        never.set()


async def test_a_worker_in_a_rebalance_is_named(pair):
    one, other = pair
    other.partitions.give_up()
    answer = await one.get("/api/v1/commands")
    assert ids(answer["commands"]) == ["p0o0"]
    assert answer["incomplete"] == [other.url]
    assert (await one.get("/api/v1/commands/p1o0", status=503))["incomplete"] == [other.url]
    assert (await other.get("/api/v1/commands/p0o0"))["key"] == "a"
    assert (await other.get("/api/v1/commands/p1o0", status=503))["incomplete"] == [other.url]


async def test_all_workers(pair):
    one, other = pair
    one.change(workers={one.url: one.numbers, other.url: other.numbers, "http://127.0.0.1:1": frozenset()})
    answer = await one.get("/api/v1/workers")
    assert [(worker["worker"], worker["partitions"]) for worker in answer["workers"]] == [
        (one.url, [0]),
        (other.url, [1]),
    ]
    assert answer["silent"] == ["http://127.0.0.1:1"]


async def test_a_command_whose_id_two_workers_know_is_the_local_one(pair):
    one, other = pair
    one.store(entry(10, key=b"a", id="same"))
    other.store(entry(10, key=b"b", id="same", source=source(10, 1)))
    assert (await one.get("/api/v1/commands/same"))["key"] == "a"
    assert (await other.get("/api/v1/commands/same"))["key"] == "b"


async def test_workers_that_share_an_address_are_no_secret(pair):
    one, other = pair
    for workers in ({one.url: other.numbers}, {one.url: one.numbers}, {}):
        one.change(workers=workers)
        missing = ["the worker of partition 1, which has no address of its own"]
        assert (await one.get("/api/v1/commands"))["incomplete"] == missing
        assert (await one.get("/api/v1/commands/p1o0", status=503))["incomplete"] == missing
        assert (await one.get("/api/v1/commands?local=1"))["incomplete"] == []
        assert "partition 1, which has no address" in await one.page("/")
