"""Hints from Airflow's scheduler that a run ends. Reads UDP datagrams of `airflow_plugin/`, writes nothing.

A hint is signed with a secret that both sides know, and never more than a reason to look: a false one costs a request.
"""

import asyncio
import hashlib
import hmac
import json
import logging
from collections.abc import Callable

_log = logging.getLogger(__name__)

LONGEST = 2048
"""Bytes of a datagram: twice what two ids of 250 characters and the rest take."""


def read_hint(datagram: bytes, secret: str) -> tuple[str, str] | None:
    """DAG and run that a datagram names; None where it isn't one of ours."""
    if len(datagram) > LONGEST:
        return None
    digest, _, body = datagram.partition(b" ")
    if not hmac.compare_digest(digest, hmac.new(secret.encode(), body, hashlib.sha256).hexdigest().encode()):
        return None
    try:
        hint = json.loads(body)
        dag_id, run_id = hint["dag_id"], hint["run_id"]
    except (ValueError, KeyError, TypeError):
        return None
    return (dag_id, run_id) if isinstance(dag_id, str) and isinstance(run_id, str) else None


class HintListener(asyncio.DatagramProtocol):
    """Hands hints on.

    Args:
        secret: What the senders know, too.
        take: Gets DAG and run.
        refuse: Told of each datagram that isn't a hint.
    """

    def __init__(self, secret: str, take: Callable[[str, str], None], refuse: Callable[[], None]) -> None:
        self._secret = secret
        self._take = take
        self._refuse = refuse

    def datagram_received(self, data: bytes, addr: object) -> None:  # noqa: ARG002
        """One datagram has come in."""
        hint = read_hint(data, self._secret)
        if hint is None:
            self._refuse()
        else:
            self._take(*hint)


async def listen(address: str, listener: HintListener) -> asyncio.DatagramTransport:
    """Take datagrams at host:port from now on; close what is returned.

    Raises:
        OSError: the address can't be used.
    """
    host, _, port = address.rpartition(":")
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(lambda: listener, local_addr=(host.strip("[]"), int(port)))
    _log.info("hints are taken at %s", address, extra={"action": "hints_taken"})
    return transport
