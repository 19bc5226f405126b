import asyncio
import base64
import json
import logging
from datetime import timedelta

import httpx
import pytest

from streamapp.airflow.auth import (
    PAUSE_AFTER_REFUSAL_SECONDS,
    PAUSE_AFTER_SILENCE_SECONDS,
    PAUSE_WHILE_SERVED_SECONDS,
    Login,
    basic,
)
from streamapp.airflow.connection import Connection, NotSent
from tests.support.manual_clock import ManualClock

PASSWORD = "hush-hush"


def jwt(number, *, iat=1_000, exp=2_000):
    claims = base64.urlsafe_b64encode(json.dumps({"iat": iat, "exp": exp, "n": number}).encode()).rstrip(b"=").decode()
    return f"header.{claims}.signature"


def bearer(number):
    return f"Bearer {jwt(number)}"


class Door:
    """Answers log-ins; counts them."""

    def __init__(self):
        self.asked = 0
        self.open = asyncio.Event()
        self.open.set()
        self.answer = lambda number: httpx.Response(201, json={"access_token": jwt(number)})

    async def __call__(self, request):
        self.asked += 1
        assert json.loads(request.content) == {"username": "ann", "password": PASSWORD}
        await asyncio.sleep(0)
        await self.open.wait()
        answer = self.answer(self.asked)
        if isinstance(answer, Exception):
            raise answer
        return answer


@pytest.fixture
def door():
    return Door()


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture
async def login(door, clock):
    seconds = timedelta(seconds=5)
    connection = Connection(
        "http://airflow", connect_timeout=seconds, request_timeout=seconds, transport=httpx.MockTransport(door)
    )
    yield Login(connection, "ann", PASSWORD, clock)
    await connection.close()


async def test_one_log_in_serves_many_requests(login, door):
    assert {await login.header() for _ in range(5)} == {bearer(1)}
    assert door.asked == 1


async def test_many_at_once_share_one_log_in(login, door):
    assert set(await asyncio.gather(*(login.header() for _ in range(20)))) == {bearer(1)}
    assert door.asked == 1


async def test_a_token_is_renewed_before_it_ends(login, clock):
    await login.header()
    clock.advance(timedelta(seconds=899))  # of 1000
    assert await login.header() == bearer(1)
    clock.advance(timedelta(seconds=2))
    assert await login.header() == bearer(2)


async def test_a_rejected_token_is_replaced_once(login, door):
    old = await login.header()
    login.reject(old)
    new = await login.header()
    login.reject(old)  # a slower request that carried the old one
    assert await login.header() == new
    assert door.asked == 2


def odd(claims):
    return f"header.{base64.urlsafe_b64encode(claims.encode()).rstrip(b'=').decode()}.signature"


@pytest.mark.parametrize(
    "token",
    [
        "opaque",
        "a.!!!.c",
        "a.e30.c",
        jwt(1, exp=500),
        odd('{"iat": 0, "exp": 1' + "0" * 400 + "}"),
        odd("[" * 100_000),
    ],
    ids=lambda token: token[:20],
)
async def test_a_token_whose_life_cannot_be_read_is_used_until_it_is_rejected(login, door, clock, token):
    door.answer = lambda _: httpx.Response(201, json={"access_token": token})
    await login.header()
    clock.advance(timedelta(days=100))
    assert await login.header() == f"Bearer {token}"
    assert door.asked == 1


async def test_a_refusal_is_logged_once_and_never_shows_the_password(login, door, clock, caplog):
    caplog.set_level(logging.DEBUG)
    door.answer = lambda _: httpx.Response(422, json={"detail": f"input_value={{'password': '{PASSWORD}'}}"})
    for _ in range(3):
        with pytest.raises(NotSent, match="refuses the log-in of ann") as caught:
            await login.header()
        assert PASSWORD not in str(caught.value)
        clock.advance(timedelta(seconds=PAUSE_AFTER_REFUSAL_SECONDS))
    assert [record.action for record in caplog.records if record.levelname == "WARNING"] == ["login_refused"]
    assert PASSWORD not in caplog.text
    assert PASSWORD not in repr(login)


async def test_a_log_in_that_works_again_is_logged_and_the_next_refusal_too(login, door, clock, caplog):
    caplog.set_level(logging.INFO, "streamapp")
    good = door.answer
    for answer in (lambda _: httpx.Response(401), good, lambda _: httpx.Response(401)):
        door.answer = answer
        try:
            login.reject(await login.header())
        except NotSent:
            clock.advance(timedelta(seconds=PAUSE_AFTER_REFUSAL_SECONDS))
    actions = [record.action for record in caplog.records if hasattr(record, "action")]
    assert actions == ["login_refused", "login_accepted", "login_refused"]


@pytest.mark.parametrize(
    ("answer", "pause"),
    [
        (httpx.ConnectError("refused"), PAUSE_AFTER_SILENCE_SECONDS),
        (httpx.ReadTimeout("slow"), PAUSE_AFTER_SILENCE_SECONDS),
        (httpx.Response(503), PAUSE_AFTER_SILENCE_SECONDS),
        (httpx.Response(200, text="<html>"), PAUSE_AFTER_SILENCE_SECONDS),
        (httpx.Response(401), PAUSE_AFTER_REFUSAL_SECONDS),
        (httpx.Response(429), PAUSE_AFTER_REFUSAL_SECONDS),
    ],
)
async def test_a_failure_stands_for_a_while_for_everybody(login, door, clock, answer, pause):
    good = door.answer
    door.answer = lambda _: answer
    results = await asyncio.gather(*(login.header() for _ in range(5)), return_exceptions=True)
    assert [type(result) for result in results] == [NotSent] * 5
    assert door.asked == 1
    door.answer = good
    with pytest.raises(NotSent):
        await login.header()
    clock.advance(timedelta(seconds=pause))
    assert await login.header() == bearer(2)


@pytest.mark.parametrize("token", [None, 5, "to\u00e8ken", "to\nken"])
async def test_what_no_header_can_carry_is_no_token(login, door, token):
    door.answer = lambda _: httpx.Response(201, json={"access_token": token})
    with pytest.raises(NotSent, match="gives no token"):
        await login.header()


async def test_a_log_in_that_is_answered_with_too_deep_a_document_gives_no_token(login, door):
    door.answer = lambda _: httpx.Response(201, content="[" * 100_000)
    with pytest.raises(NotSent, match="gives no token"):
        await login.header()


@pytest.mark.parametrize(
    "answer", [httpx.Response(500), httpx.Response(429), httpx.Response(401), httpx.ReadTimeout("slow")]
)
async def test_a_token_that_cannot_be_renewed_serves_until_its_own_end(login, door, clock, answer):
    await login.header()
    good, door.answer = door.answer, lambda _: answer
    clock.advance(timedelta(seconds=901))  # of 1000
    assert set(await asyncio.gather(*(login.header() for _ in range(5)))) == {bearer(1)}
    clock.advance(timedelta(seconds=PAUSE_WHILE_SERVED_SECONDS - 1))
    assert await login.header() == bearer(1)
    assert door.asked == 2
    clock.advance(timedelta(seconds=2))
    assert await login.header() == bearer(1)
    assert door.asked == 3
    clock.advance(timedelta(seconds=38))
    with pytest.raises(NotSent):
        await login.header()
    assert door.asked == 4
    door.answer = good
    clock.advance(timedelta(seconds=PAUSE_AFTER_REFUSAL_SECONDS))
    assert await login.header() == bearer(5)


async def test_a_slow_renewal_keeps_nobody_else_waiting(login, door, clock):
    await login.header()
    clock.advance(timedelta(seconds=901))
    door.open.clear()
    renews = asyncio.create_task(login.header())
    await asyncio.sleep(0)
    assert await asyncio.wait_for(login.header(), 5) == bearer(1)
    assert not renews.done()
    door.open.set()
    assert await renews == bearer(2)


async def test_a_rejected_token_serves_no_longer_although_no_other_can_be_had(login, door, clock):
    await login.header()
    door.answer = lambda _: httpx.Response(500)
    clock.advance(timedelta(seconds=901))
    login.reject(await login.header())
    clock.advance(timedelta(seconds=PAUSE_AFTER_SILENCE_SECONDS))
    with pytest.raises(NotSent):
        await login.header()
    assert door.asked == 3


async def test_a_renewal_that_fails_is_logged_once_and_its_success_too(login, door, clock, caplog):
    caplog.set_level(logging.INFO, "streamapp")
    await login.header()
    good, door.answer = door.answer, lambda _: httpx.Response(500)
    clock.advance(timedelta(seconds=900))
    for _ in range(2):
        await login.header()
        clock.advance(timedelta(seconds=40))
    door.answer = good
    await login.header()
    actions = [record.action for record in caplog.records if hasattr(record, "action")]
    assert actions == ["login_overdue", "login_accepted"]
    assert caplog.records[0].getMessage() == (
        "log-in: /auth/token answers 500: the token at hand serves for another 0:01:40; without another one, "
        "nothing is triggered after that"
    )


async def test_basic_auth_is_one_header_and_there_is_no_other():
    credentials = basic("ann", "p:ä")
    assert await credentials.header() == "Basic " + base64.b64encode("ann:p:ä".encode()).decode()
    assert credentials.known == await credentials.header()
    assert not credentials.reject(credentials.known)
