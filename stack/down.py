"""Reads: the sessions that the parts noted under the state directory. Writes: nothing. Ends the stack, nobody else."""

import sys

from stack import sessions
from stack.config import Config, StackError
from stack.parts import PARTS

GRACE_SECONDS = 20


def down(config: Config) -> int:
    """End every part, the workers first; return how many processes there were."""
    ended = 0
    for name in reversed(PARTS):
        part = PARTS[name](config)
        if part.session_file.exists():
            ended += sessions.end(int(part.session_file.read_text()), part.state, GRACE_SECONDS)
            part.session_file.unlink()
    return ended


if __name__ == "__main__":
    try:
        print("The stack has ended." if down(Config.from_environment()) else "Nothing was running.")
    except StackError as error:
        sys.exit(f"stack: {error}")
