"""What people and deploys do to runs of a real Airflow, and what becomes of their commands: docs/reference/runs.md."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.airflow_api import AirflowApi
from tests.support.eventually import eventually
from tests.support.installation import Draft, Installation, command
from tests.support.stack import Airflow, Kafka, Registry

pytestmark = pytest.mark.timeout(400, func_only=True)

DAG = """
from airflow.sdk import dag, task


@dag(schedule=None)
def {name}():
    @task
    def nothing():
        pass

    nothing()


{name}()
"""


@pytest.fixture(scope="module")
def site(
    kafka: Kafka, registry: Registry, airflow: AirflowApi, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Installation]:
    """One worker that soon misses a run."""
    settings = {"reconcile_interval": "3s", "dag_missing_grace": "2s"}
    folder = tmp_path_factory.mktemp("bad-endings")
    with Installation("bad-endings", folder, kafka, airflow, registry.url, **settings) as site:
        site.create_topics()
        site.start_workers("one")
        yield site


@pytest.fixture
def paused(airflow: AirflowApi) -> Iterator[Callable[[str], None]]:
    """Let the runs of a DAG wait in Airflow."""
    paused: set[str] = set()

    def pause(dag_id: str) -> None:
        paused.add(dag_id)
        airflow.ask("PATCH", f"/dags/{dag_id}", {"is_paused": True}).raise_for_status()

    yield pause
    for dag_id in paused:
        airflow.ask("PATCH", f"/dags/{dag_id}", {"is_paused": False})


def test_a_deleted_run_fails_its_command_and_is_never_made_again(
    site: Installation, airflow: AirflowApi, paused: Callable[[str], None]
) -> None:
    paused("probe")
    deleted, after = site.send(command(b"k"), command(b"k", seconds=0))
    run = the_run(site, deleted)
    airflow.ask("DELETE", f"/dags/probe/dagRuns/{run['dag_run_id']}").raise_for_status()
    ending = site.ending(deleted, seconds=60)
    assert (ending["status"], ending["reason"]) == ("failed", "run_deleted")
    airflow.ask("PATCH", "/dags/probe", {"is_paused": False}).raise_for_status()
    assert site.ending(after, seconds=90)["status"] == "succeeded"
    assert site.run_of(deleted) is None


def test_a_cleared_run_changes_no_verdict_and_is_named(
    site: Installation, airflow: AirflowApi, paused: Callable[[str], None]
) -> None:
    [done] = site.send(command(b"k", seconds=0))
    assert site.ending(done, seconds=90)["status"] == "succeeded"
    run = the_run(site, done)
    paused("probe")  # so that it stays active
    [waiting] = site.send(command(b"k", seconds=0))
    the_run(site, waiting)
    path = f"/dags/probe/dagRuns/{run['dag_run_id']}/clear"
    airflow.ask("POST", path, {"dry_run": False}).raise_for_status()
    [worker] = site.workers.values()
    eventually(lambda: check_metric(worker.get("/metrics").text, "streamapp_runs_unfollowed 1.0"), seconds=60)
    airflow.ask("PATCH", "/dags/probe", {"is_paused": False}).raise_for_status()
    assert site.ending(waiting, seconds=90)["status"] == "succeeded"
    eventually(lambda: check_ended(airflow, run), seconds=60)
    assert site.ending(done)["status"] == "succeeded"


def test_a_deleted_dag_fails_what_ran_and_rejects_what_follows(
    site: Installation, airflow: AirflowApi, deployed: Path, paused: Callable[[str], None]
) -> None:
    file = deploy(airflow, deployed, "doomed")
    paused("doomed")
    ran, after = site.send(command(b"k", name="app.doomed"), command(b"k", name="app.doomed"))
    the_run(site, ran)
    file.unlink()
    airflow.ask("DELETE", "/dags/doomed").raise_for_status()
    endings = site.endings([ran, after], seconds=90)
    reasons = [(ending["status"], ending["reason"]) for ending in endings.values()]
    assert reasons == [("failed", "run_deleted"), ("rejected", "dag_not_found")]


def test_an_import_error_rejects_after_the_grace_and_what_runs_goes_on(
    site: Installation, airflow: AirflowApi, deployed: Path, paused: Callable[[str], None]
) -> None:
    file = deploy(airflow, deployed, "broken")
    paused("broken")
    ran, after = site.send(command(b"k", name="app.broken"), command(b"other", name="app.broken"))
    the_run(site, ran)
    the_run(site, after)
    good = file.read_text()
    file.write_text(good + "raise RuntimeError('a bad deploy')\n")
    eventually(lambda: check_import_error(airflow, "broken", wanted=True), seconds=60)
    [refused] = site.send(command(b"third", name="app.broken"))
    ending = site.ending(refused, seconds=60)
    assert (ending["status"], ending["reason"]) == ("rejected", "dag_not_found")  # whatever words Airflow has for it
    file.write_text(good)
    eventually(lambda: check_import_error(airflow, "broken", wanted=False), seconds=60)
    airflow.ask("PATCH", "/dags/broken", {"is_paused": False}).raise_for_status()
    assert {one["status"] for one in site.endings([ran, after], seconds=90).values()} == {"succeeded"}


def test_runs_wait_while_the_scheduler_is_away(site: Installation, airflow_server: Airflow) -> None:
    scheduler = airflow_server.parts["airflow-scheduler"]
    scheduler.stop()
    try:
        sent = site.send(*[command(key, seconds=0) for key in (b"k", b"k", b"other")])
        the_run(site, sent[0])
        the_run(site, sent[2])
        [worker] = site.workers.values()
        seen = reads(worker.get("/metrics").text)
        eventually(lambda: check_reads(worker.get("/metrics").text, seen + 3), seconds=60)  # three walks
        assert site.statuses(sent) == {"triggered": 2, "accepted": 1}
    finally:
        scheduler.start()
    assert {one["status"] for one in site.endings(sent, seconds=90).values()} == {"succeeded"}
    assert all(site.run_of(draft) for draft in sent)


def the_run(site: Installation, draft: Draft) -> dict[str, str]:
    """Wait until a command's run is known to the worker."""

    def known() -> dict[str, str]:
        assert "triggered" in {outcome["status"] for outcome in site.of(draft)}
        run = site.run_of(draft)
        assert run is not None
        return run

    return eventually(known, seconds=60)


def deploy(airflow: AirflowApi, folder: Path, name: str) -> Path:
    """Put a DAG where Airflow reads it, and wait until it has."""
    file = folder / f"{name}.py"
    file.write_text(DAG.format(name=name))

    def known() -> None:
        assert airflow.ask("GET", f"/dags/{name}").status_code == 200

    eventually(known, seconds=90)
    return file


def check_import_error(airflow: AirflowApi, dag_id: str, *, wanted: bool) -> None:
    assert airflow.ask("GET", f"/dags/{dag_id}").json()["has_import_errors"] is wanted


def check_metric(text: str, line: str) -> None:
    assert line in text.splitlines()


def check_ended(airflow: AirflowApi, run: dict[str, str]) -> None:
    assert airflow.run(run["dag_id"], run["dag_run_id"])["state"] == "success"


def reads(text: str) -> float:
    """Requests of the reconciliation so far."""
    start = 'streamapp_airflow_reads_total{purpose="reconcile"} '
    return sum(float(line.removeprefix(start)) for line in text.splitlines() if line.startswith(start))


def check_reads(text: str, wanted: float) -> None:
    assert reads(text) >= wanted
