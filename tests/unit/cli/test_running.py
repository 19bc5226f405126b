import asyncio
import signal
import subprocess
import sys

import pytest

from streamapp.cli.running import INTERRUPTED, run_work

STUBBORN = """
import asyncio
from streamapp.cli.running import run_work

async def work():
    print("ready", flush=True)
    while True:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            {then}

try:
    run_work(work())
except KeyboardInterrupt:
    raise SystemExit(7)
"""


def interrupted(then):
    call = [sys.executable, "-c", STUBBORN.format(then=then)]
    with subprocess.Popen(call, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGINT)
        return process.wait(60)


def test_the_result_of_the_work():
    async def work():
        return 17

    assert run_work(work()) == 17


def test_what_the_work_raises():
    async def work():
        raise LookupError("nothing there")

    with pytest.raises(LookupError, match="nothing there"):
        run_work(work())


def test_being_cancelled_is_not_being_interrupted():
    async def work():
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        run_work(work())


def test_an_interruption_is_one():
    assert interrupted("raise") == 7


def test_work_that_does_not_come_back_from_its_end_is_left():
    assert interrupted("pass") == INTERRUPTED
