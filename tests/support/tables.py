"""Reads: workers' databases and changelogs. Writes: copies of databases. Judges whether tables are what was logged."""

import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from confluent_kafka import Consumer, TopicPartition
from rocksdict import Options, Rdict

from streamapp.core.effects import Identity
from streamapp.kafka.audit import Comparison, Rebuilt, Snapshot, compare, digest
from streamapp.wire.rows import parse_key
from tests.support.installation import Installation, place_of
from tests.support.stack import Kafka
from tests.support.topics_reader import Record
from tests.support.worker import Worker

OFFSET_KEY = b"__faust\0offset__"


def changelog(installation: Installation) -> list[Record]:
    """Everything on the changelog."""
    return installation.records_of(f"{installation.name}-dispatches-changelog")


def committed(installation: Installation, kafka: Kafka) -> dict[int, int]:
    """The offsets of the commands topic that are committed."""
    return committed_of_all(installation, kafka)["commands"]


def committed_of_all(installation: Installation, kafka: Kafka) -> dict[str, dict[int, int]]:
    """The committed offsets of each log, by partition."""
    logs = {"commands": "", "results": "-results", "control": "-control"}
    consumer = Consumer({**kafka.client, "group.id": installation.name})
    try:
        partitions = consumer.list_topics(installation.name, timeout=20).topics[installation.name].partitions
        names = {log: installation.name + end for log, end in logs.items()}
        places = [TopicPartition(name, number) for name in names.values() for number in partitions]
        found = consumer.committed(places, timeout=20)
    finally:
        consumer.close()
    return {log: {tp.partition: max(tp.offset, 0) for tp in found if tp.topic == name} for log, name in names.items()}


def databases(worker: Worker) -> Iterator[tuple[int, Snapshot]]:
    """What the databases of a worker hold that has ended, by partition. They are copied: a look changes them."""
    for path in sorted(worker.data.rglob("dispatches-*.db")):
        number = re.search(r"-(\d+)\.db$", path.name)
        assert number is not None
        with tempfile.TemporaryDirectory() as copy:
            shutil.copytree(path, Path(copy, "db"))
            database = Rdict(str(Path(copy, "db")), options=Options(raw_mode=True))
            rows = dict(database.items())
            database.close()
        offset = rows.pop(OFFSET_KEY, None)
        snapshot = Snapshot(
            None if offset is None else int(offset), {digest(key): digest(value) for key, value in rows.items()}
        )
        yield int(number[1]), snapshot


def compared(installation: Installation, worker: Worker) -> dict[int, Comparison]:
    """How the databases of a worker that has ended differ from the changelog at their offsets."""
    records = changelog(installation)
    found = {}
    for number, live in databases(worker):
        rebuilt = Rebuilt(live.offset)
        for record in records:
            if record.partition == number:
                assert record.key is not None
                rebuilt.add(record.offset, record.key, record.value)
        # Nothing is compacted within a test: what was written later can be compared, too.
        rebuilt.later.clear()
        found[number] = compare(live, rebuilt)
    return found


def unlogged_effects(installation: Installation) -> list[str]:
    """Outcomes on the results topic whose command has no row in the changelog."""
    logged = set()
    for record in changelog(installation):
        assert record.key is not None
        key = parse_key(record.key)
        if not isinstance(key, Identity):
            logged.add((record.partition, key.offset))
    return [outcome["id"] for outcome in installation.outcomes() if place_of(outcome) not in logged]
