"""Makes a worker whose table, topics and clock are in memory, with the console on a real web server."""

from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from yarl import URL

from streamapp.airflow.breaker import Breaker
from streamapp.airflow.guard import Guard
from streamapp.airflow.limit import Limit
from streamapp.console.hosts import refuse_others
from streamapp.console.pages import add_routes
from streamapp.console.peers import Peers
from streamapp.console.rendering import Html
from streamapp.console.worker import Membership, Worker
from streamapp.core.effects import Identity, place
from streamapp.core.events import Event
from streamapp.core.model import Entry, Holder
from streamapp.dispatch.dags import Dags
from streamapp.dispatch.fold import Folds
from streamapp.dispatch.gate import Gate
from streamapp.dispatch.partitions import Partitions
from streamapp.dispatch.ready import Ready
from streamapp.observe.figures import Following
from streamapp.observe.outcomes import OutcomeWatch
from streamapp.routes import Routes
from streamapp.wire import rows
from tests.support.builders import AT
from tests.support.instant_clock import InstantClock
from tests.support.memory import MemoryLedger, MemoryOutlet, Turns
from tests.support.memory_airflow import MemoryAirflow


class Ledger(MemoryLedger):
    """Notices iterators that are left open."""

    def __init__(self) -> None:
        super().__init__()
        self.open_scans = 0

    def scan(self, partition: int, start: bytes) -> Any:
        self.open_scans += 1
        try:
            yield from super().scan(partition, start)
        finally:
            self.open_scans -= 1


class Index:
    """What the folds tell, for the index in memory alone."""

    def __init__(self, ready: Ready) -> None:
        self.track = self.inherit = ready.track
        self.steer = ready.steer
        self.drop = ready.drop


class Bench:
    """A worker that folds what it is given, and shows it."""

    def __init__(self, numbers: tuple[int, ...]) -> None:
        self.numbers = frozenset(numbers)
        self.clock = InstantClock()
        self.clock.elapsed = AT - self.clock.now()
        self.ledger = Ledger()
        self.outlet = MemoryOutlet()
        self.outcomes = OutcomeWatch(self.outlet)
        self.turns = Turns()
        self.ready = Ready(self.clock, wake=lambda: None)
        self.partitions = Partitions(self.ledger, rows, Index(self.ready))
        self.folds = Folds(self.ledger, self.outcomes, Index(self.ready), soon=self.turns, fail=lambda _: None)
        self.gate = Gate(hold=lambda: None, release=lambda: None)
        self.airflow = MemoryAirflow(self.clock)
        self.guard = Guard(self.airflow, Limit(8, self.clock), Breaker(), self.clock)
        self.dags = Dags(self.airflow, self.clock, wanted=lambda: self.ready.dags)
        self.followed: dict[str, int] = {}
        self.passed_over = 0
        self.caught_up = True
        self.member = Membership(
            lease_remaining=timedelta(seconds=5),
            joined=True,
            rebalancing=False,
            restoring=False,
            url="",
            workers={},
            total=0,
        )
        self.url = ""
        self.hosts: set[str] = set()
        """Names by which it is reached, beside those that it has by itself."""
        self.session: aiohttp.ClientSession
        self.server: TestServer[Any]
        list(self.partitions.rebuild(numbers))

    # What happens to it

    def fold(self, event: Event, partition: int = 0) -> None:
        """Fold an event to its end."""
        where = self.partitions.get(partition)
        assert where is not None
        self.folds.fold(("log", partition), where, event, lambda: None)
        self.settle()

    def settle(self) -> None:
        """Let every log acknowledge what it was sent."""
        for _ in range(3):
            for log in list(self.ledger.changelogs.values()):
                log.take_all()
            self.turns.turn()
            self.outlet.take_all()
            self.turns.turn()
        assert self.folds.open == 0

    def store(self, *entries: Entry) -> None:
        """Put commands into the table, as if another worker had folded them; nothing remembers them in memory."""
        for entry in entries:
            database = self.ledger.databases[entry.source.partition]
            database[rows.row_key(place(entry))] = rows.row_value(entry)
            database[rows.row_key(Identity(entry.id))] = rows.row_value(Holder(entry.key, entry.source.offset))
        list(self.partitions.rebuild([partition.number for partition in self.partitions]))

    def take_away(self) -> None:
        """A rebalance takes its partitions away, and their databases are closed."""
        self.partitions.give_up()
        self.ledger.closed |= self.numbers

    def give_back(self) -> None:
        """It has its partitions again."""
        self.ledger.closed.clear()
        list(self.partitions.rebuild(self.numbers))

    def entry(self, key: bytes | None, offset: int, partition: int = 0) -> Entry:
        """A command as it stands."""
        entry = self.partitions.entry(partition, key, offset)
        assert entry is not None
        return entry

    def change(self, **fields: Any) -> None:
        """Stand otherwise in the group."""
        self.member = replace(self.member, **fields)

    # What it shows

    async def ask(self, path: str, **how: Any) -> aiohttp.ClientResponse:
        """Its answer. The path stays as it is: escapes must not be taken away on the way."""
        answer = await self.session.get(URL(self.url + path, encoded=True), **how)
        await answer.read()
        return answer

    async def get(self, path: str, status: int = 200) -> Any:
        """What it answers in JSON."""
        answer = await self.ask(path)
        assert answer.status == status, await answer.text()
        return await answer.json()

    async def page(self, path: str, status: int = 200) -> str:
        """A page of it."""
        answer = await self.ask(path)
        assert answer.status == status, await answer.text()
        assert answer.content_type == "text/html"
        return await answer.text()

    async def start(self, session: aiohttp.ClientSession, patience: timedelta) -> None:
        """Serve the console; other workers are given so long for an answer."""
        worker = Worker(
            clock=self.clock,
            membership=lambda: self.member,
            partitions=self.partitions,
            folds=self.folds,
            ready=self.ready,
            gate=self.gate,
            guard=self.guard,
            dags=self.dags,
            outcomes=self.outcomes,
            following=lambda: Following(runs=self.followed),
            passed_over=lambda: self.passed_over,
            caught_up=lambda: self.caught_up,
            pruned=lambda: 0,
            routes=Routes(None),
        )
        app = web.Application()
        peers = Peers(lambda: session, patience)
        refuse = refuse_others(lambda: self.member.url, self.hosts)
        add_routes(app, worker, peers, Html("shop", "http://airflow:8080"), refuse)
        self.session = session
        self.server = TestServer(app)
        await self.server.start_server()
        self.url = str(self.server.make_url("/")).rstrip("/")
        self.change(url=self.url, workers={self.url: self.numbers}, total=len(self.numbers))


@pytest.fixture
async def benches() -> AsyncIterator[Callable[..., Any]]:
    """Makes workers with these partitions each; they know each other."""
    started: list[Bench] = []
    async with aiohttp.ClientSession() as session:

        async def make(*partitions: tuple[int, ...], patience: timedelta = timedelta(seconds=30)) -> list[Bench]:
            for numbers in partitions:
                bench = Bench(numbers)
                await bench.start(session, patience)
                started.append(bench)
            workers = {bench.url: bench.numbers for bench in started}
            for bench in started:
                bench.change(workers=workers, total=sum(map(len, workers.values())))
            return started

        yield make
        for bench in started:
            await bench.server.close()
            assert bench.ledger.open_scans == 0


@pytest.fixture
async def bench(benches: Callable[..., Any]) -> Bench:
    """A worker that is alone, with partitions 0 and 1."""
    return (await benches((0, 1)))[0]
