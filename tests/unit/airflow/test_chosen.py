"""Which API is used, and when it is asked for again."""

import asyncio
from datetime import timedelta

import httpx
import pytest

from streamapp.airflow.chosen import PAUSE_AFTER_CHOICE_SECONDS, PAUSE_AFTER_FAILURE_SECONDS
from streamapp.airflow.port import AirflowUnavailable, Created, TurnedAway
from tests.support.airflow_answers import opened
from tests.support.manual_clock import ManualClock

RUN = {"dag_id": "d", "dag_run_id": "r", "state": "queued", "conf": {}, "start_date": None, "end_date": None}
DATE = "2026-01-01T00:00:00+00:00"
GONE = {"error": "/api/v1 has been removed in Airflow 3, please use its upgraded version /api/v2 instead."}


class Server:
    """An Airflow of a version that changes."""

    def __init__(self, version):
        self.version = version
        self.asked = []
        self.failure = None

    async def __call__(self, request):
        path = request.url.path
        self.asked.append(path)
        await asyncio.sleep(0)
        if self.failure is not None:
            if isinstance(self.failure, Exception):
                raise self.failure
            return self.failure
        if path == "/auth/token":
            return httpx.Response(201, json={"access_token": "t"})
        if not path.startswith("/api/v1/" if self.version.startswith("2") else "/api/v2/"):
            return (
                httpx.Response(404, json=GONE) if self.version.startswith("3") else httpx.Response(404, text="<html>")
            )
        if path.endswith("/version"):
            return httpx.Response(200, json={"version": self.version})
        return httpx.Response(200, json={**RUN, "logical_date": DATE, "run_after": DATE})

    def count(self, path):
        return self.asked.count(path)


@pytest.fixture
def clock():
    return ManualClock()


@pytest.mark.parametrize(
    ("version", "path"), [("2.11.2", "/api/v1/dags/d/dagRuns"), ("3.3.2", "/api/v2/dags/d/dagRuns")]
)
async def test_the_server_says_which_api_is_used_and_is_asked_once(clock, version, path):
    server = Server(version)
    async with opened(server, clock=clock) as airflow:
        answers = await asyncio.gather(*(airflow.trigger("d", "r", {}) for _ in range(5)))
    assert all(isinstance(answer, Created) for answer in answers)
    assert server.count(path) == 5
    assert server.count("/api/v2/version") == 1


@pytest.mark.parametrize("failure", [httpx.ConnectError("refused"), httpx.ReadTimeout("slow"), httpx.Response(503)])
async def test_an_airflow_that_is_away_is_asked_again_later_and_no_answer_is_uncertain(clock, failure):
    server = Server("2.11.2")
    server.failure = failure
    async with opened(server, clock=clock) as airflow:
        for _ in range(3):
            assert isinstance(await airflow.trigger("d", "r", {}), TurnedAway)
        assert len(server.asked) == 1
        with pytest.raises(AirflowUnavailable, match="version"):
            await airflow.get("d", "r")
        server.failure = None
        clock.advance(timedelta(seconds=PAUSE_AFTER_FAILURE_SECONDS))
        assert isinstance(await airflow.trigger("d", "r", {}), Created)


async def test_a_server_that_has_neither_api_says_so(clock):
    async with opened(lambda _: httpx.Response(404, text="nginx"), clock=clock) as airflow:
        with pytest.raises(AirflowUnavailable, match="neither at /api/v2/version nor at /api/v1/version"):
            await airflow.health()


async def test_after_an_upgrade_the_other_api_is_used(clock):
    server = Server("2.11.2")
    async with opened(server, clock=clock) as airflow:
        assert isinstance(await airflow.trigger("d", "r", {}), Created)
        clock.advance(timedelta(seconds=PAUSE_AFTER_CHOICE_SECONDS))
        server.version = "3.3.2"
        assert isinstance(await airflow.trigger("d", "r", {}), TurnedAway)
        assert isinstance(await airflow.trigger("d", "r", {}), Created)
    assert server.asked[-1] == "/api/v2/dags/d/dagRuns"


async def test_a_choice_stands_while_nobody_says_otherwise(clock):
    server = Server("3.3.2")
    async with opened(server, clock=clock) as airflow:
        await airflow.get("d", "r")
        server.failure = httpx.Response(404, text="no backend")
        for _ in range(5):
            clock.advance(timedelta(seconds=PAUSE_AFTER_CHOICE_SECONDS))
            with pytest.raises(AirflowUnavailable):
                await airflow.get("d", "r")
        server.failure = None
        assert (await airflow.get("d", "r")).run_id == "r"


async def test_endless_404s_do_not_ask_for_the_version_every_time(clock):
    server = Server("3.3.2")
    async with opened(server, clock=clock) as airflow:
        await airflow.get("d", "r")
        server.failure = httpx.Response(404, text="no backend")
        for _ in range(50):
            with pytest.raises(AirflowUnavailable):
                await airflow.get("d", "r")
    assert server.count("/api/v2/version") == 1


async def test_what_a_setting_forces_is_never_asked_for(clock):
    server = Server("2.11.2")
    async with opened(server, "v2", clock=clock) as airflow:
        for _ in range(3):
            clock.advance(timedelta(minutes=1))
            assert isinstance(await airflow.trigger("d", "r", {}), TurnedAway)
    assert server.count("/api/v2/version") == server.count("/api/v1/version") == 0


async def test_a_token_goes_with_every_request_and_headers_too(clock):
    seen = []

    def answer(request):
        seen.append((request.headers.get("Authorization"), request.headers.get("X-Key")))
        return httpx.Response(200, json={"version": "3.3.2", **RUN, "run_after": DATE})

    async with opened(answer, clock=clock, airflow_token="tok", airflow_headers={"X-Key": "k"}) as airflow:
        await airflow.get("d", "r")
    assert seen == [("Bearer tok", "k")] * 2


async def test_headers_alone_are_a_log_in(clock):
    seen = []

    def answer(request):
        seen.append((request.headers.get("Authorization"), request.headers["X-Key"]))
        return httpx.Response(200, json={"version": "3.3.2", **RUN, "run_after": DATE})

    async with opened(answer, clock=clock, airflow_headers={"X-Key": "k"}) as airflow:
        await airflow.get("d", "r")
    assert seen == [(None, "k")] * 2
