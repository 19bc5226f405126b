"""Reads: the sessions that the parts noted under the state directory. Writes: nothing. Ends the stack, nobody else."""

import contextlib
import sys
from concurrent.futures import ThreadPoolExecutor
from itertools import takewhile
from pathlib import Path

import psutil

from stack import sessions
from stack.config import Config, StackError
from stack.part import Part
from stack.parts import LAYERS

GRACE_SECONDS = 20


def down(config: Config) -> int:
    """End every part, the workers first; return how many processes there were."""
    layers = [[part(config) for part in layer] for layer in reversed(LAYERS)]
    _end_honcho([part for layer in layers for part in layer])
    with ThreadPoolExecutor() as pool:
        return sum(sum(pool.map(_end, layer)) for layer in layers)


def processes(part: Part) -> list[psutil.Process]:
    """Return the part's living processes."""
    if not part.session_file.exists():
        return []
    return sessions.members(int(part.session_file.read_text()), part.state)


def _end(part: Part) -> int:
    if not part.session_file.exists():
        return 0
    ended = sessions.end(int(part.session_file.read_text()), part.state, GRACE_SECONDS)
    part.session_file.unlink()
    return ended


def _end_honcho(parts: list[Part]) -> None:
    """Take honcho away, the parent of each part: it would end Kafka while a worker still hands over."""
    for process in [process for part in parts for process in processes(part)]:
        with contextlib.suppress(psutil.Error):
            for parent in takewhile(_is_honcho, process.parents()):
                parent.kill()


def _is_honcho(process: psutil.Process) -> bool:
    return any(Path(word).name == "honcho" for word in process.cmdline())


if __name__ == "__main__":
    try:
        print("The stack has ended." if down(Config.from_environment()) else "Nothing was running.")
    except StackError as error:
        sys.exit(f"stack: {error}")
