"""Reads: the process table. Writes: nothing. Ends what a part left running, and nobody else's processes.

A part leads a session of its own. A process is the part's when it is in that session *and* works in the
part's folder: a number that the system has since given to a stranger passes the first test only.
"""

import contextlib
import os
import time
from pathlib import Path

import psutil


def members(session: int, folder: Path) -> list[psutil.Process]:
    """Return the living processes of this session that work under this folder."""
    return [process for process in psutil.process_iter() if _belongs(process, session, folder)]


def end(session: int, folder: Path, grace_seconds: float) -> int:
    """Ask the part's processes to end, then make them; return how many there were."""
    found = members(session, folder)
    for process in found:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.terminate()
    deadline = time.monotonic() + grace_seconds
    while (left := members(session, folder)) and time.monotonic() < deadline:
        time.sleep(0.05)
    for process in left:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(left, timeout=5)
    return len(found)


def _belongs(process: psutil.Process, session: int, folder: Path) -> bool:
    try:
        return (
            os.getsid(process.pid) == session
            and process.pid != os.getpid()
            and process.status() != psutil.STATUS_ZOMBIE
            and Path(process.cwd()).is_relative_to(folder)
        )
    except (psutil.Error, OSError):
        return False
