"""Reads: a part's name. Writes: its pid file and log. Becomes that part: `python -m stack.run kafka`."""

import os
import signal
import socket
import sys

from stack import down, sessions
from stack.config import HOST, Config, StackError, variable
from stack.part import Part
from stack.parts import ALL_PARTS

GRACE_SECONDS = 10


def main() -> None:
    """Prepare the part, then replace this process by its program."""
    name = sys.argv[1]
    try:
        config = Config.from_environment()
        part = ALL_PARTS[name](config)
        part.state.mkdir(parents=True, exist_ok=True)
        os.chdir(part.state)
        _log_to_file(part)
        check_alone(part)
        check_ports(part)
        part.session_file.write_text(str(os.getsid(0)))  # not before: `make down` finds what runs by it
        if config.lifeline == "stdin":
            _end_with_stdin(part)
        part.prepare()
        command = part.command()
    except StackError as error:
        sys.exit(f"stack: {name}: {error}")
    os.execvpe(command.argv[0], list(command.argv), {**os.environ, **command.environment})


def check_alone(part: Part) -> None:
    """Refuse to start beside what an earlier start has left: nobody would know of that any more."""
    if part.config.lifeline != "stdin" and down.processes(part):  # else what is left is about to end by itself
        raise StackError(f"{part.name} still runs. First: make down")


def check_ports(part: Part) -> None:
    """Refuse to start on a port that somebody else has."""
    for field in part.ports:
        port = getattr(part.config, field)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, port))
            except OSError as error:
                message = f"port {port}, which {part.name} needs, is in use: stop what has it or set {variable(field)}"
                raise StackError(message) from error


def _log_to_file(part: Part) -> None:
    if part.config.log_dir:
        path = os.path.join(part.config.log_dir, f"{part.name}.log")  # noqa: PTH118
        log = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        os.dup2(log, sys.stdout.fileno())
        os.dup2(log, sys.stderr.fileno())


def _end_with_stdin(part: Part) -> None:
    """Leave a child behind that ends the part once standard input closes, however that came about."""
    if os.fork():
        return
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    while os.read(sys.stdin.fileno(), 1):
        pass
    sessions.end(os.getsid(0), part.state, GRACE_SECONDS)
    os._exit(0)


if __name__ == "__main__":
    main()
