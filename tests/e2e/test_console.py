"""The console of two workers on a real Kafka: any of them answers for both, and says so when it can't."""

import re
from collections.abc import Iterator

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from streamapp.console.names import path_of
from tests.support.airflow_api import FakeAirflowProcess
from tests.support.eventually import eventually
from tests.support.installation import Installation, command
from tests.support.stack import Kafka
from tests.support.worker import Worker

HOSTILE_KEY = b"<script>alert(1)</script>/../%41"
HOSTILE_ID = "a/../b?c=d#e <b>"


@pytest.fixture(scope="module")
def shop(kafka: Kafka, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    with FakeAirflowProcess() as airflow, Installation("shop", tmp_path_factory.mktemp("s"), kafka, airflow) as shop:
        shop.create_topics()
        shop.start_workers("one", "two")
        yield shop


def partitions(worker: Worker) -> list[int]:
    return worker.get("/api/v1/status").json()["partitions"]


def ids(answer: httpx.Response) -> list[str]:
    assert answer.status_code == 200, answer.text
    return [fields["command_id"] for fields in answer.json()["commands"]]


def metric(worker: Worker, name: str, **labels: str) -> float:
    families = text_string_to_metric_families(worker.get("/metrics").text)
    found = [s.value for f in families for s in f.samples if s.name == name and labels.items() <= s.labels.items()]
    return sum(found)


def test_any_worker_answers_for_all(shop: Installation) -> None:
    workers = list(shop.workers.values())
    sent = shop.send(*[command(b"key-%d" % n, id=f"c{n}", fail=n == 3) for n in range(12)])
    assert len({draft.partition for draft in sent}) > 2
    endings = shop.endings(sent)

    for worker in workers:
        listed = worker.get("/api/v1/commands")
        assert listed.json()["incomplete"] == []
        assert set(ids(listed)) >= {f"c{n}" for n in range(12)}
        assert ids(worker.get("/api/v1/commands?status=failed")) == ["c3"]
        for n, draft in enumerate(sent):
            shown = worker.get(f"/api/v1/commands/c{n}").json()
            ending = endings[draft.place]
            names = ("command_id", "key", "command", "dag_id", "dag_run_id", "round", "attempt", "status", "reason")
            assert {name: shown[name] for name in names} == {name: ending[name] for name in names}
            assert shown["source"] == {"topic": shop.name, "partition": draft.partition, "offset": draft.offset}
            assert all(shown["timings"].values())
            assert draft.key is not None
            key = worker.get(f"/api/v1/keys/{draft.key.decode()}").json()
            assert [fields["command_id"] for fields in key["history"]] == [f"c{n}"]
        assert worker.get("/api/v1/commands/nobody").status_code == 404
        assert "c11" in worker.get("/").text
        assert "c3" in worker.get("/?status=failed").text
        assert workers[0].url in worker.get("/workers").text
        assert workers[1].url in worker.get("/workers").text

    assert sorted(partitions(workers[0]) + partitions(workers[1])) == [0, 1, 2, 3]
    assert sum(metric(worker, "streamapp_outcomes_total", status="succeeded") for worker in workers) == 11
    assert sum(metric(worker, "streamapp_partitions_owned") for worker in workers) == 4


def test_why_a_command_waits(shop: Installation) -> None:
    first, second = shop.send(command(b"slow", id="slow-1", seconds=4), command(b"slow", id="slow-2"))
    worker = shop.workers["one"]

    def running() -> None:
        answer = worker.get("/api/v1/keys/slow")
        assert answer.is_success, answer.text  # it may not have been read yet
        queue = answer.json()["queue"]
        assert [(fields["command_id"], fields["status"]) for fields in queue] == [
            ("slow-1", "triggered"),
            ("slow-2", "accepted"),
        ]
        assert queue[0]["waiting_for"].startswith("the end of its run")
        place = f"{shop.name}-{first.partition}-{first.offset}"
        assert queue[1]["waiting_for"].startswith(
            f"its turn: slow-1 ({place}), the first of its key, waits for the end"
        )

    eventually(running)
    assert "waits for the end of its run" in worker.get("/keys/slow").text
    shop.endings([first, second])
    assert worker.get("/api/v1/keys/slow").json()["queue"] == []


def test_hostile_names_survive_the_way(shop: Installation) -> None:
    (draft,) = shop.send(command(HOSTILE_KEY, id=HOSTILE_ID))
    shop.ending(draft)
    for worker in shop.workers.values():
        of_command, of_key = path_of("/commands", HOSTILE_ID.encode()), path_of("/keys", HOSTILE_KEY)
        assert worker.get(f"/api/v1{of_command}").json()["key"] == HOSTILE_KEY.decode()
        assert worker.get(f"/api/v1{of_key}").json()["history"][0]["command_id"] == HOSTILE_ID
        for path in ("/", of_command, of_key):
            page = worker.get(path)
            assert page.status_code == 200
            assert not re.search("<(script|b)>", page.text)
            assert page.headers["Content-Security-Policy"].startswith("default-src 'self'")


def test_a_worker_that_hangs_is_named_until_others_have_its_partitions(shop: Installation) -> None:
    one, two = shop.workers["one"], shop.workers["two"]
    (draft,) = shop.send(command(b"here", id="here"))
    shop.ending(draft)
    owner, other = (one, two) if draft.partition in partitions(one) else (two, one)

    owner.freeze()
    answer = other.get("/api/v1/commands").json()
    assert answer["incomplete"] == [owner.url]
    assert other.get("/api/v1/commands/here").status_code == 503

    third = shop.worker("three")
    third.start(wait=False)

    def waiting_to_join() -> None:
        try:
            live, ready = third.get("/health/live"), third.get("/health/ready")
        except httpx.HTTPError as error:
            raise AssertionError(f"no answer yet: {error!r}") from None
        assert (live.status_code, ready.status_code) == (200, 503), ready.text
        assert ready.json()["problems"]

    eventually(waiting_to_join, seconds=30, every_seconds=0.02)
    third.wait_ready()
    other.wait_ready()
    answer = third.get("/api/v1/commands").json()
    assert answer["incomplete"] == []
    assert third.get("/api/v1/commands/here").json()["status"] == "succeeded"
    assert other.get("/api/v1/commands/here").json()["status"] == "succeeded"
    owner.kill()
