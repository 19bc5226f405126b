"""Two workers under kills, terms and freezes, on 16 partitions: the history holds, tables equal their changelogs."""

import asyncio
import itertools
import random
import signal
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest

from streamapp.cli.tables import tables_check
from streamapp.kafka import exits
from streamapp.settings import load_settings
from tests.support.airflow_api import FakeAirflowProcess
from tests.support.eventually import eventually
from tests.support.installation import Draft, Installation, command
from tests.support.stack import Kafka
from tests.support.worker import Worker

PARTITIONS = 16
KEYS = 60
PER_SECOND = 12
PLAN = {"kill": 12, "term": 12, "freeze": 6, "kill both": 3}
SEED = 20261123


class Load:
    """Sends commands at a steady pace from a thread of its own."""

    def __init__(self, site: Installation) -> None:
        self.sent: list[Draft] = []
        self._site = site
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._send)

    def _send(self) -> None:
        chance = random.Random(SEED)
        for number in itertools.count():
            if self._end.wait(1 / PER_SECOND):
                return
            key = b"key-%d" % chance.randrange(KEYS)
            seconds = chance.choice([0.0, 0.05, 0.3])
            self.sent += self._site.send(command(key, id=f"c{number}", seconds=seconds, fail=number % 25 == 0))

    @contextmanager
    def running(self) -> Iterator[None]:
        self._thread.start()
        try:
            yield
        finally:
            self._end.set()
            self._thread.join()


@pytest.mark.timeout(900)
def test_kills_terms_and_freezes(
    kafka: Kafka, airflow: FakeAirflowProcess, tmp_path_factory: pytest.TempPathFactory
) -> None:
    chance = random.Random(SEED)
    plan = [kind for kind, times in PLAN.items() for _ in range(times)]
    chance.shuffle(plan)
    injected: Counter[str] = Counter()
    with Installation("chaos", tmp_path_factory.mktemp("chaos"), kafka, airflow, partitions=PARTITIONS) as site:
        site.create_topics()
        workers = site.start_workers("one", "two")
        load = Load(site)
        with load.running():
            for kind in plan:
                inject(kind, workers, chance)
                injected[kind] += 1
                supervise(workers, chance)
        endings = site.endings(load.sent, seconds=120)
        for worker in workers:
            worker.wait_ready()
        assert site.violations() == []
        found = asyncio.run(tables_check(load_settings(site.environment | {"STREAMAPP_WORKER_URL": workers[0].url})))
        assert [check for check in found if check.state != "ok"] == []
        print(f"{len(endings)} commands, {dict(injected)}, {len(found)} tables equal their changelogs")
    assert injected == PLAN


def inject(kind: str, workers: list[Worker], chance: random.Random) -> None:
    """Do it to one of the workers; both are in the middle of something."""
    victim, other = chance.sample(workers, 2)
    match kind:
        case "kill":
            victim.kill()
            if chance.random() < 0.3:
                victim.forget_data()
        case "term":
            # It may have begun so lately that nobody in it hears the signal yet.
            assert victim.terminate() in {0, -signal.SIGTERM}
        case "kill both":
            for worker in workers:
                worker.signal(signal.SIGKILL)
            for worker in workers:
                worker.wait()
        case "freeze":
            eventually(lambda: owns(victim, PARTITIONS // 2), seconds=60)
            victim.freeze()
            eventually(lambda: owns(other, PARTITIONS), seconds=60)
            victim.thaw()
            eventually(lambda: out_or_in_again(victim))


def out_or_in_again(worker: Worker) -> None:
    """With something in its hands it leaves; with nothing, it may join again."""
    if worker.running:
        owns(worker, PARTITIONS // 2)
    else:
        assert worker.exit_code in {exits.LEASE_LOST, exits.UNSAFE}


def owns(worker: Worker, partitions: int) -> None:
    try:
        status = worker.get("/api/v1/status").json()
    except httpx.HTTPError as error:
        raise AssertionError(error) from error  # it is just being started
    assert len(status["partitions"]) == partitions, status


def supervise(workers: list[Worker], chance: random.Random) -> None:
    """Start again what has ended; often the next blow comes while the partitions are still being shared out."""
    for worker in workers:
        if not worker.running:
            worker.start(wait=False)
    if chance.random() < 0.6:
        for worker in workers:
            worker.wait_ready()
