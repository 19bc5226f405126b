import subprocess
import sys

import pytest

from stack.config import ROOT
from streamapp.kafka import exits

START = """
import logging
from datetime import timedelta
from streamapp.kafka import exits
logging.basicConfig()
exits.LAST_WORDS = timedelta(milliseconds=200)
exits.exit_later(exits.STUCK, timedelta(milliseconds=200))
"""
WAIT = "import threading; threading.Event().wait()"
FILL_THE_LOG = "while True: logging.error('x' * 1000)"


@pytest.fixture(params=[WAIT, FILL_THE_LOG])
def process(request):
    """One that was told to leave soon, and does something for ever. Nobody reads its log."""
    code = START + request.param
    with subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stderr=subprocess.PIPE, text=True) as process:
        yield process
        process.kill()


def test_the_process_leaves_after_the_grace_whatever_it_does_and_whoever_reads_its_log(process):
    assert process.wait(20) == exits.STUCK


@pytest.mark.parametrize("process", [WAIT], indirect=True)
def test_it_says_so(process):
    assert process.communicate(timeout=20)[1].endswith("the worker has not ended within 0:00:00.200000: leaving\n")
