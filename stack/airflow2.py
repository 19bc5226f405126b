"""Reads: its port and folder from Config. Writes: Airflow's home under the state directory. Airflow 2, for tests."""

import os
import subprocess
from typing import ClassVar

from stack import fetch
from stack.airflow import USERNAME, password
from stack.config import HOST, ROOT, StackError
from stack.part import Command, Part, http_json, locked, wait_for
from stack.postgres import Postgres

# As `airflow users create -r Admin`, but with a quick hash: basic auth checks the password at every request, and a good
# hash takes 0.1 s.
ADD_USER = """
import sys
from airflow.providers.fab.auth_manager.cli_commands.utils import get_application_builder
from werkzeug.security import generate_password_hash

name, password = sys.argv[1:]
with get_application_builder() as builder:
    users = builder.sm
    hashed = generate_password_hash(password, "pbkdf2:sha256:1")
    assert users.add_user(name, "A", "B", "admin@example.com", users.find_role("Admin"), hashed_password=hashed)
"""


class _Airflow2(Part):
    """What Airflow's processes share: one home, one database, one set of settings."""

    arguments: ClassVar[tuple[str, ...]]
    component: ClassVar[str]

    def prepare(self) -> None:
        """Make the database and the user; the first of the processes does it, the others wait."""
        home = self.config.state / "airflow2"
        home.mkdir(parents=True, exist_ok=True)
        with locked(home / "migrate.lock"):
            stamp = home / "migrated"
            version = fetch.AIRFLOW_2_REQUIREMENTS.read_text()
            if stamp.exists() and stamp.read_text() == version:
                return
            wait_for(Postgres(self.config), deadline_seconds=60)
            self._run("airflow", "db", "migrate")
            self._run("python", "-c", ADD_USER, USERNAME, password(self.config))
            stamp.write_text(version)

    def command(self) -> Command:
        """Return the command line of this process of Airflow."""
        wait_for(Postgres(self.config), deadline_seconds=60)
        return Command([self._program("airflow"), *self.arguments], self._environment())

    def waiting_for(self) -> str | None:
        """Ask the API for the component's health."""
        url = f"{self.config.airflow_url}/api/v1/health"
        try:
            status = http_json(url)[self.component]["status"]
        except OSError as error:
            return f"{url}: {getattr(error, 'reason', error)}"
        return None if status == "healthy" else f"{url} says {self.component} is {status or 'not there'}"

    def _program(self, name: str) -> str:
        return str(fetch.airflow_2() / "bin" / name)

    def _run(self, program: str, *arguments: str) -> None:
        environment = {**os.environ, **self._environment()}
        argv = [self._program(program), *arguments]
        done = subprocess.run(argv, check=False, capture_output=True, text=True, env=environment)
        if done.returncode:
            raise StackError(f"Airflow 2's database can't be made: {done.stderr or done.stdout}")

    def _environment(self) -> dict[str, str]:
        config = self.config
        database = f"airflow:{Postgres(config).password}@{HOST}:{config.postgres_port}/postgres"
        # Its programs look for each other (gunicorn) on the path.
        path = f"{fetch.AIRFLOW_2_VENV / 'bin'}{os.pathsep}{os.environ['PATH']}"
        dags = "AIRFLOW__CORE__DAGS_FOLDER"
        return {
            "PATH": path,
            dags: os.environ.get(dags, str(ROOT / "dags")),  # there is but one folder; tests have more DAGs
            "AIRFLOW_HOME": str(config.state / "airflow2"),
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"postgresql+psycopg2://{database}",
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
            "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
            "AIRFLOW__CORE__PARALLELISM": "4",
            "AIRFLOW__API__AUTH_BACKENDS": "airflow.providers.fab.auth_manager.api.auth.backend.basic_auth",
            "AIRFLOW__WEBSERVER__WEB_SERVER_HOST": HOST,
            "AIRFLOW__WEBSERVER__WEB_SERVER_PORT": str(config.airflow_port),
            "AIRFLOW__WEBSERVER__BASE_URL": config.airflow_url,
            "AIRFLOW__WEBSERVER__WORKERS": "2",
            "AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.2",
            "AIRFLOW__SCHEDULER__PARSING_PROCESSES": "1",
            # How soon a task notices that its run was stopped.
            "AIRFLOW__SCHEDULER__JOB_HEARTBEAT_SEC": "1",
        }


class Airflow2Web(_Airflow2):
    """The pages and the API."""

    name: ClassVar[str] = "airflow2-web"
    ports: ClassVar[tuple[str, ...]] = ("airflow_port",)
    arguments: ClassVar[tuple[str, ...]] = ("webserver",)
    component: ClassVar[str] = "metadatabase"


class Airflow2Scheduler(_Airflow2):
    """Reads the DAGs, schedules, and runs the tasks as its children."""

    name: ClassVar[str] = "airflow2-scheduler"
    arguments: ClassVar[tuple[str, ...]] = ("scheduler", "--skip-serve-logs")
    component: ClassVar[str] = "scheduler"
