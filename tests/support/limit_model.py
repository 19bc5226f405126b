"""Airflow's API as it was measured under load, in virtual time, with the real limit, breaker and guard before it.

Reads: how throughput depends on what is in flight (`SHAPES`). Writes: nothing; answers what a load came to.

    python -m tests.support.limit_model     prints the table of docs/concepts/limit.md
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from random import Random
from statistics import quantiles
from typing import Any

from streamapp.airflow.breaker import Breaker
from streamapp.airflow.gradient import Gradient
from streamapp.airflow.guard import Guard, GuardedAirflow
from streamapp.airflow.lending import Lender, Loan
from streamapp.airflow.limit import Limit
from streamapp.airflow.port import AirflowUnavailable, Created, DagRun, DagRunState, TriggerAnswer, Uncertain, always
from tests.simulator.scheduler import Future, Scheduler, as_running_loop
from tests.support.manual_clock import START

LOCK_MS = 5000
"""How long SQLite waits for a lock before it gives up."""
TIMEOUT_MS = 30_000
DEFECT = "defect"
"""A DAG for which Airflow can't create runs, whatever else it is asked for."""
DEFECT_FIRST_MS = 60_000
DEFECT_EVERY_MS = 30_000
DEFECT_MS = 3000
"""How long Airflow takes to say so."""
POLL_MS = 300
LINK_MS = 0.5
"""From a worker to another."""
SPREAD = 0.3
"""Of the work of a request: the standard deviation of its logarithm."""


@dataclass(frozen=True)
class Shape:
    """A server under load."""

    alone: float
    """Requests a second with one in flight."""
    most: float
    """Requests a second with as many in flight as are of use."""
    wedges_at: int = 10**9
    """So many in flight, and none is answered any more."""
    locks: bool = False
    """Whether two triggers at a time lock each other out: one is answered 500 after 5 s, the other goes on then."""

    def rate(self, in_flight: int) -> float:
        """Requests a second."""
        return 0.0 if in_flight >= self.wedges_at else min(self.alone * in_flight, self.most)


SHAPES = {
    "sqlite": Shape(alone=45, most=45, locks=True),
    "postgres": Shape(alone=33.9, most=47, wedges_at=32),
    "postgres at work": Shape(alone=19.6, most=22, wedges_at=32),
    "scaled out": Shape(alone=33.9, most=33.9 * 12, wedges_at=100),
}


@dataclass
class Load:
    """What a load came to, from the end of the warm-up on."""

    seconds: float
    latencies: list[float] = field(default_factory=list)
    failures: int = 0

    @property
    def per_second(self) -> float:
        return len(self.latencies) / self.seconds

    @property
    def p99_ms(self) -> float:
        return 1000 * quantiles(self.latencies, n=100)[98]


class Fixed(Gradient):
    """A number that does not learn."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self._number = number

    def sample(self, seconds: float, now: float) -> None:
        self.recent = seconds

    def failed(self, seconds: float, now: float, *, again: bool = False) -> None:
        pass

    def share(self, bound: int) -> None:
        pass


@dataclass(eq=False)
class _Request:
    left: float
    done: Callable[[bool], None]
    trigger: bool
    locked: bool = False


class Server:
    """Shares its rate among what is in flight."""

    def __init__(self, shape: Shape, scheduler: Scheduler, random: Random) -> None:
        self.shape = shape
        self.in_flight: list[_Request] = []
        self.peak = 0
        self._scheduler = scheduler
        self._random = random
        self._at = 0
        self._plan = 0

    async def serve(self, weight: float = 1.0, *, trigger: bool = True) -> bool:
        """Carry out a request; answers whether that worked."""
        future = Future()
        work = weight * self._random.lognormvariate(-(SPREAD**2) / 2, SPREAD)
        request = _Request(work, future.set_result, trigger)
        self._pass_time()
        triggers = [other for other in self.in_flight if other.trigger]
        self.in_flight.append(request)
        self.peak = max(self.peak, len(self.in_flight))
        if self.shape.locks and trigger and triggers:
            for one, worked in ((triggers[0], True), (request, False)):
                if not one.locked:
                    one.locked = True
                    self._scheduler.after(LOCK_MS, None, partial(self._end, one, worked))
        elif self.shape.wedges_at < 10**9:
            self._scheduler.after(TIMEOUT_MS, None, partial(self._end, request, False))
        self._replan()
        return bool(await future)

    def _end(self, request: _Request, worked: bool) -> None:
        if request in self.in_flight:
            self._pass_time()
            self.in_flight.remove(request)
            request.done(worked)
            self._replan()

    def _working(self) -> list[_Request]:
        return [request for request in self.in_flight if not request.locked]

    def _pass_time(self) -> None:
        now, working = self._scheduler.now, self._working()
        if working:
            each = self.shape.rate(len(self.in_flight)) / len(self.in_flight) * (now - self._at) / 1000
            for request in working:
                request.left -= each
        self._at = now

    def _replan(self) -> None:
        self._plan += 1
        working, rate = self._working(), self.shape.rate(len(self.in_flight))
        if working and rate:
            first = min(working, key=lambda request: request.left)
            wait = max(1, round(1000 * first.left / (rate / len(self.in_flight))))
            self._scheduler.after(wait, None, partial(self._arrive, self._plan, first))

    def _arrive(self, plan: int, request: _Request) -> None:
        if plan == self._plan:
            self._end(request, True)


class _Clock:
    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler

    def now(self) -> datetime:
        return START + timedelta(milliseconds=self._scheduler.now)

    def monotonic(self) -> float:
        return self._scheduler.now / 1000

    async def sleep(self, delay: timedelta) -> None:
        future = Future()
        self._scheduler.after(max(1, round(delay.total_seconds() * 1000)), None, future.set_result)
        await future


class _Port:
    """The few verbs that a load needs."""

    def __init__(self, server: Server, clock: "_Clock") -> None:
        self._server = server
        self._clock = clock

    async def trigger(
        self, dag_id: str, run_id: str, conf: Mapping[str, Any], still_due: Callable[[], bool] = always
    ) -> TriggerAnswer:
        if dag_id == DEFECT:
            await self._clock.sleep(timedelta(milliseconds=DEFECT_MS))
            return Uncertain("500: it can't be serialized")
        if await self._server.serve():
            return Created(DagRun(dag_id=dag_id, run_id=run_id, state=DagRunState.QUEUED, conf=conf))
        return Uncertain("500: database is locked")

    async def get(self, dag_id: str, run_id: str) -> DagRun | None:
        await self._server.serve(0.2, trigger=False)
        return None

    async def list_ended(self, dag_ids: object, since: datetime) -> Sequence[DagRun]:
        await self._server.serve(0.5, trigger=False)
        return []

    async def health(self) -> str:
        await self._server.serve(0.2, trigger=False)
        return "model"


class _Worker:
    """Always has something to start, and polls."""

    def __init__(self, model: "Model", owned: frozenset[int], total: int, fixed: int | None) -> None:
        self.model = model
        self._planned = False
        self._owned = owned
        self.limit = Limit(total, model.clock, self._wake)
        if fixed is not None:
            self.limit.own.gradient = Fixed(fixed)
        self.guard = Guard(model.port, self.limit, Breaker(), model.clock, self._wake)  # type: ignore[arg-type]
        self.limit.share(owned, model.partitions)
        self._starting: GuardedAirflow = self.guard.starting
        self._reading: GuardedAirflow = self.guard.reading
        model.spawn(self.guard.watch())
        model.spawn(self._poll())
        model.spawn(self._tick())

    def borrow(self, lender: Lender) -> None:
        """Have the permits of another worker."""
        desk = lender.open(self.model.post(lambda text: loan.take(text)))  # noqa: PLW0108 - made at the same time
        loan = Loan(self.model.post(desk.take), tuple(self._owned), self.model.clock)
        self.limit.use(loan)

    def _wake(self) -> None:
        if not self._planned:
            self._planned = True
            self.model.scheduler.after(0, None, self._start)

    def _start(self) -> None:
        self._planned = False
        while self.guard.breaker.passes and self.limit.try_acquire():
            self.model.spawn(self._trigger())

    async def _trigger(self) -> None:
        model = self.model
        if model.defect_is_due():
            await self._starting.trigger(DEFECT, "run", {})
            with suppress(AirflowUnavailable):
                await self._starting.get(DEFECT, "run")  # as ever after an answer that leaves it open
            self.limit.release()
            return
        began = model.clock.monotonic()
        answer = await self._starting.trigger("dag", "run", {})
        model.note(model.clock.monotonic() - began, isinstance(answer, Created))
        await model.clock.sleep(timedelta(milliseconds=1))  # what the worker itself needs until the next
        self.limit.release()

    async def _poll(self) -> None:
        while True:
            await self.model.clock.sleep(timedelta(milliseconds=POLL_MS - self.model.scheduler.now % POLL_MS))
            began = self.model.clock.monotonic()
            with suppress(AirflowUnavailable):
                await self._reading.list_ended(["dag"], START)
                self.model.note_poll(self.model.clock.monotonic() - began)

    async def _tick(self) -> None:
        while True:
            await self.model.clock.sleep(timedelta(milliseconds=100))
            self._wake()


class Model:
    """Workers with an endless backlog before one server."""

    def __init__(
        self,
        shape: Shape,
        *,
        workers: int = 1,
        total: int = 8,
        fixed: int | None = None,
        partitions: int = 8,
        seed: int = 1,
        defect: bool = False,
    ) -> None:
        self.scheduler = Scheduler()
        self.clock = _Clock(self.scheduler)
        self.partitions = partitions
        self.server = Server(shape, self.scheduler, Random(seed))
        self.port = _Port(self.server, self.clock)
        self.polls = 0
        self.longest_poll = 0.0
        self.load = Load(0.0)
        self._options = workers, total, fixed
        self._defect_at = DEFECT_FIRST_MS if defect else 10**9

    def run(self, seconds: int, *, warm_up: int = 0) -> Load:
        """Let so much time pass, after the warm-up."""
        workers, total, fixed = self._options
        crew: list[_Worker] = []
        with as_running_loop():
            for index in range(workers):
                owned = frozenset(range(index, self.partitions, workers))
                crew.append(_Worker(self, owned, total, fixed))
            lender = Lender(crew[0].limit)
            for worker in crew[1:]:
                worker.borrow(lender)
            self._until(warm_up * 1000)
            self.load = Load(seconds)
            self._until((warm_up + seconds) * 1000)
        return self.load

    def spawn(self, coroutine: Any) -> None:
        self.scheduler.spawn(None, coroutine)  # type: ignore[arg-type]

    def post(self, take: Callable[[str], None]) -> Callable[[str], None]:
        """A way for messages, in order."""
        return lambda text: self.scheduler.after(LINK_MS, None, partial(take, text))

    def defect_is_due(self) -> bool:
        """Whether the next start is that of the DAG for which no run can be created."""
        due = self.scheduler.now >= self._defect_at
        if due:
            self._defect_at = self.scheduler.now + DEFECT_EVERY_MS
        return due

    def note(self, seconds: float, worked: bool) -> None:
        """A trigger has ended."""
        if worked:
            self.load.latencies.append(seconds)
        else:
            self.load.failures += 1

    def note_poll(self, seconds: float) -> None:
        """A poll has ended."""
        if self.load.seconds:  # after the warm-up
            self.polls += 1
            self.longest_poll = max(self.longest_poll, seconds)

    def _until(self, end_ms: int) -> None:
        while self.scheduler.now < end_ms:
            event = self.scheduler.pop()
            assert event is not None
            event[1]()


def best_fixed(shape: Shape, numbers: Sequence[int], seconds: int = 60, *, workers: int = 1) -> float:
    """The best throughput of a fixed number in flight, of all workers together."""
    return max(Model(shape, fixed=number, workers=workers).run(seconds).per_second for number in numbers)


def main() -> None:
    """Print what fixed numbers and the limit that learns come to, with one worker and with three."""
    logging.disable(logging.CRITICAL)
    print("| Server | Workers, in flight | Triggers a second | p99 ms | Failures |\n|---|---|---|---|---|")
    for name, shape in SHAPES.items():
        total, numbers = (24, [1, 4, 12, 16]) if name == "scaled out" else (8, [1, 2, 4, 8])
        seconds = 30 if name == "scaled out" else 180
        for workers in (1, 3):
            for fixed in numbers:
                load = Model(shape, workers=workers, total=total, fixed=fixed).run(60)
                _print_row(name, f"{workers}, fixed: {fixed}", load)
            load = Model(shape, total=total, workers=workers).run(seconds, warm_up=60)
            _print_row(name, f"{workers}, learned", load)


def _print_row(server: str, name: str, load: Load) -> None:
    p99 = f"{load.p99_ms:.0f}" if len(load.latencies) > 1 else "-"
    figures = f"{load.per_second:.1f} | {p99} | {load.failures}"
    print(f"| {server} | {name} | {figures} |", flush=True)


if __name__ == "__main__":
    main()
