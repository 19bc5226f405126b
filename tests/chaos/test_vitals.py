"""A worker that makes no progress stops itself, on a real broker; what a restart would not mend, it sits out."""

import re
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

import httpx
import pytest
from confluent_kafka import Producer

from streamapp.kafka import exits
from tests.support.eventually import eventually
from tests.support.installation import Draft, Installation, command
from tests.support.stack import Kafka
from tests.support.worker import Worker

Install = Callable[..., Installation]

NOBODY = "http://127.0.0.1:1"
"""An Airflow that does not answer."""
LONG_ENOUGH_SECONDS = 15.0
"""Nearly twice what `quick_vitals` bears."""
FROZEN_SECONDS = 8.0
"""More than it bears of a loop that does not turn."""


def spoiled(install: Install, *sabotage: str) -> Worker:
    """A worker with something wrong in it, which has got a command."""
    installation = install(partitions=1)
    worker = installation.worker("one", *sabotage)
    worker.start()
    installation.send(command(b"k"))
    return worker


STOPS = [
    ("blocked_loop", "the event loop has not turned"),
    ("lost_acknowledgement", "although 1 are under way"),
    ("deaf_sequencer", "was taken in"),
    ("broken_settle", "was taken in"),
    ("dead_fetcher", "was taken in"),
]


@pytest.mark.parametrize(("fault", "reason"), STOPS)
def test_a_worker_that_has_come_to_a_stop_ends(install: Install, fault: str, reason: str) -> None:
    worker = spoiled(install, fault, "quick_vitals")
    assert worker.wait() == exits.STUCK
    assert reason in worker.log


def test_the_stacks_of_a_blocked_loop_are_shown(install: Install) -> None:
    worker = spoiled(install, "blocked_loop", "quick_vitals")
    worker.wait()
    assert re.search(r"sabotage\.py\", line \d+ in fold", worker.log)


def beside_one_whose_loop_stands_still(install: Install, *sabotage: str) -> tuple[Installation, list[Draft]]:
    """Two workers with a partition each, of which one comes to a stop with its first command."""
    installation = install(partitions=2)
    workers = [installation.worker("one", "blocked_loop", *sabotage), installation.worker("two")]
    for worker in workers:
        worker.start()
    eventually(lambda: check_shared(workers))
    return installation, installation.send(*[replace(command(b"k%d" % n), partition=n) for n in range(2)])


def check_shared(workers: list[Worker]) -> None:
    owned = [worker.get("/api/v1/status").json()["partitions"] for worker in workers]
    assert sorted(owned) == [[0], [1]]


def test_another_worker_takes_over_from_one_whose_loop_stands_still(install: Install) -> None:
    installation, sent = beside_one_whose_loop_stands_still(install)
    assert {ending["status"] for ending in installation.endings(sent).values()} == {"succeeded"}
    assert installation.violations() == []


def test_with_a_second_loop_it_would_keep_its_partitions(install: Install) -> None:
    installation, sent = beside_one_whose_loop_stands_still(install, "without_one_loop")
    with pytest.raises(AssertionError):
        installation.endings(sent, seconds=LONG_ENOUGH_SECONDS)


@pytest.mark.parametrize("fault", ["blocked_loop", "lost_acknowledgement", "dead_fetcher"])
def test_without_looking_it_stays_as_it_is(install: Install, fault: str) -> None:
    worker = spoiled(install, fault, "quick_vitals", "without_vitals")
    with pytest.raises(AssertionError, match="has not ended"):
        worker.wait(LONG_ENOUGH_SECONDS)


@pytest.mark.parametrize("fault", ["broken_follower", "broken_pruner"])
def test_a_worker_without_one_of_its_services_ends(install: Install, fault: str) -> None:
    installation = install(partitions=1)
    installation.send(command(b"k"))
    worker = installation.worker("one", fault, "short_grace")
    worker.start(wait=False)  # it may end before it has told that it is ready
    assert worker.wait() not in {0, exits.CONFIG}


def test_another_worker_goes_on_with_what_one_that_stopped_had(install: Install) -> None:
    installation = install(partitions=1)
    worker = installation.worker("one", "lost_acknowledgement", "quick_vitals")
    worker.start()
    sent = installation.send(*[command(b"k", id=f"c{n}") for n in range(5)])
    assert worker.wait() == exits.STUCK
    installation.worker("two").start()
    assert {ending["status"] for ending in installation.endings(sent).values()} == {"succeeded"}
    assert installation.violations() == []


def check_alive(worker: Worker) -> None:
    answer = worker.get("/health/live")
    assert answer.status_code == 200, answer.text


def stays(worker: Worker) -> None:
    """It lives, and goes on living."""
    with pytest.raises(AssertionError, match="has not ended"):
        worker.wait(LONG_ENOUGH_SECONDS)
    check_alive(worker)


def test_an_airflow_that_is_away_is_no_reason(install: Install) -> None:
    installation = install(partitions=1, airflow_url=NOBODY)
    worker = installation.worker("one", "quick_vitals", ready_limit="5")
    worker.start()
    installation.send(*[command(None, id=f"c{n}") for n in range(600)])
    eventually(lambda: check_held(worker))
    stays(worker)


def check_held(worker: Worker) -> None:
    status = worker.get("/api/v1/status").json()
    assert status["held"], status


@pytest.fixture(scope="module")
def own_kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kafka]:
    with Kafka(tmp_path_factory.mktemp("own-kafka")) as kafka:
        yield kafka


def test_a_kafka_that_is_away_is_no_reason(install: Install, own_kafka: Kafka) -> None:
    installation = install(kafka=own_kafka, partitions=1)
    worker = installation.worker("one", "quick_vitals")
    worker.start()
    sent = installation.send(*[command(b"k", id=f"c{n}") for n in range(3)])
    installation.endings(sent)
    own_kafka.kill()
    stays(worker)
    assert worker.get("/health/ready").status_code == 503
    own_kafka.start()
    worker.wait_ready()
    assert installation.ending(installation.send(command(b"k"))[0])["status"] == "succeeded"


def test_a_start_may_wait_for_kafka(install: Install, own_kafka: Kafka) -> None:
    worker = install(kafka=own_kafka, partitions=1).worker("one", "quick_vitals")
    own_kafka.kill()
    worker.start(wait=False)
    with pytest.raises(AssertionError, match="has not ended"):
        worker.wait(LONG_ENOUGH_SECONDS)
    with pytest.raises(httpx.ConnectError):  # which is why a start-up probe has to be patient
        worker.get("/health/live")
    own_kafka.start()
    worker.wait_ready()


def test_transactions_that_hold_nothing_ready_are_no_reason(install: Install, kafka: Kafka) -> None:
    """Markers stand behind the last record for good; an open transaction's records may not be read yet."""
    installation = install(partitions=1)
    worker = installation.worker("one", "quick_vitals")
    worker.start()
    producer = Producer({**kafka.client, "transactional.id": installation.name})
    producer.init_transactions(20)
    for end in (producer.commit_transaction, producer.abort_transaction):
        producer.begin_transaction()
        producer.produce(installation.name, key=b"k", value=command().value, partition=0)
        producer.flush(20)
        end(20)
    producer.begin_transaction()
    producer.produce(installation.name, key=b"k", value=command().value, partition=0)
    producer.flush(20)
    stays(worker)
    producer.commit_transaction(20)
    eventually(lambda: check_succeeded(installation, 2))


def check_succeeded(installation: Installation, count: int) -> None:
    ended = {outcome["id"] for outcome in installation.outcomes() if outcome["status"] == "succeeded"}
    assert len(ended) == count, ended


def test_a_process_that_was_frozen_gets_its_time(install: Install) -> None:
    installation = install(partitions=1, session_timeout="30s")
    worker = installation.worker("one", "quick_vitals")
    worker.start()
    worker.freeze()
    time.sleep(FROZEN_SECONDS)
    worker.thaw()
    stays(worker)


def test_it_ends_in_order_when_asked(install: Install) -> None:
    worker = install(partitions=1).worker("one", "quick_vitals")
    worker.start()
    worker.signal(signal.SIGTERM)
    assert worker.wait() == 0
