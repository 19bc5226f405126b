"""What a worker asks of Linux, as Linux tells it."""

import os
import platform
import struct
import subprocess
import sys

SCHED_GETATTR = {"x86_64": 315, "aarch64": 275}
TURNS_COUNT = tuple(int(part) for part in platform.release().split("-")[0].split(".")[:2]) >= (6, 12)
"""Linux keeps the length of a turn since then."""


def scheduled(*, before: str = "") -> tuple[int, int, int]:
    """Class, niceness and nanoseconds of a turn of a process that was told to spare the processor."""
    program = f"""
import ctypes, os
from streamapp import processor
{before}
processor.spare()
told = ctypes.create_string_buffer(48)
assert ctypes.CDLL(None).syscall({SCHED_GETATTR[platform.machine()]}, 0, told, len(told), 0) == 0
print(told.raw.hex())
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    _, policy, _, nice, _, runtime_ns, _, _ = struct.unpack("IIQiIQQQ", bytes.fromhex(done.stdout))
    return policy, nice, runtime_ns


def test_workers_do_not_interrupt_each_other_for_20_ms() -> None:
    policy, nice, runtime_ns = scheduled()
    assert policy == os.SCHED_BATCH
    assert nice == os.getpriority(os.PRIO_PROCESS, 0)
    assert runtime_ns == (20_000_000 if TURNS_COUNT else 0)


def test_niceness_is_kept() -> None:
    policy, nice, _ = scheduled(before="os.nice(3)")
    assert (policy, nice) == (os.SCHED_BATCH, os.getpriority(os.PRIO_PROCESS, 0) + 3)


def test_a_class_that_somebody_chose_is_kept() -> None:
    policy, _, runtime_ns = scheduled(before="os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))")
    assert policy == os.SCHED_IDLE
    assert runtime_ns != 20_000_000
