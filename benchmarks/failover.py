"""Measures how long keys stand still when a worker ends. Reads: a broker and a fake Airflow. Writes: stdout.

    python -m benchmarks.failover [--entries 0 200000] [--repeats 3] [--standbys 1]

Two workers with the default settings share four partitions, and commands of new keys keep coming on each. Then one
worker gets a signal. What counts is the time until the other starts a run of a command on a partition that it has
taken over. The table of these partitions is warm where it owned them before, cold where it had lost its data and never
owned them since; with standbys it has a copy all the same. Last, a worker without its data restores all that it is to
remember.
"""

import argparse
import re
import signal
import statistics
import tempfile
import threading
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from confluent_kafka import Producer

from streamapp.core.effects import Identity, Settled
from streamapp.core.model import Holder, Status, Timings
from streamapp.settings import Settings
from streamapp.wire.rows import row_key, row_value
from tests.support.airflow_api import FakeAirflowProcess
from tests.support.builders import entry, source
from tests.support.eventually import eventually
from tests.support.installation import Installation, command
from tests.support.stack import Kafka
from tests.support.worker import Worker

PARTITIONS = 4
EVERY_SECONDS = 0.05
DEFAULTS = {
    name: f"{Settings.model_fields[name].default.total_seconds()}s"
    for name in ("session_timeout", "heartbeat_interval")
}


def main() -> None:
    """Measure both signals and a restoration, for each size of the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--entries", type=int, nargs="+", default=[0, 200_000], help="that have ended and are kept")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--standbys", type=int, default=0, help="workers that keep a copy of each partition's table")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, Kafka(Path(name, "kafka")) as kafka, FakeAirflowProcess() as airflow:
        for entries in arguments.entries:
            settings = DEFAULTS | {"standby_replicas": str(arguments.standbys)}
            with Installation(f"failover-{entries}", Path(name), kafka, airflow, **settings) as site:
                measure(site, kafka, entries, arguments.repeats)


def measure(site: Installation, kafka: Kafka, entries: int, repeats: int) -> None:
    """Print the figures for one size of the table."""
    site.create_topics()
    remember(site, kafka, entries)
    one, two = site.worker("one"), site.worker("two")
    for kind in (signal.SIGTERM, signal.SIGKILL):
        for warmth in ("cold", "warm") if entries else ("warm",):
            found = [takeover(site, one, two, kind, cold=warmth == "cold") for _ in range(repeats)]
            seconds = f"{statistics.median(found):.1f} s ({min(found):.1f} to {max(found):.1f})"
            print(f"{entries} entries, {kind.name}, {warmth} table: {seconds} to the first run", flush=True)
    for worker in (one, two):
        worker.kill()
        worker.wait()
    restore(two, entries)


def remember(site: Installation, kafka: Kafka, entries: int) -> None:
    """Write the rows of commands that have ended to the changelog: two for each."""
    producer = Producer({**kafka.client, "queue.buffering.max.messages": 1_000_000})
    now = datetime.now(UTC)
    changelog = f"{site.name}-dispatches-changelog"
    template = entry(status=Status.SUCCEEDED, at=now, timings=Timings(accepted_at=now, ended_at=now), original=None)
    for number in range(entries):
        partition, offset = number % PARTITIONS, number // PARTITIONS
        key, id_ = b"old-%d" % number, f"old-{number}"
        ended = replace(template, source=source(offset, partition), key=key, id=id_)
        for where, row in ((Settled(key, offset), ended), (Identity(id_), Holder(key, offset))):
            producer.produce(changelog, key=row_key(where), value=row_value(row), partition=partition)
        producer.poll(0)
    producer.flush()


def takeover(site: Installation, leaving: Worker, staying: Worker, kind: signal.Signals, *, cold: bool) -> float:
    """Seconds from the signal to the first run of a command whose partition has changed hands."""
    if cold and staying.data.exists():
        staying.kill()
        staying.wait()
        staying.forget_data()
    for worker in (leaving, staying):
        if not worker.running:
            worker.start(wait=False)
            worker.wait_ready(seconds=600)
    eventually(lambda: share(leaving, staying), seconds=600, every_seconds=0.5)
    theirs = set(leaving.get("/api/v1/status").json()["partitions"])
    end = threading.Event()
    sending = threading.Thread(target=send, args=(site, theirs, end))
    sending.start()
    try:
        begun = datetime.now(UTC)
        leaving.signal(kind)
        leaving.wait()
        return eventually(lambda: first_run(staying, theirs, begun), seconds=600, every_seconds=0.1)
    finally:
        end.set()
        sending.join()


def share(*workers: Worker) -> None:
    """Each of them has half of the partitions, is ready, and has no commands left from before."""
    for worker in workers:
        worker.wait_ready(seconds=600)
        status = worker.get("/api/v1/status").json()
        assert len(status["partitions"]) == PARTITIONS // len(workers), status
        assert not any(status["standbys"].values()), status
        assert not any(status["commands"].values()), status


def send(site: Installation, partitions: set[int], end: threading.Event) -> None:
    """Commands of new keys, until told to end."""
    while not end.wait(EVERY_SECONDS):
        site.send(*[command(b"new-%d" % time.monotonic_ns(), partition=partition) for partition in partitions])


def first_run(staying: Worker, partitions: set[int], begun: datetime) -> float:
    """When the one that stays has first started a run on these partitions."""
    adopted = [line for line in staying.log.splitlines() if "run created" in line and after(line, begun)]
    found = [when(line) for line in adopted if int(re.search(r"source=\S+-(\d+)-\d+", line)[1]) in partitions]  # type: ignore[index]
    assert found, f"no run on {partitions} yet"
    return (min(found) - begun).total_seconds()


def when(line: str) -> datetime:
    """The time of a line of the log."""
    return datetime.fromisoformat(line.split(" ", 1)[0])


def after(line: str, begun: datetime) -> bool:
    """Whether a line of the log was written after a moment."""
    return line[:1].isdigit() and when(line) > begun


def restore(worker: Worker, entries: int) -> None:
    """Print how long a worker without data takes to restore all partitions."""
    worker.forget_data()
    begun = datetime.now(UTC)
    worker.start(wait=False)
    worker.wait_ready(seconds=1200)
    lines = [line for line in worker.log.splitlines() if after(line, begun)]
    marks: dict[str, Any] = {
        mark: next((when(line) for line in lines if mark in line), None) for mark in ("Restoring", "Done reading")
    }
    seconds = (marks["Done reading"] - marks["Restoring"]).total_seconds()
    per_entry = f", {1e6 * seconds / entries:.0f} µs for each entry" if entries else ""
    print(f"{entries} entries, no data directory: {seconds:.1f} s to restore the table{per_entry}", flush=True)


if __name__ == "__main__":
    main()
