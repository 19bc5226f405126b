"""Reads: logs and health of dispatchers. Writes: their processes. Each way to be compared, as something to start."""

import json
import os
import subprocess
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime

from benchmarks.peers.dispatchers.setup import READY
from benchmarks.peers.site import DAGS, PARTITIONS, Site
from stack.config import ROOT
from tests.support.eventually import eventually
from tests.support.installation import Installation, place_of
from tests.support.worker import Worker

START_AGAIN_AFTER_SECONDS = 0.5
READY_WITHIN_SECONDS = 90.0


class Dispatcher(ABC):
    """A way at work on one run's topic. A process that has ended is started again, by whoever calls `tick`."""

    processes: int

    def __init__(self) -> None:
        self.restarts = 0
        self._down_since: dict[int, float] = {}

    @abstractmethod
    def start(self) -> None:
        """Make the topic, start everything and wait until records would be taken."""

    @abstractmethod
    def stop(self) -> None:
        """End everything."""

    @abstractmethod
    def kill(self, number: int) -> None:
        """End one of its processes as a power cut does."""

    @abstractmethod
    def running(self, number: int) -> bool:
        """Whether one of its processes lives."""

    @abstractmethod
    def _start_one(self, number: int) -> None: ...

    def taken_in_after(self) -> dict[str, float]:
        """Seconds from a command's timestamp until it was taken in, by its key, where a way says so."""
        return {}

    def tick(self, now: float) -> None:
        """Start again what has ended, after a while."""
        for number in range(self.processes):
            if self.running(number):
                self._down_since.pop(number, None)
            elif now - self._down_since.setdefault(number, now) > START_AGAIN_AFTER_SECONDS:
                self.restarts += 1
                self._start_one(number)


class Program(Dispatcher):
    """One of the programs in benchmarks/peers/dispatchers."""

    processes = 1

    def __init__(self, site: Site, name: str, module: str, *arguments: str) -> None:
        super().__init__()
        self._site = site
        self._name = name
        self._call = [sys.executable, "-m", f"benchmarks.peers.dispatchers.{module}", *arguments]
        self._log = site.directory / f"{name}.log"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self._site.create_topic(self._name)
        self._start_one(0)
        eventually(self._check_ready, seconds=READY_WITHIN_SECONDS)

    def stop(self) -> None:
        self.kill(0)

    def kill(self, number: int) -> None:  # noqa: ARG002
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def running(self, number: int) -> bool:  # noqa: ARG002
        return self._process is not None and self._process.poll() is None

    def _start_one(self, number: int) -> None:  # noqa: ARG002
        api = self._site.through_proxy
        own = {
            "PYTHONPATH": str(ROOT),
            "PEER_TOPIC": self._name,
            "PEER_BOOTSTRAP_SERVERS": self._site.kafka.bootstrap_servers,
            "PEER_AIRFLOW_URL": api.url,
            "PEER_USERNAME": api.username,
            "PEER_PASSWORD": api.password,
        }
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", *self._call], cwd=ROOT, env={**os.environ, **own},
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip

    def _check_ready(self) -> None:
        assert READY in self._log.read_text(errors="replace"), f"no partitions assigned: {self._log}"


class Streamapp(Dispatcher):
    """Workers of this project."""

    def __init__(self, site: Site, name: str, workers: int, settings: dict[str, str]) -> None:
        super().__init__()
        self.processes = workers
        self._installation = Installation(name, site.directory, site.kafka, site.through_proxy, partitions=PARTITIONS)
        self._settings = settings
        self._workers: list[Worker] = []

    def start(self) -> None:
        self._installation.__enter__()
        self._installation.create_topics()
        for number in range(self.processes):
            settings = settings_of(self._settings, number)
            self._workers.append(self._installation.worker(f"worker{number}", **settings))
            self._start_one(number)
        for worker in self._workers:
            worker.wait_ready()

    def stop(self) -> None:
        self._installation.__exit__()

    def kill(self, number: int) -> None:
        self._workers[number].kill()

    def taken_in_after(self) -> dict[str, float]:
        """By the worker's clock, at the fold."""
        sent = {record.place: record for record in self._installation.records()}
        taken = {}
        for outcome in self._installation.outcomes():
            if outcome["status"] == "accepted":
                record = sent[place_of(outcome)]
                at: datetime = outcome["timings"]["accepted_at"]
                taken[(record.key or b"").decode()] = at.timestamp() - record.timestamp_ms / 1000
        return taken

    def running(self, number: int) -> bool:
        return self._workers[number].running

    def _start_one(self, number: int) -> None:
        self._workers[number].start(wait=False)


class AssetWatcher(Dispatcher):
    """Airflow's own: its triggerer watches the topic, and the scheduler makes the runs."""

    processes = 1

    def __init__(self, site: Site, name: str) -> None:
        super().__init__()
        self._site = site
        self._name = name
        self._dag = site.dags / f"{name}.py"
        self._triggerer = site.airflow.triggerer

    def start(self) -> None:
        self._site.create_topic(self._name)
        self._dag.write_text((DAGS / "watched.py.txt").read_text().replace("{name}", self._name))
        self._start_one(0)
        self._site.wait_for_dag(self._name)
        eventually(self._check_ready, seconds=READY_WITHIN_SECONDS)

    def stop(self) -> None:
        self._triggerer.stop()
        self._dag.unlink(missing_ok=True)

    def kill(self, number: int) -> None:  # noqa: ARG002
        self._triggerer.kill()

    def running(self, number: int) -> bool:  # noqa: ARG002
        return self._triggerer.running

    def _start_one(self, number: int) -> None:  # noqa: ARG002
        settings = {
            "bootstrap.servers": self._site.kafka.bootstrap_servers,
            "group.id": self._name,
            "auto.offset.reset": "earliest",
            "session.timeout.ms": 6000,
            "heartbeat.interval.ms": 1000,
        }
        os.environ["AIRFLOW_CONN_KAFKA_DEFAULT"] = json.dumps({"conn_type": "kafka", "extra": settings})
        self._triggerer.start(wait=False)

    def _check_ready(self) -> None:
        assert self._site.has_members(self._name), f"nobody reads {self._name}"


@dataclass(frozen=True)
class Way:
    """A way by its name."""

    name: str
    make: Callable[[Site, str], Dispatcher]
    most_commands: int | None = None
    """Where more would take too long."""


def streamapp(name: str, workers: int, settings: dict[str, str]) -> Way:
    """This project with so many workers and further settings."""
    return Way(name, lambda site, run: Streamapp(site, run, workers, settings))


def program(name: str, module: str, *arguments: str) -> Way:
    """Another program."""
    return Way(name, lambda site, run: Program(site, run, module, *arguments))


WAYS = [
    program("loop", "loop"),
    program("concurrent-8", "concurrent", "8"),
    program("concurrent-32", "concurrent", "32"),
    Way("asset-watcher", AssetWatcher, most_commands=12),
    program("hold", "hold"),
    streamapp("streamapp-1", 1, {}),
    streamapp("streamapp-2", 2, {}),
]


def defined(text: str) -> tuple[str, int, dict[str, str]]:
    """A way of this project from the command line: NAME=WORKERS[:STREAMAPP_SETTING=VALUE,…]."""
    name, _, rest = text.partition("=")
    workers, _, listed = rest.partition(":")
    pairs = (pair.partition("=") for pair in listed.split(",") if pair)
    return name, int(workers), {one.removeprefix("STREAMAPP_").lower(): value for one, _, value in pairs}


def settings_of(settings: Mapping[str, str], worker: int) -> dict[str, str]:
    """What one worker gets: {worker} stands for its number."""
    return {name: text.replace("{worker}", str(worker)) for name, text in settings.items()}
