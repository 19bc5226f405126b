import asyncio
import base64
import logging

import httpx
import pytest

from streamapp.core.errors import ConfigError, Unavailable, Unprocessable
from streamapp.core.model import Reason
from streamapp.wire.registry import UNKNOWN_FOR, Registry
from streamapp.wire.schemas import COMMAND, OUTCOME
from tests.support.fake_registry import FakeRegistry
from tests.support.instant_clock import InstantClock

AWAY = [
    httpx.ConnectError("refused"),
    httpx.ReadTimeout("slow"),
    httpx.RemoteProtocolError("cut"),
    ConnectionResetError(),
    httpx.Response(500, json={"error_code": 50001, "message": "store"}),
    httpx.Response(503, text="<html>"),
    httpx.Response(401, json={"error_code": 401}),
    httpx.Response(403, json={"error_code": 403}),
    httpx.Response(429, json={"error_code": 429}),
    httpx.Response(301, headers={"location": "/elsewhere"}),
    httpx.Response(404, text="<html>no such page"),
    httpx.Response(404, json={"error_code": 404, "message": "HTTP 404 Not Found"}),
    httpx.Response(404, json=[]),
    httpx.Response(200, text="<html>Please log in"),
    httpx.Response(200, json=[]),
    httpx.Response(200, json={"status": "up"}),
]


@pytest.fixture
def server():
    return FakeRegistry()


@pytest.fixture
def clock():
    return InstantClock()


@pytest.fixture
def registry(server, clock):
    return server.client(clock)


def saying(answer):
    def fault(_):
        if isinstance(answer, Exception):
            raise answer
        return answer

    return fault


@pytest.mark.parametrize("answer", AWAY, ids=repr)
async def test_no_answer_of_its_own_is_unavailable_and_not_remembered(server, registry, answer):
    id_ = server.add(COMMAND)
    server.fault = saying(answer)
    with pytest.raises(Unavailable):
        await registry.schema(id_)
    with pytest.raises(Unavailable):
        await registry.register("commands-value", COMMAND)
    server.fault = saying(None)
    assert (await registry.schema(id_))["name"] == "event.EventSchema"


async def test_an_unknown_id_is_asked_for_again_after_a_moment(server, registry, clock):
    for _ in range(3):
        with pytest.raises(Unprocessable) as caught:
            await registry.schema(1)
        assert caught.value.reason is Reason.UNKNOWN_SCHEMA
    assert len(server.requests) == 1
    server.add(COMMAND)
    await clock.sleep(UNKNOWN_FOR)
    assert await registry.schema(1)


@pytest.mark.parametrize("id_", [0, 2**31, 2**32 - 1])
async def test_an_id_that_no_registry_gives_is_not_asked_for(server, registry, id_):
    with pytest.raises(Unprocessable):
        await registry.schema(id_)
    assert server.requests == []


@pytest.mark.parametrize(
    ("schema", "type_"),
    [
        ({"type": "object"}, "JSON"),
        ("syntax = 'proto3';", "PROTOBUF"),
        ({"type": "record", "name": "A", "fields": [{"name": "b", "type": "not.known"}]}, "AVRO"),
        ({"type": "record"}, "AVRO"),
        (1, "AVRO"),
    ],
    ids=str,
)
async def test_a_schema_that_is_no_avro_is_unknown(server, registry, schema, type_):
    with pytest.raises(Unprocessable) as caught:
        await registry.schema(server.add(schema, type_))
    assert caught.value.reason is Reason.UNKNOWN_SCHEMA


async def test_many_who_ask_at_once_cost_one_request(server, registry):
    id_ = server.add(COMMAND)
    found = await asyncio.gather(*(registry.schema(id_) for _ in range(10)))
    assert len(found) == 10
    assert len(server.requests) == 1


async def test_who_gives_up_waiting_does_not_disturb_the_others(server, registry):
    id_ = server.add(COMMAND)
    first, second = asyncio.ensure_future(registry.schema(id_)), asyncio.ensure_future(registry.schema(id_))
    await asyncio.sleep(0)
    first.cancel()
    assert (await second)["name"] == "event.EventSchema"


async def test_registering_twice_gives_one_id(server, clock):
    first = await server.client(clock).register("commands-value", COMMAND)
    assert await server.client(clock).register("commands-value", COMMAND) == first
    assert await server.client(clock).register("results-value", OUTCOME) != first
    assert server.subjects == {"commands-value": [first], "results-value": [first + 1]}


@pytest.mark.parametrize("status", [409, 422])
async def test_a_schema_that_is_refused_stops_the_start(server, registry, status):
    server.fault = lambda request: (
        httpx.Response(status, json={"error_code": status}) if request.url.path.endswith("versions") else None
    )
    with pytest.raises(ConfigError, match="commands-value"):
        await registry.register("commands-value", COMMAND)


@pytest.mark.parametrize(
    ("url", "user_info", "sent"),
    [
        ("http://registry.test", None, None),
        ("http://registry.test", "key:se:cret", "key:se:cret"),
        ("http://u%40x:p%3Aw@registry.test", None, "u@x:p:w"),
        ("http://user:wrong@registry.test", "key:secret", "key:secret"),
    ],
)
async def test_basic_authentication(server, clock, url, user_info, sent):
    await server.client(clock, url, user_info).register("commands-value", COMMAND)
    expected = None if sent is None else f"Basic {base64.b64encode(sent.encode()).decode()}"
    assert {request.headers.get("authorization") for request in server.requests} == {expected}


@pytest.mark.parametrize("answer", [httpx.ConnectError("refused"), httpx.Response(401, json={}), httpx.Response(500)])
async def test_secrets_stay_out_of_errors_and_logs(server, clock, caplog, answer):
    caplog.set_level(logging.DEBUG)
    server.fault = saying(answer)
    registry = server.client(clock, "http://user:secret1@registry.test", "key:secret2")
    with pytest.raises(Unavailable) as caught:
        await registry.schema(1)
    said = f"{caught.value!r} {caught.value.__cause__!r} {caplog.text} {registry!r}"
    assert "registry.test" in said
    assert "secret" not in said


@pytest.mark.parametrize("status", [401, 403])
async def test_a_wrong_password_is_said_to_be_that(server, registry, status):
    server.fault = saying(httpx.Response(status, json={"error_code": status}))
    with pytest.raises(Unavailable, match="password"):
        await registry.schema(1)


@pytest.mark.parametrize("url", ["", "registry:8081", "ftp://registry", "http://"])
def test_an_address_that_is_none_stops_the_start(clock, url):
    with pytest.raises(ConfigError, match="http://"):
        Registry(url, clock)
