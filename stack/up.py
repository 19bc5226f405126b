"""Reads: the Procfile's parts. Writes: state and logs under the state directory. Starts the stack in the background."""

import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

from stack import airflow, down, fetch, sessions
from stack.config import HOST, ROOT, Config, StackError
from stack.part import Part
from stack.parts import PARTS
from stack.run import check_ports

DEADLINE_SECONDS = 180


def up(config: Config) -> None:
    """Fetch what is missing, start all parts and wait until each answers."""
    parts = [part(config) for part in PARTS.values()]
    if running := [part for part in parts if _processes(part)]:
        if missing := [f"{part.name} ({problem})" for part in parts if (problem := part.waiting_for())]:
            names = ", ".join(part.name for part in running)
            raise StackError(f"{names} still run, but these don't answer: {'; '.join(missing)}. First: make down")
        print("The stack runs already.")
        return
    fetch.all_parts(print)
    for part in parts:
        check_ports(part)
    logs = config.state / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    with (logs / "honcho.log").open("ab") as log:
        environment = {**os.environ, **replace(config, log_dir=str(logs)).environment()}
        honcho = subprocess.Popen(
            [str(Path(sys.executable).with_name("honcho")), "start"],
            cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
    _wait(parts, honcho, logs)


def pages(config: Config) -> str:
    """Say where the pages are, and how to stop."""
    password = airflow.password(config)
    return f"""\
Workers  http://{HOST}:{config.worker1_port}  http://{HOST}:{config.worker2_port}
Airflow  {config.airflow_url}  user {airflow.USERNAME}, password {password}
Kafka    {config.bootstrap_servers}   schema registry  {config.registry_url}
Mail     {config.state / "mail" / "inbox"}
`make logs` follows the logs, `make down` ends it all."""


def _wait(parts: list[Part], honcho: subprocess.Popen[bytes], logs: Path) -> None:
    started = time.monotonic()
    problems: dict[str, str | None] = {part.name: "not started" for part in parts}
    while any(problems.values()):
        for part in parts:
            if problems[part.name] and not (problem := part.waiting_for()):
                print(f"{part.name}: ready after {time.monotonic() - started:.1f} s", flush=True)
                problems[part.name] = None
            elif problems[part.name]:
                problems[part.name] = problem
        if honcho.poll() is not None or time.monotonic() - started > DEADLINE_SECONDS:
            missing = {name: problem for name, problem in problems.items() if problem}
            down.down(parts[0].config)
            raise StackError(_what_happened(missing, logs))
        time.sleep(0.2)


def _what_happened(missing: dict[str, str], logs: Path) -> str:
    told = [f"the stack did not start; logs are in {logs}"]
    for name, problem in missing.items():
        log = logs / f"{name}.log"
        lines = log.read_text(errors="replace").splitlines()[-5:] if log.exists() else []
        told += [f"{name}: {problem}", *(f"  | {line}" for line in lines)]
    return "\n".join(told)


def _processes(part: Part) -> bool:
    return bool(part.session_file.exists() and sessions.members(int(part.session_file.read_text()), part.state))


if __name__ == "__main__":
    try:
        settings = Config.from_environment()
        up(settings)
        print(pages(settings))
    except StackError as error:
        sys.exit(f"stack: {error}")
