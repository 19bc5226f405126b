"""Reads: its port and folder from Config. Writes: its table under the state directory. Workers of streamapp."""

import os
import subprocess
import sys
from pathlib import Path
from typing import ClassVar

from stack import airflow
from stack.config import HOST, ROOT, Config, StackError
from stack.kafka import Kafka
from stack.part import Command, Part, http_problem, locked, wait_for
from stack.registry import Registry

BINARIES = Path(sys.executable).parent


def settings(config: Config) -> dict[str, str]:
    """Return the environment by which streamapp finds this stack."""
    return {
        "STREAMAPP_BOOTSTRAP_SERVERS": config.bootstrap_servers,
        "STREAMAPP_SCHEMA_REGISTRY_URL": config.registry_url,
        "STREAMAPP_AIRFLOW_URL": config.airflow_url,
        "STREAMAPP_AIRFLOW_USERNAME": airflow.USERNAME,
        "STREAMAPP_AIRFLOW_PASSWORD": airflow.password(config),
        "STREAMAPP_WORKER_URL": f"http://{HOST}:{config.worker1_port}",
    }


def routes_file(folder: Path, named: str | None) -> dict[str, str]:
    """Return the environment by which workers find the routes file of a folder: they start in one of their own."""
    path = folder / (named or "streamapp.toml")
    return {"STREAMAPP_ROUTES_FILE": str(path)} if named or path.exists() else {}


class _Worker(Part):
    """A worker under a supervisor, for a worker may end to be started again."""

    @property
    def port(self) -> int:
        """Where its pages are."""
        return int(getattr(self.config, self.ports[0]))

    def prepare(self) -> None:
        """Create the topics once Kafka and the registry answer; the first worker does it, the other waits."""
        wait_for(Kafka(self.config), deadline_seconds=120)
        wait_for(Registry(self.config), deadline_seconds=120)
        argv = [str(BINARIES / "streamapp"), "topics", "--create"]
        with locked(self.config.state / "topics.lock"):
            done = subprocess.run(argv, check=False, capture_output=True, text=True, env=self._environment())
        if done.returncode:
            raise StackError(f"`streamapp topics --create` ended with {done.returncode}: {done.stderr or done.stdout}")

    def command(self) -> Command:
        """Return the command line of the supervisor and its worker."""
        faust = [str(BINARIES / "faust"), "-A", "streamapp", "--datadir", str(self.state)]
        worker = ["worker", "-l", "info", "--web-port", str(self.port)]
        return Command([sys.executable, "-m", "stack.supervise", *faust, *worker], self._environment())

    def waiting_for(self) -> str | None:
        """Ask whether it is ready."""
        return http_problem(f"http://{HOST}:{self.port}/health/ready")

    def _environment(self) -> dict[str, str]:
        routes = routes_file(ROOT, os.environ.get("STREAMAPP_ROUTES_FILE"))
        return {**os.environ, **settings(self.config), **routes, "PYTHONPATH": str(ROOT)}


class Worker1(_Worker):
    """The first worker."""

    name: ClassVar[str] = "worker1"
    ports: ClassVar[tuple[str, ...]] = ("worker1_port",)


class Worker2(_Worker):
    """The second worker."""

    name: ClassVar[str] = "worker2"
    ports: ClassVar[tuple[str, ...]] = ("worker2_port",)
