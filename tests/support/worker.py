"""Reads: a worker's health page. Writes: its data directory and log. A worker as a process of a test."""

import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import httpx

from stack.config import ROOT
from tests.support.eventually import eventually
from tests.support.stack import free_port

FAUST = str(Path(sys.executable).with_name("faust"))
START_WITHIN_SECONDS = 60.0
END_WITHIN_SECONDS = 30.0
LOG_LINES = 40
HTTP = httpx.Client(timeout=5, limits=httpx.Limits(max_keepalive_connections=0))
"""One for all questions, since making one takes 20 ms of processor time. It keeps no connection: workers are killed."""


class Worker:
    """`faust -A streamapp worker` with its own data directory and web port. It can be started again after its end."""

    def __init__(
        self, name: str, directory: Path, environment: Mapping[str, str], sabotage: Sequence[str] = ()
    ) -> None:
        """Describe it.

        Args:
            name: Of its data directory and log.
            directory: Where these are.
            environment: The settings.
            sabotage: What goes wrong in it, see tests.support.sabotage.
        """
        self.name = name
        self._environment = {**environment, "PYTHONPATH": str(ROOT)}
        spoiled = [sys.executable, "-m", "tests.support.sabotage", ",".join(sabotage)]
        self._program = spoiled if sabotage else [FAUST, "-A", "streamapp"]
        self.environment = dict(environment)
        self.data = directory / f"{name}-data"
        self.log_path = directory / f"{name}.log"
        self.url = f"http://127.0.0.1:{free_port()}"
        self._directory = directory
        self._process: subprocess.Popen[bytes] | None = None

    # Its life

    def start(self, *, wait: bool = True) -> None:
        """Start it, and wait until it is ready."""
        assert not self.running, f"{self.name} runs already"
        port = self.url.rpartition(":")[2]
        call = [*self._program, "--datadir", str(self.data), "worker", "-l", "info", "--web-port", port]
        with self.log_path.open("ab") as log:
            # It must not outlive the tests, however they end.
            self._process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", *call], cwd=self._directory, env=self._environment,
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip
        if wait:
            self.wait_ready()

    def wait_ready(self, seconds: float = START_WITHIN_SECONDS) -> None:
        """Wait until it says that it takes part; fail with the end of its log."""
        try:
            eventually(self._check_ready, seconds=seconds)
            assert self.running, f"{self.name} has ended with {self.exit_code}"
        except AssertionError as error:
            error.add_note(self.log_tail)
            raise

    def terminate(self) -> int:
        """Ask it to end, as a supervisor does; return its exit code."""
        self.signal(signal.SIGTERM)
        return self.wait()

    def kill(self) -> None:
        """End it as a power cut does. Harmless when it has ended."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def freeze(self) -> None:
        """Stop its clock hands: it gets no processor any more."""
        self.signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        self.signal(signal.SIGCONT)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal."""
        assert self._process is not None
        assert self.running, f"{self.name} has ended with {self.exit_code}"
        self._process.send_signal(number)

    def wait(self, seconds: float = END_WITHIN_SECONDS) -> int:
        """Wait for its end; return its exit code."""
        assert self._process is not None
        try:
            return self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            error = AssertionError(f"{self.name} has not ended in {seconds:.0f} s")
            error.add_note(self.log_tail)
            raise error from None

    def forget_data(self) -> None:
        """Take its database away: it has to be restored from the changelog."""
        assert not self.running
        shutil.rmtree(self.data)

    # What it shows

    @property
    def running(self) -> bool:
        """Whether the process lives."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """Of its process."""
        assert self._process is not None
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """How it ended."""
        return None if self._process is None else self._process.poll()

    @property
    def log(self) -> str:
        """Everything it has printed, over all its starts."""
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    @property
    def log_tail(self) -> str:
        """The end of its log."""
        lines = self.log.splitlines()[-LOG_LINES:]
        return "\n".join([f"{self.log_path} ends with:", *lines])

    def get(self, path: str) -> httpx.Response:
        """Ask its web server."""
        return HTTP.get(self.url + path)

    def _check_ready(self) -> None:
        if not self.running:
            return  # no use in waiting; the caller looks
        try:
            answer = self.get("/health/ready")
        except httpx.HTTPError as error:
            raise AssertionError(f"{self.name} does not answer: {error!r}") from None
        assert answer.status_code == 200, f"{self.name} is not ready: {answer.text}"
