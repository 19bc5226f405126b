"""A Kafka that asks for TLS and a password, reached with the properties file of Confluent's clients."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition

from tests.support.fake_airflow import FakeAirflow
from tests.support.stack import SaslKafka, free_port

Run = Callable[..., "subprocess.CompletedProcess[str]"]
PROGRAMS = Path(sys.executable).parent
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SaslKafka]:
    with SaslKafka(tmp_path_factory.mktemp("kafka")) as kafka:
        yield kafka


@pytest.fixture
def environ(tmp_path: Path, request: pytest.FixtureRequest) -> dict[str, str]:
    name = request.node.name.removeprefix("test_")
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("STREAMAPP_")}
    return {
        **inherited,
        "PYTHONPATH": str(ROOT),
        "STREAMAPP_APP_ID": name,
        "STREAMAPP_COMMANDS_TOPIC": name,
        "STREAMAPP_PARTITIONS": "2",
        "STREAMAPP_CONFIG_FILE": str(tmp_path / "kafka_server.config"),
    }


@pytest.fixture
def config_file(kafka: SaslKafka, tmp_path: Path) -> Path:
    path = tmp_path / "kafka_server.config"
    lines = [f"{name}={value}" for name, value in kafka.client.items()]
    path.write_text("\n".join(["# Kafka", "", *lines, "session.timeout.ms=45000", ""]))
    return path


@pytest.fixture
def streamapp(environ: dict[str, str], tmp_path: Path) -> Run:
    def run(*arguments: str) -> "subprocess.CompletedProcess[str]":
        call = [str(PROGRAMS / "streamapp"), *arguments]
        return subprocess.run(call, cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=60, check=False)

    return run


@contextmanager
def worker(environ: dict[str, str], directory: Path, port: int) -> Iterator[Path]:
    """A worker as users start it; yields its log."""
    log = directory / "worker.log"
    call = [str(PROGRAMS / "faust"), "-A", "streamapp", "--datadir", str(directory / "data"), "worker", "-l", "info"]
    with log.open("wb") as output, subprocess.Popen(
        [*call, "--web-port", str(port)], cwd=directory, env=environ, stdout=output, stderr=output
    ) as process:  # fmt: skip
        try:
            yield log
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()


@pytest.mark.usefixtures("config_file")
def test_send_and_read_back(streamapp: Run, kafka: SaslKafka, environ: dict[str, str]) -> None:
    topic = environ["STREAMAPP_COMMANDS_TOPIC"]
    made = streamapp("topics", "--create", "--config_file", "kafka_server.config")
    assert made.returncode == 0, made.stderr
    assert "warning: not used: session.timeout.ms in " in made.stderr
    sent = streamapp("send", "--topic", topic, "--config_file", "kafka_server.config", "--json")
    assert sent.returncode == 0, sent.stderr
    place = json.loads(sent.stdout)
    consumer = Consumer({**kafka.client, "group.id": "reader"})
    consumer.assign([TopicPartition(topic, place["partition"], OFFSET_BEGINNING)])
    message = consumer.poll(30)
    consumer.close()
    assert message is not None
    assert message.key() == b"event"
    assert json.loads(message.value())["command"] == "app.send_email_alert"
    nothing = streamapp("tail", "--from", "beginning", "--timeout", "5s")
    assert nothing.returncode == 0, nothing.stderr
    assert nothing.stdout == ""


def test_what_is_wrong_is_said_and_no_secret_is_shown(streamapp: Run, config_file: Path, kafka: SaslKafka) -> None:
    right = config_file.read_text()
    config_file.write_text(right.replace(kafka.password, "wrong-hunter2"))
    refused = streamapp("topics")
    assert refused.returncode == 1
    assert "check STREAMAPP_SASL_USERNAME, STREAMAPP_SASL_PASSWORD" in refused.stderr
    config_file.write_text(right.replace("ssl.ca.location", "# ssl.ca.location"))
    distrusted = streamapp("topics")
    assert distrusted.returncode == 1
    assert "check STREAMAPP_SSL_CA_LOCATION" in distrusted.stderr
    config_file.write_text(right.replace("SASL_SSL", "PLAINTEXT"))
    hung_up = streamapp("topics")
    assert hung_up.returncode == 1
    assert "check STREAMAPP_SECURITY_PROTOCOL" in hung_up.stderr
    for done in (refused, distrusted, hung_up):
        assert "hunter2" not in done.stderr + done.stdout
        assert kafka.password not in done.stderr + done.stdout
        assert "Traceback" not in done.stderr


@pytest.mark.usefixtures("config_file")
def test_a_worker_runs_a_command(streamapp: Run, environ: dict[str, str], tmp_path: Path, kafka: SaslKafka) -> None:
    assert streamapp("topics", "--create").returncode == 0
    airflow = FakeAirflow()
    with airflow.in_thread():
        port = free_port()
        environ |= {
            "STREAMAPP_WORKER_URL": f"http://127.0.0.1:{port}",
            "STREAMAPP_AIRFLOW_URL": airflow.url,
            "STREAMAPP_AIRFLOW_USERNAME": airflow.username,
            "STREAMAPP_AIRFLOW_PASSWORD": airflow.password,
        }
        with worker(environ, tmp_path, port) as log:
            sent = streamapp("send", "--command", "app.send_email_alert", "--key", "event", "--id", "alert-1")
            assert sent.returncode == 0, sent.stderr
            ended = streamapp("tail", "--until-terminal", "alert-1", "--timeout", "50s", "--json")
            assert ended.returncode == 0, ended.stderr + log.read_text()
            status = streamapp("status", "alert-1", "--json")
            assert "no worker answers" not in status.stderr
            assert json.loads(status.stdout)["status"] == "succeeded"
            assert streamapp("status", "alert-2").returncode == 1
            doctor = streamapp("doctor")
            assert doctor.returncode == 0, doctor.stdout
            assert " workers: 1 in the group a_worker_runs_a_command; not yet read: " in doctor.stdout
    statuses = [json.loads(line)["status"] for line in ended.stdout.splitlines()]
    assert statuses[0] == "accepted"
    assert statuses[-1] == "succeeded"
    assert len(airflow.posts) == 1
    assert kafka.password not in log.read_text()
