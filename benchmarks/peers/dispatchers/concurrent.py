"""Reads: commands. Writes: runs. So many POSTs at a time, whatever the key; auto commit.

python -m benchmarks.peers.dispatchers.concurrent 8
"""

import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx

from benchmarks.peers.dispatchers.setup import Setup, command, post


def main(in_flight: int) -> None:
    """Run until killed."""
    setup = Setup()
    client, consumer = setup.client(), setup.consumer()
    free = threading.BoundedSemaphore(in_flight)

    def run(dag_id: str, conf: dict[str, Any]) -> None:
        try:
            print(post(client, dag_id, conf).status_code, flush=True)
        except httpx.HTTPError as error:
            print(repr(error), flush=True)
        finally:
            free.release()

    with ThreadPoolExecutor(in_flight) as pool:
        while True:
            free.acquire()
            message = consumer.poll(1.0)
            if message is None or message.error():
                free.release()
                continue
            pool.submit(run, *command(message))


if __name__ == "__main__":
    main(int(sys.argv[1]))
