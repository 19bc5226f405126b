"""Reads: commands, ended runs. Writes: runs. A hold per key in memory: the next run once the one before has ended.

Run ids say where the record stands, so that a second POST of it is harmless. An offset is committed once all records
before it have ended. Ended runs are asked for every half second, all in one request.
"""

import time
from collections import defaultdict, deque
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
from confluent_kafka import Consumer, Message, TopicPartition

from benchmarks.peers.dispatchers.setup import Setup, command, post

POLL_SECONDS = 0.5
LOOK_BACK = timedelta(seconds=5)
"""A run's end is dated before it is committed."""
LOOK_AT_EACH_SECONDS = 15.0
"""How often a run that no list has shown is asked for by itself."""
RETRY_SECONDS = 1.0
OUTSTANDING = 16
POSTS_AT_A_TIME = 8
PAGE = 100
ENDED = ("success", "failed")


@dataclass
class Work:
    """A record on its way."""

    message: Message
    dag_id: str
    conf: dict[str, Any]
    posting: Future[str] | None = None
    not_before: float = 0.0
    looked_at: float = field(default_factory=time.monotonic)

    @property
    def run_id(self) -> str:
        return f"{self.message.topic()}-{self.message.partition()}-{self.message.offset()}"


class Dispatcher:
    """One loop does everything but the POSTs."""

    def __init__(self, client: httpx.Client, consumer: Consumer, topic: str) -> None:
        self._client = client
        self._topic = topic
        self._consumer = consumer
        self._pool = ThreadPoolExecutor(POSTS_AT_A_TIME)
        self._keys: defaultdict[bytes, deque[Work]] = defaultdict(deque)
        self._posting: dict[bytes, Work] = {}
        self._running: dict[str, tuple[bytes, Work]] = {}
        self._open: defaultdict[int, set[int]] = defaultdict(set)
        self._read: dict[int, int] = {}
        self._committed: dict[int, int] = {}
        self._since = datetime.now(UTC) - LOOK_BACK
        self._polled = time.monotonic()

    def run(self) -> None:
        """Run until killed."""
        while True:
            for message in self._consumer.consume(100, timeout=0.02):
                if not message.error():
                    self._take(message)
            self._collect()
            self._start()
            if self._running and time.monotonic() - self._polled > POLL_SECONDS:
                self._poll()
                self._polled = time.monotonic()
            self._commit()

    def _take(self, message: Message) -> None:
        self._keys[message.key()].append(Work(message, *command(message)))
        self._open[message.partition()].add(message.offset())
        self._read[message.partition()] = message.offset() + 1

    def _start(self) -> None:
        busy = {key for key, _ in self._running.values()} | self._posting.keys()
        for key, works in self._keys.items():
            if len(busy) >= OUTSTANDING:
                return
            if works and key not in busy and works[0].not_before <= time.monotonic():
                works[0].posting = self._pool.submit(self._post, works[0])
                self._posting[key] = works[0]
                busy.add(key)

    def _post(self, work: Work) -> str:
        """Make the run; answer its state."""
        answer = post(self._client, work.dag_id, work.conf, work.run_id)
        if answer.status_code == httpx.codes.CONFLICT:
            answer = self._client.get(f"/api/v2/dags/{work.dag_id}/dagRuns/{work.run_id}")
        return str(answer.raise_for_status().json()["state"])

    def _collect(self) -> None:
        for key, work in [(key, work) for key, work in self._posting.items() if work.posting and work.posting.done()]:
            assert work.posting is not None
            del self._posting[key]
            try:
                state = work.posting.result()
            except httpx.HTTPError as error:
                print(repr(error), flush=True)
                work.not_before = time.monotonic() + RETRY_SECONDS
                continue
            if state in ENDED:
                self._end(key, work)
            else:
                work.looked_at = time.monotonic()
                self._running[work.run_id] = key, work

    def _poll(self) -> None:
        try:
            for run_id, end in self._ended():
                self._since = max(self._since, end - LOOK_BACK)
                if run_id in self._running:
                    self._end(*self._running.pop(run_id))
            for run_id, (_, work) in list(self._running.items()):
                if time.monotonic() - work.looked_at > LOOK_AT_EACH_SECONDS:
                    work.looked_at = time.monotonic()
                    answer = self._client.get(f"/api/v2/dags/{work.dag_id}/dagRuns/{run_id}").raise_for_status()
                    if answer.json()["state"] in ENDED:
                        self._end(*self._running.pop(run_id))
        except httpx.HTTPError as error:
            print(repr(error), flush=True)

    def _ended(self) -> list[tuple[str, datetime]]:
        dags = sorted({work.dag_id for _, work in self._running.values()})
        asked = {"dag_ids": dags, "states": ENDED, "end_date_gte": self._since.isoformat(), "order_by": "end_date"}
        found: list[dict[str, Any]] = []
        while True:
            body = {**asked, "page_limit": PAGE, "page_offset": len(found)}
            page = self._client.post("/api/v2/dags/~/dagRuns/list", json=body).raise_for_status().json()
            found += page["dag_runs"]
            if len(found) >= page["total_entries"] or not page["dag_runs"]:
                return [(run["dag_run_id"], datetime.fromisoformat(run["end_date"])) for run in found]

    def _end(self, key: bytes, work: Work) -> None:
        assert self._keys[key][0] is work
        self._keys[key].popleft()
        partition = work.message.partition()
        assert partition is not None
        self._open[partition].discard(work.message.offset() or 0)

    def _commit(self) -> None:
        marks = {partition: min(self._open[partition], default=read) for partition, read in self._read.items()}
        if moved := {one: mark for one, mark in marks.items() if mark > self._committed.get(one, -1)}:
            offsets = [TopicPartition(self._topic, one, mark) for one, mark in moved.items()]
            self._consumer.commit(offsets=offsets, asynchronous=True)
            self._committed |= moved


def main() -> None:
    """Run until killed."""
    setup = Setup()
    consumer = setup.consumer(**{"enable.auto.commit": False})
    Dispatcher(setup.client(), consumer, setup.topic).run()


if __name__ == "__main__":
    main()
