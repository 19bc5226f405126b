"""Airflow's own plugin manager, of both versions, takes the plugin from its folder and calls it."""

import os
import socket
import subprocess
from pathlib import Path

import pytest

from stack import fetch
from stack.config import HOST, ROOT
from streamapp.airflow.hints import LONGEST, read_hint

# Runs in Airflow's environment, as its scheduler would; the hints leave from a thread.
END = """
import sys
from types import SimpleNamespace

from airflow.listeners.listener import get_listener_manager

hook = get_listener_manager().hook
hook.on_dag_run_running(dag_run=SimpleNamespace(dag_id="probe", run_id="cmd__shop__c0__1.1"), msg="")
hook.on_dag_run_success(dag_run=SimpleNamespace(dag_id="probe", run_id="cmd__shop__c1__1.1"), msg="")
hook.on_dag_run_failed(dag_run=SimpleNamespace(dag_id="probe", run_id="manual__1"), msg="")
hook.on_dag_run_failed(dag_run=SimpleNamespace(dag_id="probe", run_id="cmd__shop__c2__1.1"), msg="")
sys.stdin.read()
"""


@pytest.mark.parametrize("airflow", [fetch.airflow, fetch.airflow_2], ids=["airflow_3", "airflow_2"])
def test_airflow_loads_it_and_tells_it_of_ends(airflow, tmp_path: Path) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as worker:
        worker.bind((HOST, 0))
        worker.settimeout(100)
        environment = {
            "AIRFLOW_HOME": str(tmp_path),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__CORE__PLUGINS_FOLDER": str(ROOT / "airflow_plugin"),
            "STREAMAPP_HINT_TARGETS": f"{HOST}:{worker.getsockname()[1]}",
            "STREAMAPP_HINT_SECRET": "s3cret",
        }
        with subprocess.Popen(
            [str(airflow() / "bin" / "python"), "-c", END],
            env={**os.environ, **environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        ) as scheduler:
            try:
                hints = [read_hint(worker.recv(LONGEST), "s3cret") for _ in range(2)]
            finally:
                scheduler.kill()
    assert hints == [("probe", "cmd__shop__c1__1.1"), ("probe", "cmd__shop__c2__1.1")]
