"""Reads: STACK_* environment variables. Writes: nothing. Where each part listens and keeps its files."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CACHE = ROOT / ".cache" / "stack"
STATE = (ROOT / ".stack").resolve()  # as processes tell their folders: it may be a link
HOST = "127.0.0.1"


class StackError(Exception):
    """What is wrong and how to mend it, in one line."""


@dataclass(frozen=True)
class Config:
    """One development stack; each field is settable as STACK_<FIELD>."""

    state: Path = STATE
    kafka_port: int = 9092
    kafka_controller_port: int = 9093
    kafka_properties: str = ""  # a file whose server properties win over the built-in ones
    registry_port: int = 8081
    airflow_port: int = 8080
    airflow_password: str = ""  # of the user `admin`; empty: one is made and kept under the state folder
    airflow_parallelism: str = "8"  # tasks at a time
    postgres_port: int = 15432
    smtp_port: int = 1025
    worker1_port: int = 6066
    worker2_port: int = 6067
    log_dir: str = ""  # where each part writes its own log; empty: to the terminal
    lifeline: str = ""  # "stdin": a part ends itself when its standard input closes

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] = os.environ) -> "Config":
        """Read the settings; what is not set keeps its default."""
        values: dict[str, Path | int | str] = {}
        for field in fields(cls):
            name = variable(field.name)
            if name not in environ:
                continue
            text = environ[name]
            if field.name == "state":
                values[field.name] = Path(text).resolve()
            elif field.name.endswith("_port"):
                if not text.isdigit():
                    raise StackError(f"{name}={text!r} is not a port number")
                values[field.name] = int(text)
            else:
                values[field.name] = text
        return cls(**values)  # type: ignore[arg-type]

    def environment(self) -> dict[str, str]:
        """Return the variables that make another process see this same stack."""
        return {variable(field.name): str(getattr(self, field.name)) for field in fields(self)}

    @property
    def bootstrap_servers(self) -> str:
        """Where Kafka listens."""
        return f"{HOST}:{self.kafka_port}"

    @property
    def registry_url(self) -> str:
        """The registry's Confluent-compatible API."""
        return f"http://{HOST}:{self.registry_port}/apis/ccompat/v7"

    @property
    def airflow_url(self) -> str:
        """Airflow's pages and API."""
        return f"http://{HOST}:{self.airflow_port}"


def variable(field: str) -> str:
    """Return the name of the environment variable for a field of Config."""
    return f"STACK_{field.upper()}"


PORTS = tuple(field.name for field in fields(Config) if field.name.endswith("_port"))
