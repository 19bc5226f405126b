import json
import socket
from types import SimpleNamespace

import pytest
from click.testing import CliRunner

from streamapp.cli import checks, tables
from streamapp.cli.main import main
from streamapp.kafka import audit
from tests.support.fake_airflow import FakeAirflow
from tests.support.fake_worker import worker

AWAY = "127.0.0.1:1"
PAGE = (200, "<!doctype html><title>a shop</title>")


@pytest.fixture(autouse=True)
def _in_an_empty_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def doctor(*options, **environ):
    """What it says of each part, with no Kafka and no registry."""
    environ = {"STREAMAPP_BOOTSTRAP_SERVERS": AWAY, "STREAMAPP_AIRFLOW_URL": f"http://{AWAY}"} | environ
    done = CliRunner(env=environ).invoke(main, ["doctor", "--json", *options])
    assert done.exit_code == 1, done.output
    return {check["part"]: check for check in map(json.loads, done.stdout.splitlines())}


def test_a_worker_says_that_it_is_ready():
    with worker({"/health/ready": (200, {"ok": True, "problems": []})}) as url:
        assert doctor(STREAMAPP_WORKER_URL=url)["worker"]["state"] == "ok"


@pytest.mark.parametrize("answer", [PAGE, (200, {"status": "up"}), (200, ["ok"]), (200, {"ok": "no", "problems": []})])
def test_another_server_is_no_worker_that_is_ready(answer):
    with worker({"/health/ready": answer}) as url:
        found = doctor(STREAMAPP_WORKER_URL=url)["worker"]
    assert found["state"] == "problem"
    assert found["what"].startswith(f"what answers at {url} is no worker: 200 ")
    assert found["mend"] == "set STREAMAPP_WORKER_URL to the address of a worker"


@pytest.mark.parametrize("answer", [PAGE, (200, []), (200, {}), (200, {"workers": [{"worker": "one"}]})])
def test_an_answer_that_makes_no_sense_is_a_problem_of_that_check(answer):
    with worker({"/api/v1/workers": answer}) as url, FakeAirflow().in_thread() as airflow:
        found = doctor(
            "--runs",
            STREAMAPP_WORKER_URL=url,
            STREAMAPP_AIRFLOW_URL=airflow.url,
            STREAMAPP_AIRFLOW_USERNAME=airflow.username,
            STREAMAPP_AIRFLOW_PASSWORD=airflow.password,
        )
    assert {"settings", "kafka", "airflow login", "worker", "runs"} <= found.keys()
    assert found["runs"]["state"] == "problem"
    assert found["runs"]["what"].startswith(f"{url} gives an answer that makes no sense (")


def test_a_worker_that_is_away_hides_no_other_ones_table(monkeypatch):
    async def describe(_):
        return {"changelog": SimpleNamespace(partitions=3)}

    async def rebuild(*_):
        return audit.Rebuilt(None)

    monkeypatch.setattr(tables.topics, "describe", describe)
    monkeypatch.setattr(tables.audit, "rebuild", rebuild)
    answers = {"/api/v1/tables/2": (200, "-\n"), "/api/v1/tables/1": (500, {"error": "it broke"})}
    with worker(answers) as url:
        known = [{"worker": f"http://{AWAY}", "partitions": [0]}, {"worker": url, "partitions": [1, 2]}]
        answers["/api/v1/workers"] = 200, {"workers": known, "silent": []}
        found = doctor("--tables", STREAMAPP_WORKER_URL=url)
    assert [found[f"table {number}"]["state"] for number in range(3)] == ["problem", "problem", "ok"]
    assert found["table 0"]["what"].startswith(f"http://{AWAY} does not answer (")
    assert found["table 1"]["what"] == f"{url} answers 500"


def test_a_part_that_says_nothing_is_told_with_a_reason(monkeypatch):
    monkeypatch.setattr(checks, "HTTP_SECONDS", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as mute:
        url = f"http://127.0.0.1:{mute.getsockname()[1]}"
        assert doctor(STREAMAPP_WORKER_URL=url)["worker"]["what"] == f"{url} does not answer (ReadTimeout)"
