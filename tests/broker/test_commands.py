"""Commands to outcomes on a real Kafka: one pair of workers, shared by all tests here."""

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from tests.support.airflow_api import FakeAirflowProcess
from tests.support.installation import Installation, command
from tests.support.stack import Kafka


@pytest.fixture(scope="module")
def pair(kafka: Kafka, airflow: FakeAirflowProcess, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    with Installation("pair", tmp_path_factory.mktemp("pair"), kafka, airflow) as pair:
        pair.create_topics()
        pair.start_workers("one", "two")
        yield pair


def soon(seconds: float) -> datetime:
    return datetime.now(UTC) + timedelta(seconds=seconds)


def test_keys_are_shared_and_each_runs_in_order(pair: Installation) -> None:
    chance = random.Random(7)
    keys = [f"key-{n}".encode() for n in range(12)]
    drafts = [
        command(chance.choice(keys), id=f"order-{n}", fail=n % 9 == 0, seconds=chance.choice([0.0, 0.1, 0.3]))
        for n in range(72)
    ]
    sent = pair.send(*drafts)
    endings = pair.endings(sent, seconds=60)
    failed = {draft.place for n, draft in enumerate(sent) if n % 9 == 0}
    assert {place for place, ending in endings.items() if ending["status"] == "failed"} == failed
    assert {ending["status"] for ending in endings.values()} == {"succeeded", "failed"}
    for worker in pair.workers.values():
        assert "run created" in worker.log, f"{worker.name} had no share"


def test_without_a_key_nothing_waits(pair: Installation) -> None:
    sent = pair.send(*[command(None, seconds=1.5) for _ in range(8)])
    endings = pair.endings(sent)
    assert {ending["status"] for ending in endings.values()} == {"succeeded"}
    assert {ending["key"] for ending in endings.values()} == {None}
    started = [ending["timings"]["started_at"] for ending in endings.values()]
    ended = [ending["timings"]["ended_at"] for ending in endings.values()]
    # One after another on four partitions they could not all run at some time.
    assert max(started) < min(ended), (started, ended)


@pytest.mark.parametrize(("key", "shown"), [(b"\xff\xfe\x00k", "//4Aaw=="), (b"", "")])
def test_any_bytes_are_a_key(pair: Installation, key: bytes, shown: str) -> None:
    first, second = pair.send(command(key, seconds=0.5), command(key))
    endings = pair.endings([first, second])
    for draft in (first, second):
        assert {outcome["record"].key for outcome in pair.of(draft)} == {key}
        assert endings[draft.place]["key"] == shown
    assert endings[second.place]["timings"]["started_at"] >= endings[first.place]["timings"]["ended_at"]


def test_every_change_is_told(pair: Installation) -> None:
    (good, bad) = pair.send(command(b"told", id="told-1", fail=False), command(b"told", id="told-2", fail=True))
    pair.endings([good, bad])
    assert [o["status"] for o in pair.of(good)] == ["accepted", "triggered", "run_ended", "succeeded"]
    assert [o["status"] for o in pair.of(bad)] == ["accepted", "triggered", "run_ended", "failed"]
    ending = pair.ending(good)
    run = pair.run_of(good)
    assert run is not None
    assert ending["dag_run_id"] == run["dag_run_id"] == f"cmd__{pair.name}__told-1__1.1"
    assert (ending["command_id"], ending["command"], ending["dag_id"]) == ("told-1", "app.probe", "probe")
    assert run["conf"]["fail"] is False
    assert run["conf"]["_command"]["id"] == "told-1"
    times = ending["timings"]
    assert times["accepted_at"] <= times["started_at"] <= times["ended_at"]
    letters = [letter for letter in pair.dead_letters() if letter.value == bad.value]
    assert [dict(letter.headers)["dlq.reason"] for letter in letters] == [b"run_failed"]


def test_the_same_id_runs_once(pair: Installation) -> None:
    first, again = pair.send(command(b"twice", id="twice", n=1), command(b"twice", id="twice", n=2))
    by_header, by_header_again = pair.send(
        command(b"twice", headers=(("ce_id", b"header-id"),)), command(b"twice", headers=(("ce_id", b"header-id"),))
    )
    endings = pair.endings([first, again, by_header, by_header_again])
    assert endings[first.place]["status"] == endings[by_header.place]["status"] == "succeeded"
    for original, repeated in ((first, again), (by_header, by_header_again)):
        ending = endings[repeated.place]
        assert ending["status"] == "duplicate"
        assert ending["duplicate_of"] == f"{pair.name}-{original.partition}-{original.offset}"
        assert pair.run_of(repeated) is None
    assert endings[by_header.place]["command_id"] == "header-id"


def test_not_before_holds_its_key_and_no_other(pair: Installation) -> None:
    at = soon(2.5)
    late, behind = pair.send(command(b"late", not_before=at), command(b"late"))
    (other,) = pair.send(command(b"other", seconds=0))
    other_ended = pair.ending(other)["at"]
    endings = pair.endings([late, behind])
    assert other_ended < at
    assert endings[late.place]["timings"]["started_at"] >= at
    assert endings[behind.place]["timings"]["started_at"] >= endings[late.place]["timings"]["ended_at"]


def test_a_deadline_ends_what_has_not_begun(pair: Installation) -> None:
    running = command(b"dead", seconds=2, deadline=soon(1))
    behind = command(b"dead", deadline=soon(1))
    waiting = command(b"dead too", not_before=soon(3600), deadline=soon(1))
    after = command(b"dead too")
    running, behind, waiting, after = sent = pair.send(running, behind, waiting, after)
    endings = pair.endings(sent)
    assert endings[running.place]["status"] == "succeeded"  # a run that runs is not stopped
    for draft in (behind, waiting):
        assert endings[draft.place]["status"] == "expired"
        assert pair.run_of(draft) is None
    assert endings[after.place]["status"] == "succeeded"


def test_a_paused_dag_stops_no_other(pair: Installation, airflow: FakeAirflowProcess) -> None:
    airflow.control("dag", dag_id="paused", paused=True)
    stuck = pair.send(*[command(b"p%d" % n, name="app.paused") for n in range(20)])
    (free,) = pair.send(command(b"p0-free"))
    assert pair.ending(free)["status"] == "succeeded"
    assert not set(pair.statuses(stuck)) & {"succeeded", "failed", "rejected"}
    airflow.control("dag", dag_id="paused")
    assert {ending["status"] for ending in pair.endings(stuck).values()} == {"succeeded"}


def test_answers_get_lost(pair: Installation, airflow: FakeAirflowProcess) -> None:
    before = airflow.state()["requests"]["trigger"]
    for kind in ("lost", "500", "500_after", "429", "cut", "garbled"):
        airflow.control("fault", operation="trigger", kind=kind, times=2)
    for operation in ("list", "get", "tasks"):
        airflow.control("fault", operation=operation, kind="500", times=2)
    sent = pair.send(*[command(b"lost-%d" % (n % 6), fail=n % 5 == 0) for n in range(24)])
    endings = pair.endings(sent, seconds=60)
    assert {ending["status"] for ending in endings.values()} == {"succeeded", "failed"}
    assert airflow.state()["requests"]["trigger"] - before > len(sent), "no fault had an effect"


def test_history_has_no_violation(pair: Installation) -> None:
    """Stands last: judges all that came before."""
    assert len(pair.records()) > 100
    assert pair.violations() == []
