"""What ended longer ago than the retention is forgotten by the workers, their changelogs and the next owners."""

import json
import re
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tests.support.airflow_api import FakeAirflowProcess
from tests.support.eventually import eventually
from tests.support.installation import Installation, command
from tests.support.tables import changelog
from tests.support.worker import Worker

STREAMAPP = str(Path(sys.executable).with_name("streamapp"))


def test_what_has_ended_is_forgotten_after_its_retention(
    install: Callable[..., Installation], airflow: FakeAirflowProcess
) -> None:
    site = install(retention="3s")
    one, two = site.start_workers("one", "two")
    some = [command(b"k%d" % (n % 9), id=f"c{n}", fail=n % 10 == 0) for n in range(150)]
    sent = site.send(*some, command(b"k1", name="nobody", id="bad"), *some[140:145])
    endings = site.endings(sent, seconds=60)
    assert [endings[draft.place]["status"] for draft in sent[150:]] == ["rejected"] + ["duplicate"] * 5
    eventually(lambda: check_forgotten(site), seconds=60)
    assert pruned(one) + pruned(two) == 156
    assert tables(site, one) == ["ok"] * 4

    # The next owners know nothing of them either, with the old directory or a new one.
    assert one.terminate() == 0
    two.kill()
    two.forget_data()
    one.start()
    two.start()
    assert site.violations() == []
    (run,) = [run for run in site.runs() if run["conf"]["_command"]["id"] == "c1"]
    airflow.control("delete-run", dag_id=run["dag_id"], run_id=run["dag_run_id"])
    forgotten, kept = site.send(command(b"k1", id="c1"), command(b"k2", id="c2", fail=False))
    assert site.ending(forgotten)["status"] == "succeeded"
    assert site.ending(kept)["status"] == "duplicate"  # because Airflow still has the run
    assert [next(told["status"] for told in site.of(draft)) for draft in (forgotten, kept)] == ["accepted"] * 2
    eventually(lambda: check_forgotten(site), seconds=60)
    assert tables(site, one) == ["ok"] * 4


def test_ids_are_remembered_as_long_as_their_route_says(install: Callable[..., Installation], tmp_path: Path) -> None:
    file = tmp_path / "routes.toml"
    file.write_text(
        '[[route]]\ncommand = "brief.*"\ndag = "probe"\ndedupe_for = "1s"\n\n[[route]]\ncommand = "app.*"\n'
    )
    site = install(retention="10m", routes_file=str(file))  # looked through every 12 s
    (worker,) = site.start_workers("one")
    brief, kept = (command(b"k", name="brief.x", id="brief"), command(b"k", id="kept"))
    site.endings(site.send(brief, kept))
    eventually(lambda: check_pruned(worker, 1), seconds=60)
    taken, known = site.send(brief, kept)
    site.endings([taken, known])
    assert site.of(taken)[0]["status"] == "accepted"  # Airflow's run of the same id is met afterwards
    assert [outcome["status"] for outcome in site.of(known)] == ["duplicate"]


def check_pruned(worker: Worker, count: int) -> None:
    assert pruned(worker) == count


def check_forgotten(site: Installation) -> None:
    """The changelogs have no rows any more."""
    left = {(record.partition, record.key): record.value for record in changelog(site)}
    names = [key for (_, key), value in left.items() if value is not None]
    assert not names, f"{len(names)} rows: {names[:5]}"


def pruned(worker: Worker) -> int:
    """What a worker says it has forgotten since its start."""
    found = re.search(r"^streamapp_commands_pruned_total (\S+)$", worker.get("/metrics").text, re.MULTILINE)
    assert found is not None
    return int(float(found[1]))


def tables(site: Installation, worker: Worker) -> list[str]:
    """How `streamapp doctor --tables` finds the tables of all workers, asked through one of them."""
    done = subprocess.run(
        [STREAMAPP, "doctor", "--tables", "--json"],
        env=site.environment | {"STREAMAPP_WORKER_URL": worker.url},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    checks = [json.loads(line) for line in done.stdout.splitlines()]
    return [check["state"] for check in checks if check["part"].startswith("table")]


def test_commands_that_wait_for_a_time_hold_further_ones(install: Callable[..., Installation]) -> None:
    site = install(later_limit="20")
    (worker,) = site.start_workers("one")
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    site.send(*[command(None, not_before=tomorrow) for _ in range(20)])
    eventually(lambda: check_metric(worker, 'streamapp_commands_held{reason="later"} 1.0'))


def check_metric(worker: Worker, line: str) -> None:
    metrics = worker.get("/metrics").text
    assert line in metrics.splitlines(), metrics
