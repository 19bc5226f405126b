"""Measures the limit of requests in flight on real Airflows. Reads: Airflows of its own. Writes: stdout, plots.

    python -m benchmarks.limit [--databases postgres sqlite] [--fixed 1 2 4] [--workers 1 3] [--at-work]
                               [--rounds 6] [--seconds 10] [--warm-up 60] [--plots FOLDER]

A backlog without end is triggered with fixed numbers of requests in flight, of all workers together, and with the limit
that learns; by one worker and by several, each with its own guard, its own polls and its own connections, and with
permits that one of them lends to the others. They take turns of some seconds before the same Airflow, so that a change
of the machine's or the database's speed meets all of them; the limit that learns goes alone at first, and its clock
stands still between its turns. What locks SQLite up has an Airflow of its own. The DAG is paused, so that its runs stay
queued and nothing but the API works; with --at-work Airflow runs them meanwhile.
"""

import argparse
import asyncio
import json
import os
import secrets
import subprocess
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import mean, quantiles
from typing import Self

import httpx
from aiohttp import web
from pydantic import SecretStr

from benchmarks.plots import bars
from stack.airflow import USERNAME, AirflowApi
from streamapp.agents.lending import PATH, Lending
from streamapp.airflow.breaker import Breaker
from streamapp.airflow.chosen import ChosenAirflow
from streamapp.airflow.connect import connect
from streamapp.airflow.guard import Guard
from streamapp.airflow.limit import Limit
from streamapp.airflow.port import AirflowUnavailable, Created, TurnedAway, Uncertain
from streamapp.clock import SystemClock
from streamapp.settings import Settings
from tests.support.eventually import eventually
from tests.support.limit_model import Fixed
from tests.support.stack import Airflow, private

PARTITIONS = 8
TOTAL = 8
POLL = timedelta(seconds=0.3)
DAG = "probe"
PASSWORD = Airflow.password


@dataclass
class Load:
    """What a load came to."""

    latencies: list[float] = field(default_factory=list)
    failures: Counter[str] = field(default_factory=Counter)
    permits: list[int] = field(default_factory=list)
    rates: list[float] = field(default_factory=list)
    """Triggers a second, of each turn."""
    warm_failures: int = 0

    def warmed_up(self) -> None:
        """Forget all but how much failed."""
        self.warm_failures = self.failures.total()
        for part in (self.latencies, self.permits, self.rates, self.failures):
            part.clear()

    def result(self, name: str) -> "Result":
        """What it came to."""
        cuts = quantiles(self.latencies, n=100) if len(self.latencies) > 1 else [0.0] * 99
        permits = mean(self.permits) if self.permits else 0.0
        return Result(
            name=name,
            per_second=mean(self.rates),
            lowest=min(self.rates),
            highest=max(self.rates),
            p50_ms=1000 * cuts[49],
            p99_ms=1000 * cuts[98],
            permits=permits,
            failures=Counter(self.failures),
            warm_failures=self.warm_failures,
        )


@dataclass(frozen=True, kw_only=True)
class Result:
    """A line of the table."""

    name: str
    per_second: float
    lowest: float
    highest: float
    p50_ms: float
    p99_ms: float
    permits: float
    failures: Counter[str]
    warm_failures: int

    def __str__(self) -> str:
        failures = ", ".join(f"{count} {what}" for what, count in self.failures.items()) or "none"
        rate = f"{self.per_second:.1f} ({self.lowest:.1f} to {self.highest:.1f})"
        return (
            f"| {self.name} | {rate} | {self.p50_ms:.0f} | {self.p99_ms:.0f} | {self.permits:.1f} "
            f"| {failures} | {self.warm_failures} |"
        )


class Stopwatch(SystemClock):
    """A clock that stands still between the turns."""

    def __init__(self) -> None:
        self._passed = 0.0
        self._since: float | None = None

    @contextmanager
    def runs(self) -> Iterator[None]:
        """It goes on meanwhile."""
        self._since = super().monotonic()
        try:
            yield
        finally:
            self._passed, self._since = self.monotonic(), None

    def monotonic(self) -> float:
        """Seconds of turns."""
        return self._passed + (0.0 if self._since is None else super().monotonic() - self._since)


class Worker:
    """The way of one worker to Airflow, with an endless backlog before it."""

    def __init__(self, url: str, owned: frozenset[int], crew: "Crew", fixed: int | None) -> None:
        self._load = crew.load
        self._crew = crew
        self._owned = owned
        self._clock = crew.clock
        settings = Settings(airflow_url=url, airflow_username=USERNAME, airflow_password=SecretStr(PASSWORD))
        self._airflow: ChosenAirflow = connect(settings, self._clock)
        self._room = asyncio.Event()
        self.limit = Limit(TOTAL, self._clock, self._room.set)
        if fixed is not None:
            self.limit.own.gradient = Fixed(fixed)
        self._guard = Guard(self._airflow, self.limit, Breaker(), self._clock, self._room.set)
        self.lending = Lending(self.limit, settings, SystemClock(), lender=lambda: crew.lender)

    @asynccontextmanager
    async def at_the_web(self) -> AsyncIterator[str]:
        """Its own web server; gives its address."""
        app = web.Application()
        app.router.add_get(PATH, self.lending.serve)
        app.on_shutdown.append(self.lending.close)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        borrowing = asyncio.create_task(self.lending.run())
        try:
            yield f"http://127.0.0.1:{runner.addresses[0][1]}"
        finally:
            borrowing.cancel()
            await runner.cleanup()

    async def join(self) -> None:
        """Take its partitions, and the permits that go with them."""
        self.lending.share(self._owned, PARTITIONS)
        while not self.lending.lends and self.lending.borrows_from is None:
            await self._clock.sleep(timedelta(milliseconds=10))

    async def run(self, until: float) -> None:
        """Trigger until a time."""
        others = [asyncio.create_task(work()) for work in (self._guard.watch, self._poll, self._tick)]
        tries: set[asyncio.Task[None]] = set()
        while self._clock.monotonic() < until:
            while self._guard.breaker.passes and self.limit.try_acquire():
                task = asyncio.create_task(self._try(until))
                tries.add(task)
                task.add_done_callback(tries.discard)
            self._room.clear()
            await self._room.wait()
        await asyncio.gather(*tries)
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def close(self) -> None:
        """Close connections."""
        await self._airflow.close()

    async def _try(self, until: float) -> None:
        began = self._clock.monotonic()
        try:
            answer = await self._guard.starting.trigger(DAG, f"limit-{secrets.token_hex(8)}", {"seconds": 0.2})
        finally:
            self.limit.release()
        now = self._clock.monotonic()
        if isinstance(answer, Uncertain | TurnedAway):
            self._load.failures[answer.detail[:40]] += 1
        elif now <= until:
            assert isinstance(answer, Created), answer
            self._load.latencies.append(now - began)
            self._load.permits.append(self.limit.source.number)

    async def _poll(self) -> None:
        due = self._clock.monotonic()
        while True:
            # At fixed times: where triggers take long, no fewer polls may be the result.
            due = max(due + POLL.total_seconds(), self._clock.monotonic())
            await self._clock.sleep(timedelta(seconds=due - self._clock.monotonic()))
            with suppress(AirflowUnavailable):
                await self._guard.reading.list_ended([DAG], datetime.now(UTC) - timedelta(seconds=5))

    async def _tick(self) -> None:
        while True:
            await self._clock.sleep(timedelta(milliseconds=100))
            self._room.set()


class Crew:
    """Workers that share permits."""

    def __init__(self, workers: int, fixed: int | None) -> None:
        self.name = f"{workers} worker{'s' if workers > 1 else ''}, " + (
            "learned" if fixed is None else f"fixed: {fixed}"
        )
        self.load = Load()
        self.clock = Stopwatch()
        self.lender: str | None = None
        self._count = workers
        self._fixed = fixed
        self._workers: list[Worker] = []

    @asynccontextmanager
    async def before(self, url: str) -> AsyncIterator[Self]:
        """Before an Airflow, ready to begin."""
        owned = [frozenset(range(number, PARTITIONS, self._count)) for number in range(self._count)]
        self._workers = [Worker(url, each, self, self._fixed) for each in owned]
        async with AsyncExitStack() as stack:
            for worker in self._workers:
                stack.push_async_callback(worker.close)
                address = await stack.enter_async_context(worker.at_the_web())
                self.lender = self.lender or address
            for worker in self._workers:
                await worker.join()
            yield self

    async def turn(self, seconds: float) -> None:
        """Trigger for so long."""
        before = len(self.load.latencies)
        with self.clock.runs():
            until = self.clock.monotonic() + seconds
            await asyncio.gather(*(worker.run(until) for worker in self._workers))
        self.load.rates.append((len(self.load.latencies) - before) / seconds)

    def result(self) -> Result:
        """What it came to; printed, too."""
        result = self.load.result(self.name)
        print(result, flush=True)
        return result


async def alone(url: str, crew: Crew, arguments: argparse.Namespace) -> list[Result]:
    """One that would disturb the others."""
    await pause(url, paused=not arguments.at_work)
    async with crew.before(url):
        await crew.turn(arguments.rounds * arguments.seconds)
    return [crew.result()]


async def side_by_side(url: str, crews: Sequence[Crew], arguments: argparse.Namespace) -> list[Result]:
    """All in turn; the last one learns, and begins."""
    await pause(url, paused=not arguments.at_work)
    async with AsyncExitStack() as stack:
        for crew in crews:
            await stack.enter_async_context(crew.before(url))
        await crews[-1].turn(arguments.warm_up)
        crews[-1].load.warmed_up()
        for number in range(arguments.rounds):
            for place in range(len(crews)):
                await crews[(number + place) % len(crews)].turn(arguments.seconds)
    return [crew.result() for crew in crews]


async def pause(url: str, *, paused: bool) -> None:
    """Pause the DAG, or not."""
    async with httpx.AsyncClient(base_url=url, timeout=60) as client:
        body = {"username": USERNAME, "password": PASSWORD}
        token = (await client.post("/auth/token", json=body)).json()["access_token"]
        client.headers["Authorization"] = f"Bearer {token}"
        answer = await client.patch(f"/api/v2/dags/{DAG}", json={"is_paused": paused})
        answer.raise_for_status()


def check_ready(url: str) -> None:
    """Airflow answers, and has the DAG."""
    try:
        asyncio.run(pause(url, paused=False))
    except (httpx.HTTPError, KeyError) as error:
        raise AssertionError(f"Airflow is not ready: {error}") from error


@contextmanager
def on_sqlite(directory: Path) -> Iterator[str]:
    """The same Airflow on SQLite."""
    config = private(directory, airflow_password=PASSWORD)
    part, home = AirflowApi(config), config.state / "airflow"
    home.mkdir(parents=True)
    (home / "passwords.json").write_text(json.dumps({USERNAME: PASSWORD}))
    (config.state / "postgres.password").write_text("unused")
    database = {"AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home}/airflow.db"}
    program = part._program  # noqa: SLF001
    environment = {**os.environ, **part._environment(), **database}  # noqa: SLF001
    subprocess.run([program, "db", "migrate"], check=True, capture_output=True, env=environment)
    processes = []
    try:
        for command in (["api-server"], ["dag-processor"], ["scheduler", "--skip-serve-logs"]):
            with (directory / f"{command[0]}.log").open("wb") as log:
                processes.append(subprocess.Popen([program, *command], env=environment, stdout=log, stderr=log))
        eventually(lambda: check_ready(config.airflow_url), seconds=180)
        yield config.airflow_url
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.wait(30)


@contextmanager
def on_postgres(directory: Path) -> Iterator[str]:
    """Airflow as the stack has it."""
    with Airflow(directory) as airflow:
        yield airflow.url


def measure(database: str, workers: int, arguments: argparse.Namespace) -> list[Result]:
    """Every load, by so many workers."""
    start = {"postgres": on_postgres, "sqlite": on_sqlite}[database]
    harmful = [number for number in arguments.fixed if database == "sqlite" and number > 1]
    crews = [Crew(workers, number) for number in (*arguments.fixed, None) if number not in harmful]
    with tempfile.TemporaryDirectory() as folder, start(Path(folder)) as url:
        results = asyncio.run(side_by_side(url, crews, arguments))
    for number in harmful if workers == 1 else ():
        with tempfile.TemporaryDirectory() as folder, start(Path(folder)) as url:
            results += asyncio.run(alone(url, Crew(workers, number), arguments))
    return results


def plot(folder: Path, database: str, workers: int, work: str, results: list[Result]) -> None:
    """Bars of throughput and of the slowest answers."""
    folder.mkdir(parents=True, exist_ok=True)
    by = f"{workers} worker{'s' if workers > 1 else ''}"
    colours = {one.name: "#4e79a7" if "fixed" in one.name else "#59a14f" for one in results}
    for what, title, figures in (
        ("rate", "Triggers a second", {one.name: (one.per_second, one.lowest, one.highest) for one in results}),
        ("p99", "p99 of a trigger in ms", {one.name: (one.p99_ms, one.p99_ms, one.p99_ms) for one in results}),
    ):
        text = bars(f"{title}: {database}, {by}, {work}", figures, {}, "in turns before the same Airflow", colours)
        (folder / f"limit-{database}-{what}-{by.replace(' ', '-')}.svg").write_text(text)


def main() -> None:
    """Measure on each database."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--databases", nargs="+", default=["postgres", "sqlite"], choices=["postgres", "sqlite"])
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--seconds", type=float, default=10, help="of a turn")
    parser.add_argument("--warm-up", type=float, default=60, help="seconds for the limit that learns")
    parser.add_argument("--fixed", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 3])
    parser.add_argument("--at-work", action="store_true", help="let Airflow run what is triggered")
    parser.add_argument("--plots", type=Path, help="folder for plots")
    arguments = parser.parse_args()
    work = "at work" if arguments.at_work else "DAG paused"
    for database in arguments.databases:
        print(f"\n{database}, {work}")
        print("| workers, in flight | triggers a second | p50 ms | p99 ms | permits | failures | while warming up |")
        print("|---|---|---|---|---|---|---|", flush=True)
        for workers in arguments.workers:
            results = measure(database, workers, arguments)
            if arguments.plots:
                plot(arguments.plots, database, workers, work, results)


if __name__ == "__main__":
    main()
