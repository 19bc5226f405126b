"""Reads: stack/. Writes: state and logs under the folder it is given. Real parts for tests, on free ports.

Every class is a context manager and has `start`, `stop`, `kill` and `log`; `start` returns once the part answers.
What was started ends with its test process, however that ends.
"""

import base64
import http.server
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from email.message import EmailMessage
from pathlib import Path
from typing import Self

from stack.airflow import USERNAME, token
from stack.config import HOST, PORTS, ROOT, Config, variable
from stack.kafka import metadata_problem
from stack.mail import mails
from stack.parts import ALL_PARTS

FIRST_PORT = 21000
_process = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % 9
"""Which of the processes this is in which the tests run; each has ports of its own."""
_given_out: set[int] = set()


def free_port() -> int:
    """Return a port nobody has, outside the ranges of `make up` and of outgoing connections."""
    while True:
        port = random.randrange(FIRST_PORT + 1000 * _process, FIRST_PORT + 1000 * (_process + 1))
        with socket.socket() as probe:
            try:
                probe.bind((HOST, port))
            except OSError:
                continue
        if port not in _given_out:
            _given_out.add(port)
            return port


def private(state: Path, **settings: str) -> Config:
    """Return a stack of its own: this state folder, and free ports for every part."""
    ports = {field: str(free_port()) for field in PORTS}
    return Config.from_environment(
        {variable(name): value for name, value in {"state": str(state), **ports, **settings}.items()}
    )


class PartProcess:
    """One part of the stack as a process of this test session."""

    deadline_seconds = 120.0  # ten times what an idle machine needs

    def __init__(self, name: str, config: Config) -> None:
        self.part = ALL_PARTS[name](config)
        self.config = config
        self.log_path = config.state / f"{name}.log"
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def log(self) -> str:
        """Everything the part has printed, over all its starts."""
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    @property
    def running(self) -> bool:
        """Whether the process lives."""
        return self._process is not None and self._process.poll() is None

    def start(self, *, wait: bool = True) -> None:
        """Start the part and wait until it answers; on the same port and with its old data when it ran before."""
        assert not self.running, f"{self.part.name} runs already"
        self.config.state.mkdir(parents=True, exist_ok=True)
        environment = {**os.environ, **self.config.environment(), "STACK_LIFELINE": "stdin"}
        with self.log_path.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "stack.run", self.part.name],
                cwd=ROOT, env=environment, stdin=subprocess.PIPE, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        if wait:
            self.wait_ready()

    def wait_ready(self) -> None:
        """Wait until the part answers; fail with the end of its log when it ends or takes too long."""
        deadline = time.monotonic() + self.deadline_seconds
        while problem := self.problem():
            if not self.running or time.monotonic() > deadline:
                tail = "\n".join(self.log.splitlines()[-30:])
                code = self._process.poll() if self._process else None
                self.kill()
                why = f"ended with {code}" if code is not None else f"not ready in {self.deadline_seconds:.0f} s"
                raise AssertionError(f"{self.part.name} {why}: {problem}\n{self.log_path} ends with:\n{tail}")
            time.sleep(0.1)

    def problem(self) -> str | None:
        """Return why the part can't be used yet, or None."""
        return self.part.waiting_for()

    def stop(self, grace_seconds: float = 15.0) -> None:
        """End the part in good order."""
        self._end(signal.SIGTERM, grace_seconds)

    def kill(self) -> None:
        """End the part as a power cut would."""
        self._end(signal.SIGKILL, grace_seconds=10.0)

    def _end(self, how: signal.Signals, grace_seconds: float) -> None:
        if self._process is None:
            return
        process, self._process = self._process, None
        process.send_signal(how)
        try:
            process.wait(grace_seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        assert process.stdin
        process.stdin.close()  # the part's guard ends what the program may have left behind


class Kafka(PartProcess):
    """A broker."""

    def __init__(self, directory: Path, properties: dict[str, str] | None = None) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        overrides = directory / "overrides.properties"
        overrides.write_text("".join(f"{name}={value}\n" for name, value in (properties or {}).items()))
        super().__init__("kafka", private(directory, kafka_properties=str(overrides)))

    @property
    def bootstrap_servers(self) -> str:
        """Where it listens."""
        return self.config.bootstrap_servers

    @property
    def client(self) -> dict[str, str]:
        """What a Confluent client needs to reach it."""
        return {"bootstrap.servers": self.bootstrap_servers}

    def problem(self) -> str | None:
        """Ask for metadata."""
        return metadata_problem(self.client)


class SaslKafka(Kafka):
    """A broker that asks for TLS and a password, as Confluent Cloud does."""

    username = "alice"
    password = "alice-secret"

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.ca_file = directory / "ca.pem"
        store, secret = directory / "server.p12", "changeit"
        keytool = ["keytool", "-keystore", str(store), "-storetype", "PKCS12", "-storepass", secret, "-alias", "kafka"]
        names = ["-dname", "CN=localhost", "-ext", f"SAN=dns:localhost,ip:{HOST}"]
        for action in (["-genkeypair", "-keyalg", "EC", *names], ["-exportcert", "-rfc", "-file", str(self.ca_file)]):
            subprocess.run([*keytool, *action], check=True, capture_output=True)
        login = "org.apache.kafka.common.security.plain.PlainLoginModule required"
        users = f'user_broker="broker-secret" user_{self.username}="{self.password}"'
        jaas = f'{login} username="broker" password="broker-secret" {users};'
        super().__init__(directory, {})
        listeners = f"SASL_SSL://{self.bootstrap_servers},CONTROLLER://{HOST}:{self.config.kafka_controller_port}"
        properties = {
            "listeners": listeners,
            "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,SASL_SSL:SASL_SSL",
            "inter.broker.listener.name": "SASL_SSL",
            "sasl.enabled.mechanisms": "PLAIN",
            "sasl.mechanism.inter.broker.protocol": "PLAIN",
            "listener.name.sasl_ssl.plain.sasl.jaas.config": jaas,
            "ssl.keystore.type": "PKCS12",
            "ssl.keystore.location": str(store),
            "ssl.keystore.password": secret,
            "ssl.truststore.type": "PEM",
            "ssl.truststore.location": str(self.ca_file),
        }
        Path(self.config.kafka_properties).write_text("".join(f"{n}={v}\n" for n, v in properties.items()))

    @property
    def client(self) -> dict[str, str]:
        """What a Confluent client needs to reach it; the lines of a kafka_server.config."""
        return {
            "bootstrap.servers": self.bootstrap_servers,
            "security.protocol": "SASL_SSL",
            "sasl.mechanisms": "PLAIN",
            "sasl.username": self.username,
            "sasl.password": self.password,
            "ssl.ca.location": str(self.ca_file),
        }


class Registry(PartProcess):
    """A schema registry."""

    def __init__(self, directory: Path) -> None:
        super().__init__("registry", private(directory))

    @property
    def url(self) -> str:
        """Its Confluent-compatible API."""
        return self.config.registry_url


class Mail(PartProcess):
    """A mail server that delivers into a folder."""

    def __init__(self, directory: Path) -> None:
        super().__init__("mail", private(directory))

    @property
    def mails(self) -> list[EmailMessage]:
        """What has arrived so far, oldest first."""
        return mails(self.config)


class Airflow:
    """A whole Airflow with its database: the DAGs of dags/, unpaused; mails go to `smtp_port`."""

    username = USERNAME
    password = "airflow-secret"
    names = ("postgres", "airflow-api", "airflow-scheduler", "airflow-dag-processor")

    def __init__(self, directory: Path, smtp_port: int | None = None) -> None:
        mail = {"smtp_port": str(smtp_port)} if smtp_port else {}
        self.config = private(directory, airflow_password=self.password, **mail)
        self.parts = {name: PartProcess(name, self.config) for name in self.names}

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def url(self) -> str:
        """Its pages and API."""
        return self.config.airflow_url

    @property
    def log(self) -> str:
        """What its processes have printed."""
        return "\n".join(f"== {name}\n{part.log}" for name, part in self.parts.items())

    def token(self) -> str:
        """Log in."""
        return token(self.config)

    def start(self) -> None:
        """Start all its processes and wait until they answer."""
        try:
            for part in self.parts.values():
                part.start(wait=False)
            for part in self.parts.values():
                part.wait_ready()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End all its processes, the database last."""
        for part in reversed(self.parts.values()):
            part.stop()


class Airflow2(Airflow):
    """The same as an Airflow 2."""

    names = ("postgres", "airflow2-web", "airflow2-scheduler")


@contextmanager
def basic_auth_proxy(url: str, username: str, password: str) -> Iterator[str]:
    """Put HTTP basic auth in front of a server; yield the address that asks for it."""
    expected = "Basic " + base64.b64encode(f"{username}:{password}".encode()).decode()

    class Proxy(http.server.BaseHTTPRequestHandler):
        def forward(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            if self.headers.get("Authorization") != expected:
                return self.answer(401, b'{"error_code": 401, "message": "Unauthorized"}', "application/json")
            kept = {name: self.headers[name] for name in ("Content-Type", "Accept") if name in self.headers}
            request = urllib.request.Request(url + self.path, body or None, kept, method=self.command)
            try:
                with urllib.request.urlopen(request, timeout=10) as reply:
                    self.answer(reply.status, reply.read(), reply.headers["Content-Type"])
            except urllib.error.HTTPError as reply:
                with reply:
                    self.answer(reply.code, reply.read(), reply.headers["Content-Type"])

        do_GET = do_POST = do_PUT = do_DELETE = forward  # noqa: N815

        def answer(self, status: int, body: bytes, content_type: str) -> None:
            self.send_response(status)
            self.send_header("Content-Type", content_type)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = http.server.ThreadingHTTPServer((HOST, 0), Proxy)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://{HOST}:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def copy_logs(directory: Path, target: Path) -> None:
    """Keep every log under a part's folder, for a failed run to be looked at."""
    for log in directory.rglob("*.log"):
        kept = target / log.relative_to(directory)
        kept.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(log, kept)
