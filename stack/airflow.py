"""Reads: its ports and folder from Config, dags/. Writes: Airflow's home under the state directory. Airflow 3."""

import json
import os
import subprocess
import urllib.request
from typing import ClassVar

from stack import fetch
from stack.config import HOST, ROOT, Config, StackError
from stack.part import Command, Part, http_json, http_problem, locked, wait_for
from stack.postgres import Postgres
from stack.secret import secret, write

USERNAME = "admin"
DAGS = ("probe", "send_email_alert")


def password(config: Config) -> str:
    """Return the password of the user `admin`."""
    return config.airflow_password or secret(config.state / "airflow.password")


class _Airflow(Part):
    """What Airflow's processes share: one home, one database, one set of settings."""

    arguments: ClassVar[tuple[str, ...]]

    def prepare(self) -> None:
        """Bring the database up to date; the first of the processes does it, the others wait."""
        home = self.config.state / "airflow"
        home.mkdir(parents=True, exist_ok=True)
        with locked(home / "migrate.lock"):
            stamp = home / "migrated"
            version = fetch.AIRFLOW_REQUIREMENTS.read_text()
            if stamp.exists() and stamp.read_text() == version:
                return
            write(home / "passwords.json", json.dumps({USERNAME: password(self.config)}))
            wait_for(Postgres(self.config), deadline_seconds=60)
            done = subprocess.run(
                [self._program, "db", "migrate"],
                check=False,
                capture_output=True,
                text=True,
                env={**os.environ, **self._environment()},
            )
            if done.returncode:
                raise StackError(f"Airflow's database can't be made: {done.stderr or done.stdout}")
            stamp.write_text(version)

    def command(self) -> Command:
        """Return the command line of this process of Airflow."""
        wait_for(Postgres(self.config), deadline_seconds=60)
        return Command([self._program, *self.arguments], self._environment())

    def health(self, component: str) -> str | None:
        """Return why a component is not healthy by Airflow's own account, or None."""
        url = f"{self.config.airflow_url}/api/v2/monitor/health"
        try:
            status = http_json(url)[component]["status"]
        except OSError as error:
            return f"{url}: {getattr(error, 'reason', error)}"
        return None if status == "healthy" else f"{url} says {component} is {status or 'not there'}"

    @property
    def _program(self) -> str:
        return str(fetch.airflow() / "bin" / "airflow")

    def _environment(self) -> dict[str, str]:
        config, home = self.config, self.config.state / "airflow"
        database = f"airflow:{Postgres(config).password}@{HOST}:{config.postgres_port}/postgres"
        smtp = {"disable_ssl": True, "disable_tls": True, "from_email": "airflow@example.com"}
        mail = {"conn_type": "smtp", "host": HOST, "port": config.smtp_port, "extra": smtp}
        return {
            "AIRFLOW_HOME": str(home),
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"postgresql+psycopg2://{database}",
            "AIRFLOW__CORE__DAGS_FOLDER": str(ROOT / "dags"),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
            "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
            "AIRFLOW__CORE__PARALLELISM": config.airflow_parallelism,
            "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{config.airflow_url}/execution/",
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": f"{USERNAME}:admin",
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(home / "passwords.json"),
            "AIRFLOW__API__HOST": HOST,
            "AIRFLOW__API__PORT": str(config.airflow_port),
            "AIRFLOW__API__BASE_URL": config.airflow_url,
            "AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.2",
            "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "5",
            # A task's supervisor may miss the end of its process and then sleeps this long: 5 s by default.
            "AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL": "1",
            "AIRFLOW_CONN_SMTP_DEFAULT": json.dumps(mail),
        }


class AirflowApi(_Airflow):
    """The pages and the API."""

    name: ClassVar[str] = "airflow-api"
    ports: ClassVar[tuple[str, ...]] = ("airflow_port",)
    arguments: ClassVar[tuple[str, ...]] = ("api-server",)

    def waiting_for(self) -> str | None:
        """Ask for its health, and first for what tasks use: Airflow answers nobody else while it builds that."""
        return http_problem(f"{self.config.airflow_url}/execution/health") or self.health("metadatabase")


class AirflowScheduler(_Airflow):
    """Schedules, and runs the tasks as its children."""

    name: ClassVar[str] = "airflow-scheduler"
    # Nobody needs the port on which it would serve the tasks' logs.
    arguments: ClassVar[tuple[str, ...]] = ("scheduler", "--skip-serve-logs")

    def waiting_for(self) -> str | None:
        """Ask the API for the scheduler's health."""
        return self.health("scheduler")


class AirflowTriggerer(_Airflow):
    """Runs triggers, which only DAGs that wait for something need."""

    name: ClassVar[str] = "airflow-triggerer"
    arguments: ClassVar[tuple[str, ...]] = ("triggerer", "--skip-serve-logs")

    def waiting_for(self) -> str | None:
        """Ask the API for the triggerer's health."""
        return self.health("triggerer")


class AirflowDagProcessor(_Airflow):
    """Reads the folder dags/."""

    name: ClassVar[str] = "airflow-dag-processor"
    arguments: ClassVar[tuple[str, ...]] = ("dag-processor",)

    def waiting_for(self) -> str | None:
        """Ask the API for the DAGs."""
        if problem := self.health("dag_processor"):
            return problem
        try:
            headers = {"Authorization": f"Bearer {token(self.config)}"}
            problems = (http_problem(f"{self.config.airflow_url}/api/v2/dags/{dag}", headers) for dag in DAGS)
            return next((problem for problem in problems if problem), None)
        except OSError as error:
            return f"no log-in at {self.config.airflow_url}: {error}"


def token(config: Config) -> str:
    """Log in to Airflow's API."""
    body = json.dumps({"username": USERNAME, "password": password(config)}).encode()
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(f"{config.airflow_url}/auth/token", body, headers)
    with urllib.request.urlopen(request, timeout=5) as answer:
        return str(json.load(answer)["access_token"])
