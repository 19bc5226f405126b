"""Reads and writes: one file for each secret under the state directory."""

import contextlib
import os
import secrets
from pathlib import Path


def secret(path: Path) -> str:
    """Return the secret kept in this file; make it if nobody has yet."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        mine = path.with_suffix(f".{os.getpid()}")
        write(mine, secrets.token_hex(16))
        # Several parts may ask at once: the first link wins, complete.
        with contextlib.suppress(FileExistsError):
            os.link(mine, path)
        mine.unlink()
    return path.read_text()


def write(path: Path, text: str) -> None:
    """Make a file that nobody else may read."""
    path.unlink(missing_ok=True)
    path.touch(mode=0o600)
    path.write_text(text)
