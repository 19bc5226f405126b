"""Starting and ending a part, tried on the smallest one: the mail catcher."""

import os
import smtplib
import socket
import subprocess
import sys
import threading
import time
from email.message import EmailMessage
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from stack import airflow, fetch
from stack.airflow import AirflowApi
from stack.config import HOST, ROOT, Config, StackError
from stack.down import down
from stack.mail import Mail as MailPart
from stack.postgres import Postgres
from stack.run import check_ports
from stack.secret import secret
from tests.support.eventually import eventually
from tests.support.stack import Mail, free_port


def test_a_mail_is_kept(tmp_path: Path) -> None:
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = "a@example.com", "b@example.com", "Grüße"
    message.set_content("hello")
    with Mail(tmp_path) as mail:
        with smtplib.SMTP(HOST, mail.config.smtp_port) as client:
            client.send_message(message)
        assert [(kept["To"], kept["Subject"]) for kept in mail.mails] == [("b@example.com", "Grüße")]


def test_a_port_in_use_is_named(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind((HOST, 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(StackError, match=f"port {port}, which mail needs, is in use: .* set STACK_SMTP_PORT"):
            check_ports(MailPart(Config(state=tmp_path, smtp_port=port)))


def test_a_part_that_ends_at_its_start_says_why(tmp_path: Path) -> None:
    mail = Mail(tmp_path)
    with socket.socket() as other:
        other.bind((HOST, mail.config.smtp_port))
        other.listen()
        mail.deadline_seconds = 20
        mail.part.waiting_for = lambda: "nobody answers"  # type: ignore[method-assign]
        with pytest.raises(AssertionError, match=r"mail ended with 1[\s\S]*is in use"):
            mail.start()


@pytest.mark.parametrize("same_port", [True, False])
def test_a_part_that_is_started_twice_is_still_ended_by_make_down(tmp_path: Path, *, same_port: bool) -> None:
    config = Config(state=tmp_path, smtp_port=free_port())
    again = config if same_port else Config(state=tmp_path, smtp_port=free_port())

    def start(config: Config) -> subprocess.Popen[str]:
        argv = [sys.executable, "-m", "stack.run", "mail"]
        environment = {**os.environ, **config.environment()}
        return subprocess.Popen(
            argv, cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True, start_new_session=True
        )

    def answers() -> None:
        assert MailPart(config).waiting_for() is None

    first = start(config)
    try:
        eventually(answers, seconds=30)
        second = start(again)
        try:
            _, said = second.communicate(timeout=30)
        finally:
            second.kill()
        assert second.returncode == 1
        assert said == "stack: mail: mail still runs. First: make down\n"
        assert down(config) == 1
        first.communicate(timeout=30)
    finally:
        first.kill()


def test_a_part_ends_with_the_process_that_started_it(tmp_path: Path) -> None:
    code = (
        "import os, pathlib, signal, sys\n"
        "from tests.support.stack import Mail\n"
        f"mail = Mail(pathlib.Path({str(tmp_path)!r})); mail.start()\n"
        "print(mail.config.smtp_port, flush=True); os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False, capture_output=True, text=True)
    assert done.returncode == -9, done.stderr
    part = MailPart(Config(state=tmp_path, smtp_port=int(done.stdout)))
    deadline = time.monotonic() + 20
    while part.waiting_for() is None:
        assert time.monotonic() < deadline, "the part still answers"
        time.sleep(0.05)


def test_ports_are_given_out_once_and_not_those_of_the_stack() -> None:
    ports = [free_port() for _ in range(50)]
    assert len(set(ports)) == 50
    assert all(21000 <= port < 30000 for port in ports)


def test_a_secret_is_made_once_and_readable_by_its_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "password"
    assert secret(path) == secret(path)
    assert len(secret(path)) == 32
    assert path.stat().st_mode & 0o777 == 0o600
    assert secret(tmp_path / "other") != secret(path)


def test_passwords_that_programs_read_from_files_are_their_owners_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = Config(state=tmp_path)
    word = tmp_path / "postgres" / "initial.password"
    modes: list[int] = []

    def run(argv: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        if f"--pwfile={word}" in argv:
            modes.append(word.stat().st_mode & 0o777)
        return subprocess.CompletedProcess(argv, 0, "", "")

    monkeypatch.setattr(subprocess, "run", run)
    monkeypatch.setattr(airflow, "wait_for", lambda *_, **__: None)
    monkeypatch.setattr(fetch, "airflow", lambda: tmp_path)
    monkeypatch.setattr(Postgres, "_binaries", tmp_path)
    Postgres(config).prepare()
    AirflowApi(config).prepare()
    modes.append((tmp_path / "airflow" / "passwords.json").stat().st_mode & 0o777)
    assert modes == [0o600, 0o600]


def test_airflow_is_not_ready_before_what_tasks_use_is() -> None:
    status = {"/execution/health": 503, "/api/v2/monitor/health": 200}

    class Half(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status[self.path])
            self.end_headers()
            self.wfile.write(b'{"metadatabase": {"status": "healthy"}}')

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with HTTPServer((HOST, 0), Half) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        part = AirflowApi(Config(airflow_port=server.server_port))
        assert part.waiting_for() == f"http://{HOST}:{server.server_port}/execution/health answers 503"
        status["/execution/health"] = 200
        assert part.waiting_for() is None
        server.shutdown()
