"""An Airflow that answers as a test says: reads requests of the port, writes answers made by hand. No I/O."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx

from streamapp.airflow.chosen import ChosenAirflow
from streamapp.airflow.connect import connect
from streamapp.clock import Clock
from streamapp.settings import Settings
from tests.support.manual_clock import ManualClock


class AirflowAnswers:
    """Answers log-ins, and all else with the next of `answers`, the last of them for ever; one may be an error."""

    def __init__(self) -> None:
        self.tokens = 0
        self.requests: list[httpx.Request] = []
        self.answers: list[httpx.Response | Exception] = []

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        if request.url.path == "/auth/token":
            self.tokens += 1
            return httpx.Response(201, json={"access_token": f"token{self.tokens}"})
        self.requests.append(request)
        await asyncio.sleep(0)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


@asynccontextmanager
async def opened(
    answer: Callable[[httpx.Request], Any] | Callable[[httpx.Request], Awaitable[httpx.Response]],
    api: str = "auto",
    *,
    clock: Clock | None = None,
    **settings: Any,
) -> AsyncIterator[ChosenAirflow]:
    """The port to it; user and password unless the settings say otherwise."""
    if not settings:
        settings = {"airflow_username": "ann", "airflow_password": "x"}
    full = Settings(airflow_url="http://airflow", airflow_api=api, **settings)
    airflow = connect(full, clock or ManualClock(), transport=httpx.MockTransport(answer))
    try:
        yield airflow
    finally:
        await airflow.close()
