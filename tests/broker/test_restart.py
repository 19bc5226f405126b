"""Workers that end or start where something is missing, and parts that are away: nothing is lost or doubled."""

import os
import random
from collections.abc import Callable
from contextlib import closing

import httpx
from confluent_kafka.admin import AdminClient, NewTopic

from streamapp.core.model import TERMINAL
from tests.support.airflow_api import AirflowApi, FakeAirflowProcess
from tests.support.avro_producer import TWO_FIELDS, framed, register
from tests.support.eventually import eventually
from tests.support.fake_airflow import FakeAirflow
from tests.support.gateway import Gateway
from tests.support.installation import Draft, Installation, command
from tests.support.stack import Kafka, Registry

Install = Callable[..., Installation]


def many(count: int, keys: int, seed: int) -> list[Draft]:
    """Commands whose runs take a moment; each tenth fails."""
    chance = random.Random(seed)
    return [
        command(
            b"key-%d" % chance.randrange(keys), id=f"{seed}-{n}", seconds=chance.choice([0.0, 0.2]), fail=n % 10 == 0
        )
        for n in range(count)
    ]


def check_ended(site: Installation, sent: list[Draft], least: int) -> int:
    statuses = site.statuses(sent)
    ended = sum(statuses[status] for status in TERMINAL)
    assert ended >= least, f"{ended} have ended, not {least}: {statuses}"
    return ended


def test_stopped_and_started_again(install: Install) -> None:
    site = install()
    (worker,) = site.start_workers("one")
    sent = site.send(*many(60, keys=8, seed=1))
    eventually(lambda: check_ended(site, sent, 10))
    assert worker.terminate() == 0
    assert check_ended(site, sent, 10) < len(sent), "too late to tell anything"
    sent += site.send(*many(20, keys=8, seed=2))
    worker.start()
    site.endings(sent, seconds=60)
    assert site.violations() == []


def test_workers_that_share_processors_do_not_interrupt_each_other(install: Install) -> None:
    site = install()
    (worker,) = site.start_workers("one")
    assert os.sched_getscheduler(worker.pid) == os.SCHED_BATCH


def test_killed_with_and_without_its_data(install: Install) -> None:
    site = install()
    one, two = site.start_workers("one", "two")
    first = site.send(*many(120, keys=30, seed=3))
    eventually(lambda: check_read(site, first), every_seconds=0.01)
    one.kill()
    one.start()
    second = site.send(*many(60, keys=10, seed=4))
    eventually(lambda: check_ended(site, second, 10))
    for worker in (one, two):
        worker.kill()
    assert check_ended(site, second, 10) < len(second), "too late to tell anything"
    two.forget_data()
    third = site.send(*many(10, keys=10, seed=5))
    for worker in (one, two):
        worker.start(wait=False)
    site.endings([*first, *second, *third], seconds=90)
    assert site.violations() == []


def test_airflow_is_away_for_a_while(install: Install) -> None:
    with FakeAirflowProcess() as airflow:
        site = install(airflow=airflow)
        site.start_workers("one")
        sent = site.send(*many(30, keys=6, seed=7))
        eventually(lambda: check_ended(site, sent, 5))
        airflow.control("down", seconds=4)
        sent += site.send(*many(10, keys=10, seed=8))
        endings = site.endings(sent, seconds=60)
        assert {ending["status"] for ending in endings.values()} == {"succeeded", "failed"}
        assert {ending["reason"] for ending in endings.values()} <= {None, "run_failed"}
        assert site.violations() == []


def test_the_wrong_password_holds_everything(install: Install) -> None:
    with FakeAirflow().in_thread() as fake, closing(AirflowApi(fake.url, fake.username, "another")) as airflow:
        site = install(airflow=airflow)
        (worker,) = site.start_workers("one")
        sent = site.send(*many(10, keys=5, seed=9))
        eventually(lambda: check_log(worker.log, "Airflow refuses the log-in of admin"))
        eventually(lambda: check_all(site, sent, "accepted"))
        assert not fake.posts
        assert "another" not in worker.log
        fake.password = "another"
        endings = site.endings(sent, seconds=45)
        assert {ending["status"] for ending in endings.values()} == {"succeeded", "failed"}
        assert site.violations() == []


def test_the_registry_is_away_for_a_while(install: Install, registry: Registry) -> None:
    with Gateway(registry.url) as gateway:
        site = install(registry_url=gateway.url)
        gateway.shut()
        worker = site.worker("one")
        worker.start(wait=False)
        eventually(lambda: check_log(worker.log, "waiting, nothing is rejected"))
        assert worker.running
        gateway.open()
        worker.wait_ready()
        schema_id = register(registry.url, f"{site.name}-value", TWO_FIELDS)
        value = framed(schema_id, TWO_FIELDS, {"command": "app.probe", "params": "{}"})
        (running,) = site.send(command(b"running", seconds=2, partition=0))
        eventually(lambda: check_all(site, [running], "triggered"))
        gateway.shut()
        sent = site.send(Draft(value=value, key=b"waits", partition=0), command(b"waits", partition=0))
        # What runs goes on to its end meanwhile.
        assert site.ending(running)["status"] == "succeeded"
        eventually(lambda: check_log(worker.log.partition("answered after")[2], "waiting, nothing is rejected"))
        assert set(site.statuses(sent)) == {"unread"}
        gateway.open()
        assert {ending["status"] for ending in site.endings(sent).values()} == {"succeeded"}


def test_topics_that_do_not_fit(install: Install, kafka: Kafka) -> None:
    site = install()
    admin = AdminClient(kafka.client)
    for future in admin.create_topics([NewTopic("unfit-results", 3, 1)]).values():
        future.result()
    eventually(lambda: check_topics(admin, "unfit-results"))
    worker = site.worker("one", results_topic="unfit-results")
    worker.start(wait=False)
    assert worker.wait() == 2
    assert "Traceback" not in worker.log
    problem, so = [line for line in worker.log.splitlines() if "CRITICAL" in line]
    assert f"unfit-results: has 3 partitions, while {site.name} has 4; " in problem
    assert "the worker does not start" in so


def test_a_registry_that_refuses_the_schema_of_outcomes(install: Install, registry: Registry) -> None:
    site = install(registry_url=registry.url)
    subject = f"{site.name}-results-value"
    register(registry.url, subject, TWO_FIELDS)
    answer = httpx.put(f"{registry.url}/config/{subject}", json={"compatibility": "FULL"})
    assert answer.is_success, answer.text
    worker = site.worker("one")
    worker.start(wait=False)
    assert worker.wait() == 2
    assert "Traceback" not in worker.log
    (problem,) = [line for line in worker.log.splitlines() if "CRITICAL" in line]
    assert f"The schema registry refuses streamapp's schema for the subject {subject}" in problem
    assert "a restart would not help" in problem
    assert "relax its compatibility" in problem


def test_a_setting_that_does_not_fit(install: Install) -> None:
    site = install()
    worker = site.worker("one", airflow_url="nonsense")
    worker.start(wait=False)
    assert worker.wait() == 2
    assert worker.log.count("\n") == 1
    assert "STREAMAPP_AIRFLOW_URL='nonsense': must be one address such as" in worker.log


def check_topics(admin: AdminClient, name: str) -> None:
    assert name in admin.list_topics(timeout=10).topics, name


def check_read(site: Installation, sent: list[Draft]) -> None:
    assert site.statuses(sent)["unread"] < len(sent), "nothing was read"


def check_log(log: str, words: str) -> None:
    assert words in log, log[-3000:]


def check_all(site: Installation, drafts: list[Draft], status: str) -> None:
    statuses = site.statuses(drafts)
    assert set(statuses) == {status}, statuses
