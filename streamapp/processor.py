"""What makes a command cheaper for the processor, and costs nothing that a user would notice. Changes this process.

Measured in docs/benchmarks/speed.md.
"""

import ctypes
import gc
import os
import platform
import sys
from contextlib import suppress
from datetime import timedelta

GC_THRESHOLDS = (10_000, 20, 50)
"""Many short-lived objects stand between a record and its acknowledgement; most collections find nothing."""
TURN = timedelta(milliseconds=20)
"""For which a worker asks before another process gets its processor. With Linux's own 1.4 ms each of four workers was
interrupted every 2 ms, and each time some 0.35 ms went by until its data were in the processor's caches again. With
100 ms, and processors nearly full, single commands waited for seconds."""

_SCHED_SETATTR = {"x86_64": 314, "aarch64": 274}
"""The number of this system call, which neither Python nor most C libraries have a name for."""


class _Attributes(ctypes.Structure):
    """`struct sched_attr` of Linux's sched_setattr(2), as it was at first."""

    _fields_ = (
        ("size", ctypes.c_uint32),
        ("policy", ctypes.c_uint32),
        ("flags", ctypes.c_uint64),
        ("nice", ctypes.c_int32),
        ("priority", ctypes.c_uint32),
        ("runtime_ns", ctypes.c_uint64),
        ("deadline_ns", ctypes.c_uint64),
        ("period_ns", ctypes.c_uint64),
    )


def spare() -> None:
    """Collect garbage less often; on Linux, do more at a time where workers share processors.

    A scheduling class that somebody chose for this process is left alone. What a sandbox or an older kernel does not
    have is left out: the length of a turn counts since Linux 6.12.
    """
    gc.set_threshold(*GC_THRESHOLDS)
    if sys.platform == "linux":
        with suppress(OSError):
            if os.sched_getscheduler(0) == os.SCHED_OTHER:
                # Workers that share processors don't interrupt each other at each message.
                os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
                _ask_for_turns(TURN)


def _ask_for_turns(turn: timedelta) -> None:
    if (number := _SCHED_SETATTR.get(platform.machine())) is None:
        return
    asked = _Attributes(
        size=ctypes.sizeof(_Attributes),
        policy=os.SCHED_BATCH,
        nice=os.getpriority(os.PRIO_PROCESS, 0),
        runtime_ns=turn // timedelta(microseconds=1) * 1000,
    )
    ctypes.CDLL(None).syscall(number, 0, ctypes.byref(asked), 0)  # refused, all is as before
