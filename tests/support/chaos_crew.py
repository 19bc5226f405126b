"""Reads: exit codes and health of workers. Writes: nothing. Starts workers again, as a supervisor does."""

import signal
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from typing import TypeVar

import httpx

from streamapp.kafka import exits
from tests.support.eventually import eventually
from tests.support.worker import Worker

T = TypeVar("T")

ON_PURPOSE = {exits.LEASE_LOST, exits.UNSAFE, exits.STUCK}
"""Exit codes that may come at any time: the worker asks to be started again."""
READY_WITHIN_SECONDS = 180.0


class UnforeseenEnd(Exception):
    """A worker has ended with an exit code that is not documented, and nobody had asked it to."""


class Crew:
    """Workers under a supervisor that works whenever somebody waits here."""

    def __init__(self, workers: list[Worker], extra: Worker) -> None:
        self.workers = workers
        """Those that belong to the installation."""
        self.extra = extra
        """One more, that comes and goes."""
        self.exits: Counter[int] = Counter()
        """How workers have ended."""
        self._wanted = set(workers)
        self._rests: dict[Worker, float] = {}
        self._asked: defaultdict[Worker, set[int]] = defaultdict(set)
        self._started: set[Worker] = set()

    @property
    def all(self) -> list[Worker]:
        """Everybody."""
        return [*self.workers, self.extra]

    # What is done to them

    def kill(self, worker: Worker, *, rest_seconds: float = 0.0, lose_data: bool = False) -> None:
        """End it as a power cut does; for some seconds it does not come back."""
        self._signal(worker, signal.SIGKILL, {-signal.SIGKILL})
        self.wait(lambda: _ended(worker), supervise=False)
        if lose_data and worker.data.exists():
            worker.forget_data()
        self._rests[worker] = time.monotonic() + rest_seconds

    def terminate(self, worker: Worker) -> None:
        """Ask it to end. It may have begun so lately that nobody in it hears the signal yet."""
        self._signal(worker, signal.SIGTERM, {0, -signal.SIGTERM})

    def join(self, worker: Worker) -> None:
        """Let it take part, from now on."""
        self._wanted.add(worker)
        self.tick()

    def leave(self, worker: Worker) -> None:
        """Let it end, and not come back."""
        self._wanted.discard(worker)
        self.terminate(worker)

    def _signal(self, worker: Worker, number: signal.Signals, codes: set[int]) -> None:
        self._asked[worker] |= codes
        if worker.running:
            worker.signal(number)

    # What a supervisor does

    def tick(self) -> None:
        """Note who has ended, and start who should run.

        Raises:
            UnforeseenEnd: somebody's.
        """
        for worker in self.all:
            if worker.running:
                continue
            self._note_end(worker)
            if worker in self._wanted and time.monotonic() >= self._rests.get(worker, 0.0):
                worker.start(wait=False)
                self._started.add(worker)

    def _note_end(self, worker: Worker) -> None:
        asked = self._asked.pop(worker, set())
        if worker not in self._started:
            return
        self._started.discard(worker)
        code = worker.exit_code
        assert code is not None
        self.exits[code] += 1
        if code not in asked | ON_PURPOSE:
            raise UnforeseenEnd(f"{worker.name} ended with {code}, and nobody had asked it to\n{worker.log_tail}")

    def wait(self, check: Callable[[], T], seconds: float = 60.0, *, supervise: bool = True) -> T:
        """Wait for a condition; whoever ends meanwhile is started again."""

        def checked() -> T:
            if supervise:
                self.tick()
            return check()

        return eventually(checked, seconds=seconds)

    def hold(self, seconds: float) -> None:
        """Let time pass."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.tick()
            time.sleep(0.1)

    # What they show

    def check_ready(self) -> None:
        """Fail while one that should take part does not."""
        for worker in self._wanted:
            assert status(worker, "/health/ready") is not None, f"{worker.name} is not ready\n{worker.log_tail}"

    def check_all_owned(self, partitions: int, *, without: Worker | None = None) -> None:
        """Fail unless each partition has one owner among those that run; one of them may be left out."""
        owned = Counter(number for worker in self.all if worker is not without for number in owns(worker))
        assert owned == Counter(range(partitions)), f"owners of partitions: {owned}"


def owns(worker: Worker) -> list[int]:
    """The partitions that it says it has."""
    found = status(worker, "/api/v1/status") if worker.running else None
    return list(found["partitions"]) if found else []


def status(worker: Worker, path: str) -> dict[str, object] | None:
    """What it answers, None unless that is a success."""
    try:
        answer = worker.get(path)
    except httpx.HTTPError:
        return None
    return answer.json() if answer.is_success else None


def _ended(worker: Worker) -> None:
    assert not worker.running
