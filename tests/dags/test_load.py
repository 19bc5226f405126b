"""The DAGs load in Airflow's own environment, and their templates render with and without conf."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from stack import fetch
from stack.config import ROOT

# Runs in Airflow's environment; what it learns is its last line.
LOOK = """
import json, sys
from types import SimpleNamespace
try:  # Airflow 3
    from airflow.dag_processing.dagbag import DagBag
except ImportError:  # Airflow 2
    from airflow.models import DagBag

bag = DagBag(dag_folder=sys.argv[1])
command = {"id": "order-17", "key": "event", "topic": "commands", "partition": 3, "offset": 7}
confs = [{"email": "test@email.com", "note": "<b>", "_command": command}, {}, None]
mails = []
alert = bag.dags["send_email_alert"]
task = alert.get_task("send_alert_task")
for conf in confs:
    context = {"dag": alert, "dag_run": SimpleNamespace(conf=conf, run_id="run-1")}
    environment = alert.get_template_env()
    to = task.to if isinstance(task.to, str) else task.to[0]
    mails.append([environment.from_string(text).render(context) for text in (to, task.subject, task.html_content)])
dags = {
    dag.dag_id: {
        "tasks": dag.task_ids,
        "scheduled": dag.timetable.can_be_scheduled,
        "max_active_runs": dag.max_active_runs,
        "retries": [t.retries for t in dag.tasks],
        "retry_seconds": [t.retry_delay.total_seconds() for t in dag.tasks],
    }
    for dag in bag.dags.values()
}
print(json.dumps({"errors": bag.import_errors, "dags": dags, "mails": mails}))
"""


@pytest.fixture(scope="module", params=[fetch.airflow, fetch.airflow_2], ids=["airflow_3", "airflow_2"])
def seen(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Any:
    """What Airflow makes of the folder dags/."""
    python = str(request.param() / "bin" / "python")
    home = {"AIRFLOW_HOME": str(tmp_path_factory.mktemp("home")), "AIRFLOW__CORE__LOAD_EXAMPLES": "False"}
    argv = [python, "-c", LOOK, str(ROOT / "dags")]
    done = subprocess.run(argv, check=False, capture_output=True, text=True, env={**os.environ, **home})
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_all_files_load_without_errors(seen: Any) -> None:
    assert seen["errors"] == {}
    assert sorted(seen["dags"]) == sorted(path.stem for path in Path(ROOT / "dags").glob("*.py"))


def test_the_alert_is_one_task_with_one_retry_after_five_minutes(seen: Any) -> None:
    alert = seen["dags"]["send_email_alert"]
    assert alert["tasks"] == ["send_alert_task"]
    assert (alert["retries"], alert["retry_seconds"]) == ([1], [300])
    assert not alert["scheduled"]


def test_the_probe_is_one_task_without_retry_and_runs_side_by_side(seen: Any) -> None:
    probe = seen["dags"]["probe"]
    assert (len(probe["tasks"]), probe["retries"]) == (1, [0])
    assert probe["max_active_runs"] >= 16
    assert not probe["scheduled"]


def test_the_mail_goes_to_the_address_in_conf_and_shows_command_and_params(seen: Any) -> None:
    to, subject, body = seen["mails"][0]
    assert to == "test@email.com"
    assert subject == "Alert: send_email_alert, command order-17"
    assert "commands, partition 3, offset 7" in body
    assert "&lt;b&gt;" in body
    assert "_command" not in body


@pytest.mark.parametrize("conf", [1, 2], ids=["empty", "none"])
def test_without_conf_the_mail_goes_to_the_default_address(seen: Any, conf: int) -> None:
    to, subject, body = seen["mails"][conf]
    assert to == "alerts@example.com"
    assert subject == "Alert: send_email_alert"
    assert "without parameters" in body
