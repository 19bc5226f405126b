"""A plugin for Airflow: tells streamapp's workers that one of their runs ends. Writes UDP datagrams, decides nothing.

Copy this file into Airflow's plugins folder. Reads, from the environment of scheduler and API server:

    STREAMAPP_HINT_TARGETS   host:port of every worker, with commas between; all addresses of a name are told
    STREAMAPP_HINT_SECRET    the secret that the workers know; without it nothing is sent
    STREAMAPP_HINT_PREFIX    of the runs that are told of; default: cmd__

Airflow calls listeners within its scheduler, before the run's end is committed. So nothing here waits: a hint goes into
a short queue, which a thread of its own empties, and one too many is dropped. The workers find every end without hints,
too, only later.
"""

import contextlib
import hashlib
import hmac
import json
import logging
import os
import queue
import socket
import threading
from collections.abc import Sequence
from typing import Any

from airflow.listeners import hookimpl
from airflow.plugins_manager import AirflowPlugin

log = logging.getLogger(__name__)

WAITING = 1000
"""Hints that may wait for the thread; further ones are dropped."""


def encode(secret: str, dag_id: str, run_id: str) -> bytes:
    """A datagram: a digest in hex, a space, a JSON object."""
    body = json.dumps({"dag_id": dag_id, "run_id": run_id}, separators=(",", ":")).encode()
    return hmac.new(secret.encode(), body, hashlib.sha256).hexdigest().encode() + b" " + body


def parse_targets(text: str) -> list[tuple[str, int]]:
    """The hosts and ports in a list with commas; what is neither is left out."""
    targets = []
    for target in filter(None, (part.strip() for part in text.split(","))):
        host, _, port = target.rpartition(":")
        if host and port.isdecimal():
            targets.append((host.strip("[]"), int(port)))
        else:
            log.warning("streamapp's hints: %r is not host:port", target)
    return targets


class Sender:
    """A short queue and the thread that empties it.

    Args:
        targets: Who is told.
        secret: What the workers know, too.
        waiting: The most hints that may wait.
    """

    def __init__(self, targets: Sequence[tuple[str, int]], secret: str, waiting: int = WAITING) -> None:
        self._targets = targets
        self._secret = secret
        self._waiting = waiting
        self._queue: queue.Queue[tuple[str, str]] = queue.Queue(waiting)
        self._pid = 0

    def tell(self, dag_id: str, run_id: str) -> None:
        """Send a hint soon, or never; returns at once."""
        if self._pid != os.getpid():  # a fork has no threads
            self._pid, self._queue = os.getpid(), queue.Queue(self._waiting)
            threading.Thread(target=self._send_all, args=(self._queue,), name="streamapp-hints", daemon=True).start()
        with contextlib.suppress(queue.Full):
            self._queue.put_nowait((dag_id, run_id))

    def _send_all(self, hints: "queue.Queue[tuple[str, str]]") -> None:
        while True:
            datagram = encode(self._secret, *hints.get())
            for host, port in self._targets:
                try:
                    addresses = {
                        (family, where)
                        for family, _, _, _, where in socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)
                    }
                    for family, where in addresses:
                        with socket.socket(family, socket.SOCK_DGRAM) as out:
                            out.sendto(datagram, where)
                except (OSError, ValueError) as error:  # a ValueError for what can't be the name of a host
                    log.debug("streamapp's hint to %s:%s was not sent: %s", host, port, error)


class Listener:
    """What Airflow calls when a run ends.

    Args:
        sender: Takes the hints; None: there are none.
        prefix: Of the runs that are told of.
    """

    def __init__(self, sender: Sender | None, prefix: str) -> None:
        self._sender = sender
        self._prefix = prefix

    @hookimpl
    def on_dag_run_success(self, dag_run: Any) -> None:
        """Tell of a run that succeeds."""
        self._tell(dag_run)

    @hookimpl
    def on_dag_run_failed(self, dag_run: Any) -> None:
        """Tell of a run that fails."""
        self._tell(dag_run)

    def _tell(self, dag_run: Any) -> None:
        try:
            if self._sender is not None and dag_run.run_id.startswith(self._prefix):
                self._sender.tell(dag_run.dag_id, dag_run.run_id)
        except Exception:
            log.debug("streamapp's hint was not sent", exc_info=True)


def from_environment() -> Listener:
    """The listener that the environment describes."""
    targets = parse_targets(os.environ.get("STREAMAPP_HINT_TARGETS", ""))
    secret = os.environ.get("STREAMAPP_HINT_SECRET", "")
    if bool(targets) != bool(secret):
        log.warning("streamapp's hints are off: STREAMAPP_HINT_TARGETS and STREAMAPP_HINT_SECRET must both be set")
    sender = Sender(targets, secret) if targets and secret else None
    return Listener(sender, os.environ.get("STREAMAPP_HINT_PREFIX", "cmd__"))


class StreamappHint(AirflowPlugin):
    """Registers the listener."""

    name = "streamapp_hint"
    listeners = [from_environment()]  # noqa: RUF012 - Airflow's way
