"""Where a worker takes hints: a real process, which gets as far as it does without Kafka."""

import socket

import pytest

from stack.config import HOST
from streamapp.kafka import exits
from tests.support.worker import Worker


@pytest.mark.parametrize("host", [HOST, "192.0.2.1", "a..b"])
def test_a_worker_that_cannot_take_hints_ends_with_2_and_says_why(tmp_path, host):
    """The port is taken, the address another host's (RFC 5737), or no name at all."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind((HOST, 0))
        address = f"{host}:{taken.getsockname()[1]}"
        settings = {
            "STREAMAPP_BOOTSTRAP_SERVERS": f"{HOST}:1",
            "STREAMAPP_AIRFLOW_TOKEN": "token",
            "STREAMAPP_HINT_LISTEN": address,
            "STREAMAPP_HINT_SECRET": "s3cret",
        }
        worker = Worker("worker", tmp_path, settings)
        worker.start(wait=False)
        try:
            assert worker.wait() == exits.CONFIG
        finally:
            worker.kill()
    (line,) = [line for line in worker.log.splitlines() if address in line]
    assert f"a restart would not help: STREAMAPP_HINT_LISTEN={address}: no hints can be taken there: " in line
    assert "Traceback" not in worker.log
