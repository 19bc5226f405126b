"""Reads: the Procfile's parts. Writes: state and logs under the state directory. Starts the stack in the background."""

import os
import re
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

from stack import airflow, down, fetch
from stack.config import HOST, ROOT, Config, StackError
from stack.part import Part
from stack.parts import PARTS
from stack.run import check_ports

DEADLINE_SECONDS = 180


def up(config: Config) -> None:
    """Fetch what is missing, start all parts and wait until each answers."""
    parts = [part(config) for part in PARTS.values()]
    if running := [part for part in parts if down.processes(part)]:
        if missing := [f"{part.name} ({problem})" for part in parts if (problem := part.waiting_for())]:
            names = ", ".join(part.name for part in running)
            raise StackError(f"{names} still run, but these don't answer: {'; '.join(missing)}. First: make down")
        print("The stack runs already.")
        return
    fetch.all_parts(print)
    for part in parts:
        check_ports(part)
    logs = _fresh_logs(config)
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


def _fresh_logs(config: Config) -> Path:
    logs, earlier = config.state / "logs", config.state / "logs.earlier"
    if logs.exists():
        shutil.rmtree(earlier, ignore_errors=True)
        logs.rename(earlier)
    logs.mkdir(parents=True)
    return logs


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
            what_happened = _what_happened(problems, logs)
            down.down(parts[0].config)
            raise StackError(what_happened)
        time.sleep(0.2)


def _what_happened(problems: dict[str, str | None], logs: Path) -> str:
    """Name the part that ended first, for honcho ends the others; or else those that don't answer."""
    stopped = re.search(r"\| (\S+)\.1 stopped", (logs / "honcho.log").read_text(errors="replace"))
    missing = {name: problem for name, problem in problems.items() if problem}
    told = {stopped.group(1): "ended"} if stopped else missing
    lines = ["the stack did not start"]
    for name, problem in told.items():
        log = logs / f"{name}.log"
        tail = log.read_text(errors="replace").splitlines()[-8:] if log.exists() else []
        lines += [f"{name}: {problem}; {log} ends with:", *(f"  {line}" for line in tail)]
    return "\n".join(lines)


if __name__ == "__main__":
    try:
        settings = Config.from_environment()
        up(settings)
        print(pages(settings))
    except StackError as error:
        sys.exit(f"stack: {error}")
