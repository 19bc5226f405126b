"""Reads: outcomes and the inbox of a running stack. Writes: commands, as a user would. `python -m stack.demo`."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.message import EmailMessage
from itertools import pairwise
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from stack.config import Config, StackError
from stack.mail import mails
from stack.up import pages

DEADLINE_SECONDS = 120
RECIPIENT = "test@email.com"
STREAMAPP = str(Path(sys.executable).with_name("streamapp"))
# Several keys at once, each in order; a failing command does not stop its key.
PROBES = (
    *(("orders-17", 0.2, False), ("orders-17", 0.5, False), ("orders-17", 0.2, True), ("orders-17", 0.2, False)),
    *(("orders-18", 1.0, False), ("orders-18", 0.2, False), ("orders-18", 0.2, False)),
    *(("customer-3", 0.2, True), ("customer-3", 0.2, False), ("shipment-9", 0.5, False)),
)


@dataclass
class Sent:
    """A command of this demo, and the outcome that ended it."""

    id: str
    command: str
    key: str
    params: dict[str, Any]
    outcome: dict[str, Any] = field(default_factory=dict)

    @property
    def expected(self) -> str:
        """The status that it should end with."""
        return "failed" if self.params.get("fail") else "succeeded"

    def time(self, name: str) -> datetime | None:
        """One of the outcome's times."""
        text = (self.outcome.get("timings") or {}).get(name)
        return datetime.fromisoformat(text) if text else None

    def seconds(self, since: str, until: str) -> str:
        """The time between two stations."""
        begin, end = self.time(since), self.time(until)
        return f"{(end - begin).total_seconds():.1f}" if begin and end else "-"


def main(config: Config, console: Console) -> None:
    """Send the commands, follow them to their ends, say whether all went as it should."""
    folder = config.state / "demo"
    folder.mkdir(parents=True, exist_ok=True)
    server = folder / "kafka_server.config"
    server.write_text(f"bootstrap.servers={config.bootstrap_servers}\nschema.registry.url={config.registry_url}\n")
    sent = _commands(f"demo-{datetime.now(UTC):%m%d-%H%M%S}")
    deadline = time.monotonic() + DEADLINE_SECONDS
    _send(sent, server, folder / "commands.jsonl", console)
    _follow(sent, server, console)
    console.print(_table(sent))
    if wrong := [*problems(sent), *overlaps(sent)]:
        raise StackError("the demo failed: " + "; ".join(wrong))
    mail = _mail(config, sent[-1].id, deadline)
    console.print(f"\nThe mail: [bold]{mail['Subject']}[/bold], from {mail['From']} to {mail['To']}")
    console.print("Each command ended as it should, and the runs of each key one after another.\n")


def problems(sent: list[Sent]) -> list[str]:
    """Say which commands ended otherwise than they should."""
    wrong = [one for one in sent if one.outcome["status"] != one.expected]
    return [f"{one.id} ended as {one.outcome['status']}, not as {one.expected}" for one in wrong]


def overlaps(sent: list[Sent]) -> list[str]:
    """Say which runs started before the one before them, of the same key, had ended."""
    found = []
    for before, after in pairwise(sent):
        ended, started = before.time("ended_at"), after.time("started_at")
        if before.key == after.key and ended and started and started < ended:
            found.append(f"{after.id} started before {before.id} had ended")
    return found


def _commands(name: str) -> list[Sent]:
    probes = [
        Sent(f"{name}-{number:02}", "app.probe", key, {"seconds": seconds, "fail": fail})
        for number, (key, seconds, fail) in enumerate(PROBES, start=1)
    ]
    return [*probes, Sent(f"{name}-mail", "app.send_email_alert", "event", {"email": RECIPIENT})]


def _send(sent: list[Sent], server: Path, file: Path, console: Console) -> None:
    *probes, alert = sent
    lines = [{"command": c.command, "params": json.dumps(c.params), "key": c.key, "id": c.id} for c in probes]
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    one = ["--command", alert.command, "--params", json.dumps(alert.params), "--key", alert.key, "--id", alert.id]
    for what in (["--file", str(file)], one):
        argv = ["send", "--topic", "commands", "--config_file", str(server), *what]
        console.print(f"[dim]$ streamapp {' '.join(argv)}[/dim]", soft_wrap=True, highlight=False)
        done = subprocess.run([STREAMAPP, *argv], check=False)
        if done.returncode:
            raise StackError(f"streamapp send ended with {done.returncode}")


def _follow(sent: list[Sent], server: Path, console: Console) -> None:
    by_id = {one.id: one for one in sent}
    ended: list[Sent] = []
    with console.status("") as status:
        for outcome in _outcomes(list(by_id), server):
            by_id[outcome["command_id"]].outcome = outcome
            ended = [one for one in sent if one.outcome.get("status") in {"succeeded", "failed", "rejected"}]
            status.update(f"{len(ended)} of {len(sent)} commands have ended")
    if missing := [f"{one.id} ({one.outcome.get('status', 'not seen')})" for one in sent if one not in ended]:
        raise StackError(
            f"after {DEADLINE_SECONDS} s these have not ended: {', '.join(missing)}; `make logs` tells more"
        )


def _outcomes(ids: list[str], server: Path) -> Iterator[dict[str, Any]]:
    wanted = [word for id_ in ids for word in ("--until-terminal", id_)]
    limit = ["--timeout", f"{DEADLINE_SECONDS}s", "--json", "--config_file", str(server)]
    with subprocess.Popen([STREAMAPP, "tail", *limit, *wanted], stdout=subprocess.PIPE, text=True) as tail:
        assert tail.stdout
        for line in tail.stdout:
            yield json.loads(line)


def _table(sent: list[Sent]) -> Table:
    table = Table("command", "key")
    table.add_column("run", overflow="fold")
    table.add_column("status", no_wrap=True)
    for name in ("queued s", "running s", "in all s"):
        table.add_column(name, justify="right")
    colours = {"succeeded": "green", "failed": "red"}
    for one in sent:
        status = one.outcome["status"]
        shown = f"[{colours.get(status, 'yellow')}]{status}[/]" + (" (asked for)" if one.params.get("fail") else "")
        waits = (one.seconds("accepted_at", "triggered_at"), one.seconds("started_at", "ended_at"))
        run = one.outcome.get("dag_run_id") or "-"
        table.add_row(one.command, one.key, run, shown, *waits, one.seconds("accepted_at", "ended_at"))
    return table


def _mail(config: Config, command_id: str, deadline: float) -> EmailMessage:
    while True:
        for mail in mails(config):
            if command_id in mail["Subject"] and RECIPIENT in mail["To"]:
                return mail
        if time.monotonic() > deadline:
            raise StackError(f"no mail to {RECIPIENT} has arrived in {config.state / 'mail' / 'inbox'}")
        time.sleep(0.2)


if __name__ == "__main__":
    try:
        settings = Config.from_environment()
        console = Console()
        main(settings, console if console.is_terminal else Console(width=140))
        print(pages(settings))
    except StackError as error:
        sys.exit(f"stack: {error}")
