"""The streamapp command against a real broker and registry; the other end is a foreign client."""

import io
import json
import re
import signal
import struct
import subprocess
import sys
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from click.testing import CliRunner, Result
from confluent_kafka import OFFSET_BEGINNING, Consumer, Message, Producer, TopicPartition
from fastavro import schemaless_reader

from streamapp.cli import scan
from streamapp.cli.main import main
from streamapp.core.model import DeadLetter, Original, Outcome, Reason, Source, Status
from streamapp.wire.dead_letter import encode_dead_letter
from streamapp.wire.outcomes import OutcomeCodec
from tests.support.fake_airflow import FakeAirflow
from tests.support.fake_worker import command_path, worker
from tests.support.stack import Kafka, Registry

PARTITIONS = 4
Run = Callable[..., Result]
STREAMAPP = [str(Path(sys.executable).with_name("streamapp"))]


@pytest.fixture(scope="module")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kafka]:
    with Kafka(tmp_path_factory.mktemp("kafka")) as kafka:
        yield kafka


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    with Registry(tmp_path_factory.mktemp("registry")) as registry:
        yield registry


@pytest.fixture
def environ(
    kafka: Kafka, request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> dict[str, str]:
    monkeypatch.chdir(tmp_path)
    name = re.sub(r"\W", "-", request.node.name.removeprefix("test_"))
    return {
        "STREAMAPP_BOOTSTRAP_SERVERS": kafka.bootstrap_servers,
        "STREAMAPP_COMMANDS_TOPIC": name,
        "STREAMAPP_APP_ID": name,
        "STREAMAPP_PARTITIONS": str(PARTITIONS),
    }


@pytest.fixture
def run(environ: dict[str, str]) -> Run:
    def call(*arguments: str, stdin: str | None = None, **more: str) -> Result:
        return CliRunner(env=environ | more).invoke(main, arguments, input=stdin)

    return call


@pytest.fixture
def topic(run: Run, environ: dict[str, str]) -> str:
    assert run("topics", "--create").exit_code == 0
    return environ["STREAMAPP_COMMANDS_TOPIC"]


def read(kafka: Kafka, topic: str, count: int) -> list[Message]:
    consumer = Consumer({**kafka.client, "group.id": "reader"})
    consumer.assign([TopicPartition(topic, number, OFFSET_BEGINNING) for number in range(PARTITIONS)])
    messages: list[Message] = []
    deadline = time.monotonic() + 30
    while len(messages) < count:
        assert time.monotonic() < deadline, f"{len(messages)} of {count} records came"
        messages += consumer.consume(count - len(messages), timeout=0.5)
    consumer.close()
    return messages


def outcome(command_id: str, status: Status, *, round_: int = 1, key: bytes = b"k", offset: int = 0) -> Outcome:
    return Outcome(
        command_id=command_id,
        key=key,
        command="app.probe",
        dag_id="probe",
        dag_run_id=None,
        round=round_,
        attempt=1,
        status=status,
        detail="went \x1b[31mwell",
        at=datetime(2026, 1, 31, 8, tzinfo=UTC),
        source=Source("commands", 1, offset),
    )


def publish(kafka: Kafka, topic: str, *outcomes: Outcome) -> None:
    codec = OutcomeCodec(None, topic)
    producer = Producer(kafka.client)
    for one in outcomes:
        record = codec.encode(one)
        producer.produce(topic, key=record.key, value=record.value, partition=1)
    assert producer.flush(10) == 0


def test_topics_are_shown_created_and_checked(run: Run) -> None:
    before = run("topics")
    assert before.exit_code == 1
    assert before.stdout == ""
    assert before.stderr.count("does not exist; run `streamapp topics --create`") == 5
    made = run("topics", "--create", "--json")
    assert made.exit_code == 0
    content = json.loads(made.stdout)
    assert len(content["created"]) == 5
    assert content["problems"] == []
    assert {one["partitions"] for one in content["topics"]} == {PARTITIONS}
    after = run("topics")
    assert after.exit_code == 0
    assert after.stderr == ""
    assert after.stdout.splitlines()[0].split()[:3] == ["TOPIC", "FOR", "PARTITIONS"]
    refused = run("topics", "--create", "--partitions", "9")
    assert refused.exit_code == 2
    assert "exists with 4 partitions, not 9" in refused.stderr


def test_send_one(run: Run, topic: str, kafka: Kafka) -> None:
    done = run("send", "--command", "app.probe", "--params", '{"n": 1}', "--key", "event", "--id", "order-17")
    assert done.exit_code == 0
    (message,) = read(kafka, topic, 1)
    assert done.stdout == f"{topic} partition {message.partition()} offset {message.offset()} id order-17\n"
    assert message.key() == b"event"
    assert json.loads(message.value()) == {"command": "app.probe", "params": '{"n": 1}', "id": "order-17"}


def test_send_the_example_with_the_flags_of_the_well_known_producer(
    run: Run, topic: str, kafka: Kafka, tmp_path: Path
) -> None:
    (tmp_path / "kafka_server.config").write_text(f"# ours\n\nbootstrap.servers={kafka.bootstrap_servers}\n")
    done = run(
        "send", "--topic", topic, "--config_file", "kafka_server.config", "--json", STREAMAPP_BOOTSTRAP_SERVERS="a:1"
    )
    assert done.exit_code == 0
    (message,) = read(kafka, topic, 1)
    stamp = message.timestamp()[1]
    place = {"topic": topic, "partition": message.partition(), "offset": 0}
    derived = f"{topic}-{message.partition()}-0-{stamp}"
    assert json.loads(done.stdout) == {**place, "key": "event", "command": "app.send_email_alert", "id": derived}
    assert json.loads(json.loads(message.value())["params"]) == {"email": "test@email.com"}


def test_send_a_file_keeps_the_order_of_each_key(run: Run, topic: str, kafka: Kafka) -> None:
    lines = [json.dumps({"command": "app.probe", "params": {"n": n}, "key": f"k{n % 7}"}) for n in range(3000)]
    done = run("send", "--file", "-", "--json", stdin="\n".join(lines))
    assert done.exit_code == 0
    sent = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(sent) == 3000
    messages = read(kafka, topic, 3000)
    by_key: dict[bytes, list[int]] = {}
    for message in sorted(messages, key=lambda one: (one.partition(), one.offset())):
        by_key.setdefault(message.key(), []).append(json.loads(json.loads(message.value())["params"])["n"])
    assert len(by_key) == 7
    assert all(numbers == sorted(numbers) for numbers in by_key.values())
    assert {(one["partition"], one["offset"]) for one in sent} == {(m.partition(), m.offset()) for m in messages}


def test_a_bad_line_sends_nothing(run: Run, topic: str, kafka: Kafka) -> None:
    done = run("send", "--file", "-", stdin='{"command": "app.probe", "params": {}}\nnonsense\n')
    assert done.exit_code == 2
    assert "standard input: line 2: it is not JSON" in done.stderr
    assert run("send", "--command", "app.probe").exit_code == 0
    (message,) = read(kafka, topic, 1)
    assert message.offset() == 0


@pytest.mark.parametrize(("ours", "theirs"), [("crc32", "consistent_random"), ("murmur2", "murmur2_random")])
def test_a_partitioner_agrees_with_the_foreign_client(
    run: Run, topic: str, kafka: Kafka, ours: str, theirs: str
) -> None:
    keys = [f"key-{number}ä" for number in range(60)]
    lines = [json.dumps({"command": "app.probe", "params": {}, "key": key}) for key in keys]
    assert run("send", "--file", "-", "--partitioner", ours, stdin="\n".join(lines)).exit_code == 0
    producer = Producer({**kafka.client, "partitioner": theirs})
    for key in keys:
        producer.produce(topic, key=key, value=b"{}")
    assert producer.flush(10) == 0
    places: dict[bytes, set[int]] = {}
    for message in read(kafka, topic, 2 * len(keys)):
        places.setdefault(message.key(), set()).add(message.partition())
    assert len(places) == len(keys)
    assert all(len(partitions) == 1 for partitions in places.values())
    assert len(set.union(*places.values())) == PARTITIONS


def test_send_to_a_topic_that_is_not_there(run: Run) -> None:
    done = run("send", "--command", "app.probe")
    assert done.exit_code == 1
    assert "does not exist; run `streamapp topics --create`" in done.stderr


def test_a_broker_that_dies_ends_a_long_file(topic: str, kafka: Kafka, environ: dict[str, str], tmp_path: Path) -> None:
    lines = [json.dumps({"command": "app.probe", "params": {"n": n}, "key": "k"}) for n in range(20000)]
    (tmp_path / "many.jsonl").write_text("\n".join(lines))
    call = [*STREAMAPP, "send", "--file", "many.jsonl"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(call, env=environ, bufsize=0, **pipes) as process:
        assert process.stdout
        process.stdout.read(1)
        # Nobody reads on: the sender stops at a full pipe, long before the end of the file.
        kafka.kill()
        try:
            out, err = (data.decode() for data in process.communicate(timeout=60))
        finally:
            kafka.start()
    delivered = out.count("\n")
    assert process.returncode == 1
    assert 0 < delivered < len(lines)
    assert f"many.jsonl: line {delivered + 1}: not acknowledged (" in err
    assert f"{delivered} of 20000 were" in err
    assert "Traceback" not in err


def test_send_avro_with_a_registry(run: Run, topic: str, kafka: Kafka, registry: Registry) -> None:
    done = run(
        "send", "--command", "app.probe", "--key", "k", "--deadline", "2030-01-01T00:00:00Z",
        STREAMAPP_SCHEMA_REGISTRY_URL=registry.url,
    )  # fmt: skip
    assert done.exit_code == 0, done.stderr
    (message,) = read(kafka, topic, 1)
    (subject,) = [name for name in httpx.get(f"{registry.url}/subjects").json() if name.startswith(topic)]
    assert subject == f"{topic}-value"
    magic, schema_id = struct.unpack(">bI", message.value()[:5])
    assert magic == 0
    schema = json.loads(httpx.get(f"{registry.url}/schemas/ids/{schema_id}").json()["schema"])
    content = schemaless_reader(io.BytesIO(message.value()[5:]), schema, None)
    assert content["command"] == "app.probe"
    assert content["params"] == "{}"
    assert content["deadline"] == datetime(2030, 1, 1, tzinfo=UTC)


def test_send_with_a_registry_that_is_away(run: Run, topic: str) -> None:
    done = run("send", "--command", "app.probe", STREAMAPP_SCHEMA_REGISTRY_URL="http://127.0.0.1:1")
    assert done.exit_code == 1
    assert done.stderr == "Error: The schema registry at http://127.0.0.1:1/ does not answer (ConnectError)\n"


def test_tail_filters_and_counts(run: Run, topic: str, kafka: Kafka) -> None:
    publish(
        kafka,
        f"{topic}-results",
        outcome("a", Status.ACCEPTED),
        outcome("b", Status.ACCEPTED, key=b"other"),
        outcome("a", Status.TRIGGERED),
    )
    done = run("tail", "--from", "beginning", "--key", "k", "--count", "2", "--json", "--timeout", "20s")
    assert done.exit_code == 0
    assert [json.loads(line)["status"] for line in done.stdout.splitlines()] == ["accepted", "triggered"]
    done = run("tail", "--command-id", "b", "--count", "1", "--timeout", "20s")
    assert done.exit_code == 0
    assert done.stdout == ("2026-01-31T08:00:00.000Z  accepted        b  key=other  app.probe  (went \\x1b[31mwell)\n")


def test_tail_in_vain_ends_in_time(run: Run, topic: str, kafka: Kafka) -> None:
    publish(kafka, f"{topic}-results", outcome("a", Status.ACCEPTED))
    done = run("tail", "--until-terminal", "a", "--until-terminal", "b", "--timeout", "2s")
    assert done.exit_code == 1
    assert done.stdout.count("\n") == 1
    assert done.stderr == "Error: not ended in time: a, b\n"
    done = run("tail", "--count", "1", "--timeout", "1s")
    assert done.exit_code == 1
    assert done.stderr == "Error: 0 of 1 outcomes came in time\n"
    assert run("tail", "--timeout", "1s").exit_code == 0


def test_tail_until_a_command_has_ended_for_good(run: Run, topic: str, kafka: Kafka) -> None:
    results = f"{topic}-results"
    publish(
        kafka,
        results,
        outcome("a", Status.FAILED),
        outcome("b", Status.SUCCEEDED),
        outcome("a", Status.ACCEPTED, round_=2, offset=1),
    )
    later = threading.Timer(2, lambda: publish(kafka, results, outcome("a", Status.SUCCEEDED, round_=2, offset=1)))
    later.start()
    done = run("tail", "--until-terminal", "a", "--json", "--timeout", "30s")
    later.join()
    assert done.exit_code == 0
    shown = [json.loads(line) for line in done.stdout.splitlines()]
    assert [(one["round"], one["status"]) for one in shown] == [(1, "failed"), (2, "accepted"), (2, "succeeded")]
    assert run("tail", "--until-terminal", "b", "--timeout", "30s").exit_code == 0


def test_tail_tells_the_end_of_a_command_from_what_else_is_said_of_its_id(run: Run, topic: str, kafka: Kafka) -> None:
    refused = replace(outcome("a", Status.INSTRUCTION_REFUSED), detail="it has ended", control_id="late")
    publish(
        kafka,
        f"{topic}-results",
        outcome("a", Status.SUCCEEDED),
        refused,
        outcome("b", Status.TRIGGERED, offset=1),
        outcome("b", Status.DUPLICATE, offset=2),
        outcome("c", Status.DUPLICATE, offset=3),
    )
    done = run("tail", "--until-terminal", "a", "--timeout", "20s")
    assert done.exit_code == 0
    assert [line.split()[1] for line in done.stdout.splitlines()] == ["succeeded", "instruction_refused"]
    done = run("tail", "--until-terminal", "b", "--until-terminal", "c", "--timeout", "3s")
    assert done.exit_code == 1
    assert [line.split()[1] for line in done.stdout.splitlines()] == ["triggered", "duplicate", "duplicate"]
    assert done.stderr == "Error: not ended in time: b, c\n"


def test_tail_passes_over_what_is_no_outcome(run: Run, topic: str, kafka: Kafka) -> None:
    producer = Producer(kafka.client)
    for value in (b"nonsense", b"\x00\x00\x00\x00\x07x", None):
        producer.produce(f"{topic}-results", value=value, partition=1)
    assert producer.flush(10) == 0
    publish(kafka, f"{topic}-results", outcome("a", Status.SUCCEEDED))
    done = run("tail", "--until-terminal", "a", "--timeout", "20s")
    assert done.exit_code == 0
    assert done.stdout.count("\n") == 1
    why, passed = done.stderr.splitlines()
    assert (
        why == f"{topic}-results has Avro, which can't be read without its registry: set STREAMAPP_SCHEMA_REGISTRY_URL"
    )
    assert passed.startswith("3 records were passed over")


def test_tail_ends_quietly_when_interrupted(topic: str, kafka: Kafka, environ: dict[str, str]) -> None:
    publish(kafka, f"{topic}-results", outcome("a", Status.SUCCEEDED))
    call = [*STREAMAPP, "tail", "--from", "beginning"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(call, env=environ, text=True, **pipes) as process:
        assert process.stdout
        assert process.stderr
        assert "succeeded" in process.stdout.readline()
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 130
        assert process.stderr.read() == ""


def test_status_asks_a_worker(run: Run, topic: str) -> None:
    entry = {
        "command_id": "a/b",
        "status": "blocked",
        "source": {"topic": topic, "offset": 3},
        "detail": "x\x1by",
        "reason": None,
    }
    with worker({command_path("a/b"): (200, entry)}) as url:
        shown = run("status", "a/b", "--worker", url)
        assert shown.exit_code == 0
        assert [line.split(maxsplit=1) for line in shown.stdout.splitlines()] == [
            ["command_id:", "a/b"],
            ["status:", "blocked"],
            ["source.topic:", topic],
            ["source.offset:", "3"],
            ["detail:", "x\\x1by"],
        ]
        assert json.loads(run("status", "a/b", "--json", STREAMAPP_WORKER_URL=url).stdout) == entry
        unknown = run("status", "nobody", "--worker", url)
        assert unknown.exit_code == 1
        assert unknown.stderr == "Error: no command with the id nobody is known\n"


def test_status_without_a_worker_looks_through_the_results(run: Run, topic: str, kafka: Kafka) -> None:
    publish(
        kafka,
        f"{topic}-results",
        outcome("a", Status.ACCEPTED),
        outcome("a", Status.SUCCEEDED),
        outcome("b", Status.ACCEPTED),
    )
    done = run("status", "a", "--worker", "http://127.0.0.1:1", "--json")
    assert done.exit_code == 0
    assert json.loads(done.stdout)["status"] == "succeeded"
    assert done.stderr.startswith("no worker answers at http://127.0.0.1:1 (")
    assert "waiting_for" not in json.loads(done.stdout)
    with worker({command_path("b"): (503, {"error": "not all answer"})}) as url:
        done = run("status", "b", "--worker", url, "--json")
    found = json.loads(done.stdout)
    assert found["status"] == "accepted"
    assert found["waiting_for"] == f"what can't be told just now: the worker at {url} answers 503 (not all answer)"
    assert run("status", "c", "--worker", "http://127.0.0.1:1").exit_code == 1


def test_status_without_a_worker_is_that_of_the_command_itself(run: Run, topic: str, kafka: Kafka) -> None:
    publish(
        kafka,
        f"{topic}-results",
        outcome("a", Status.SUCCEEDED),
        replace(outcome("a", Status.INSTRUCTION_REFUSED), control_id="late"),
        outcome("b", Status.TRIGGERED, offset=1),
        outcome("b", Status.DUPLICATE, offset=2),
        replace(outcome("c", Status.DUPLICATE, offset=4), duplicate_of=f"{topic}-1-3"),
    )

    def status(command_id: str) -> Any:
        return json.loads(run("status", command_id, "--worker", "http://127.0.0.1:1", "--json").stdout)

    assert status("a")["status"] == "succeeded"
    assert status("b")["status"] == "triggered"
    only = status("c")
    assert (only["status"], only["duplicate_of"]) == ("duplicate", f"{topic}-1-3")
    assert only["waiting_for"].startswith("what can't be told just now: no worker answers")


def test_status_ends_when_kafka_goes_away_meanwhile(
    run: Run, topic: str, kafka: Kafka, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scan, "STALLED_AFTER", 4)
    producer = Producer(kafka.client)
    producer.produce(f"{topic}-results", value=b"\x00\x00\x00\x00\x07x", partition=1)
    assert producer.flush(10) == 0
    # More than Kafka gives at a time.
    publish(
        kafka,
        f"{topic}-results",
        *(replace(outcome("a", Status.ACCEPTED, offset=n), detail="x" * 1000) for n in range(6000)),
    )

    class DeadlyQuestion(dict[str, tuple[int, Any]]):
        def get(self, path: str, default: Any = None) -> Any:
            kafka.kill()
            return 404, {"error_code": 40403, "message": "no such schema"}

    # The first record needs its schema: the registry is asked in the midst of reading.
    with worker(DeadlyQuestion()) as registry_url:
        try:
            done = run("status", "a", "--worker", "http://127.0.0.1:1", STREAMAPP_SCHEMA_REGISTRY_URL=registry_url)
        finally:
            kafka.start()
    assert done.exit_code == 1
    assert done.stdout == ""
    assert done.stderr.endswith(f"Error: Kafka has stopped answering for {topic}-results; try again\n")


def test_a_search_may_begin_before_all_records(run: Run, topic: str) -> None:
    for verb in (["dead-letters", "list"], ["redrive", "--dry-run"], ["replay", "--dry-run"]):
        done = run(*verb, "--since", "0001-01-01T00:00:00Z")
        assert (done.exit_code, done.stdout) == (0, ""), done.output


def test_history_of_a_key_that_a_silent_worker_may_have_leaves_no_partition_out(
    run: Run, topic: str, kafka: Kafka
) -> None:
    publish(kafka, f"{topic}-results", outcome("a", Status.ACCEPTED))
    elsewhere = {"source": {"topic": topic, "partition": 0, "offset": 1}}
    known = {"queue": [], "history": [elsewhere], "incomplete": ["http://worker-2:6066"]}
    with worker({"/api/v1/keys/aw==?base64=1": (200, known)}) as url:
        done = run("history", "--key", "k", "--worker", url)
    assert done.exit_code == 0
    assert done.stdout.count("accepted") == 1
    assert done.stderr == (
        f"the worker at {url} knows a part of it (no answer from http://worker-2:6066): "
        f"looking through {topic}-results alone\n"
    )


def checks(done: Result) -> dict[str, dict[str, str]]:
    return {check["part"]: check for check in map(json.loads, done.stdout.splitlines())}


@pytest.mark.parametrize("arguments", [["list", "--json"], ["list", "--state", "open"], ["stats"]])
def test_looking_at_dead_letters_does_not_keep_all_their_records(
    arguments: list[str], run: Run, topic: str, kafka: Kafka
) -> None:
    producer = Producer(kafka.client)
    producer.produce(topic, b"{}", partition=1)
    params = json.dumps({"text": "x" * 100_000})
    value = json.dumps({"command": "app.probe", "params": params}).encode()
    for number in range(300):
        at = datetime(2026, 1, 31, 8, tzinfo=UTC) + timedelta(seconds=number)
        letter = DeadLetter(
            source=Source(topic, 1, 0), key=b"k", original=Original(value), round=number + 1,
            reason=Reason.RUN_FAILED, detail="", at=at,
        )  # fmt: skip
        record = encode_dead_letter(letter)
        producer.produce(f"{topic}-dead-letters", record.value, record.key, headers=record.headers, partition=1)
    assert producer.flush(30) == 0
    tracemalloc.start()
    try:
        done = run("dead-letters", *arguments)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert done.exit_code == 0, done.output
    assert done.stdout.count("run_failed") == (1 if arguments == ["stats"] else 100)
    if arguments[0] == "list":
        assert f"{topic}-1-0-300" in done.stdout.splitlines()["--json" not in arguments]
        assert f"{topic}-1-0-200" not in done.stdout
        assert "there are more than 100" in done.stderr
    assert peak < 15_000_000, "30 MB of records"


def test_doctor_finds_everything_well(run: Run, topic: str, kafka: Kafka, registry: Registry) -> None:
    for number in range(3):
        assert run("send", "--command", "app.probe", "--key", f"k{number}").exit_code == 0
    member = Consumer({**kafka.client, "group.id": topic, "auto.offset.reset": "earliest", "enable.auto.commit": False})
    member.subscribe([topic])
    deadline = time.monotonic() + 30
    while (message := member.poll(0.5)) is None:
        assert time.monotonic() < deadline
    member.commit(message, asynchronous=False)
    airflow = FakeAirflow()
    with worker({"/health/ready": (200, {"ok": True, "problems": []})}) as url, airflow.in_thread():
        done = run(
            "doctor",
            "--json",
            STREAMAPP_WORKER_URL=url,
            STREAMAPP_AIRFLOW_URL=airflow.url,
            STREAMAPP_AIRFLOW_USERNAME=airflow.username,
            STREAMAPP_AIRFLOW_PASSWORD=airflow.password,
            STREAMAPP_SCHEMA_REGISTRY_URL=registry.url,
        )
    member.close()
    found = checks(done)
    assert {part: check["state"] for part, check in found.items()} == dict.fromkeys(
        ["settings", "routes", "kafka", "topics", "registry", "airflow", "airflow login", "workers", "worker"], "ok"
    )
    assert done.exit_code == 0
    assert f"1 in the group {topic}; not yet read: {topic} 2, {topic}-results 0" in found["workers"]["what"]
    assert airflow.password not in done.stdout


def test_doctor_says_what_is_wrong_and_what_to_do(run: Run, topic: str) -> None:
    airflow = FakeAirflow()
    with (
        worker({"/health/ready": (503, {"ok": False, "problems": ["it restores its table"]})}) as url,
        airflow.in_thread(),
    ):
        done = run(
            "doctor",
            "--json",
            STREAMAPP_CONTROL_TOPIC="not-there",
            STREAMAPP_WORKER_URL=url,
            STREAMAPP_AIRFLOW_URL=airflow.url,
            STREAMAPP_AIRFLOW_USERNAME="somebody",
            STREAMAPP_AIRFLOW_PASSWORD="hunter2",
            STREAMAPP_SCHEMA_REGISTRY_URL="http://127.0.0.1:1",
        )
    assert done.exit_code == 1
    found = checks(done)
    assert found["topics"]["what"] == "not-there does not exist"
    assert found["topics"]["mend"] == "run `streamapp topics --create`"
    assert "does not answer" in found["registry"]["what"]
    assert found["airflow"]["state"] == "ok"
    assert found["airflow login"]["what"].startswith(
        "somebody is not let in: Airflow refuses the log-in of somebody (401)"
    )
    assert "no worker is in the group" in found["workers"]["what"]
    assert "is not ready: it restores its table" in found["worker"]["what"]
    assert "hunter2" not in done.stdout + done.stderr


def test_doctor_without_anything(run: Run) -> None:
    away = "127.0.0.1:1"
    done = run(
        "doctor",
        STREAMAPP_BOOTSTRAP_SERVERS=away,
        STREAMAPP_AIRFLOW_URL=f"http://{away}",
        STREAMAPP_WORKER_URL=f"http://{away}",
        STREAMAPP_SCHEMA_REGISTRY_URL=f"http://{away}",
    )
    assert done.exit_code == 1
    assert done.stderr == ""
    lines = done.stdout.splitlines()
    assert lines[0].startswith("ok       settings: ")
    assert lines[1].startswith("ok       routes: ")
    assert [line.split()[0] for line in lines[2:]] == ["problem"] * (len(lines) - 2)
    assert all(line.count("start it, or set STREAMAPP_") == 1 for line in lines[2:])
