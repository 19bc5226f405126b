"""Whatever stands on the topics: each record of the commands topic has one ending, and no worker stops for any.

Thousands of bad, odd and hostile records, the same in every run, among good commands, in front of two workers; then
results and instructions that nobody should have written.
"""

import asyncio
import html
import json
import re
import struct
from collections.abc import Iterator
from dataclasses import replace
from random import Random
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.record.util import calc_crc32c
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource

from streamapp.core.model import TERMINAL
from streamapp.wire.headers import DLQ_NAMES
from tests.support import bad_input, history
from tests.support.airflow_api import FakeAirflowProcess
from tests.support.avro_producer import register
from tests.support.eventually import eventually
from tests.support.installation import Draft, Installation, command
from tests.support.stack import Kafka, Registry
from tests.support.topics_reader import Record
from tests.support.worker import Worker

SEED = 20
ROUNDS = 12
BAD_IN_ROUND = 200
GOOD_KEYS = [b"good-%d" % number for number in range(8)]
MAX_COMMAND_BYTES = 20_000
COMPRESSIONS = ("none", "gzip", "snappy", "lz4", "zstd")
COMPLAINT = re.compile(r"Traceback|\b(ERROR|CRITICAL) (?!aiokafka.consumer.group_coordinator)")
"""That a broker which has just started has no coordinator yet is none."""
SOURCES = ("", "-results", "-control")


class Noisy(Installation):
    """An installation on whose topics strangers write."""

    forged: set[tuple[str, int, int]]

    def records(self, end: str = "") -> list[Record]:
        """Those of the workers themselves."""
        self.forged = getattr(self, "forged", set())
        return [record for record in super().records(end) if (end, *record.place) not in self.forged]

    def outcomes(self) -> list[dict[str, Any]]:
        """Those about commands."""
        return [outcome for outcome in super().outcomes() if outcome["source"]["topic"] == self.name]

    def _sent(self, record: Record) -> history.Sent:
        """Without the id: who reads these values as strangers do could be stopped by them."""
        return history.Sent(topic=record.topic, partition=record.partition, offset=record.offset, key=record.key)

    def write(self, kafka: Kafka, end: str, drafts: list[Draft], compression: str = "none") -> list[Draft]:
        """Send records to a topic, with their own times, and remember which were forged."""
        producer = Producer({**kafka.client, "partitioner": "murmur2_random", "compression.type": compression})
        sent: dict[int, Draft] = {}

        def note(index: int, error: object, message: Any) -> None:
            assert error is None, error
            sent[index] = replace(drafts[index], partition=message.partition(), offset=message.offset())

        for index, draft in enumerate(drafts):
            where: dict[str, int] = {} if draft.partition is None else {"partition": draft.partition}
            if draft.timestamp_ms != -1:
                where["timestamp"] = draft.timestamp_ms
            producer.produce(
                self.name + end, key=draft.key, value=draft.value, headers=list(draft.headers),
                on_delivery=lambda error, message, index=index: note(index, error, message), **where,
            )  # fmt: skip
            producer.poll(0)
        assert producer.flush(30) == 0
        producer.close()
        if end:
            self.forged = getattr(self, "forged", set()) | {(end, *draft.place) for draft in sent.values()}
        return [sent[index] for index in range(len(drafts))]


@pytest.fixture(scope="module")
def site(
    kafka: Kafka, registry: Registry, airflow: FakeAirflowProcess, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Noisy]:
    settings = {"dag_missing_grace": "200ms", "max_command_bytes": str(MAX_COMMAND_BYTES)}
    directory = tmp_path_factory.mktemp("site")
    with Noisy("bad-input", directory, kafka, airflow, registry.url, **settings) as site:
        site.create_topics()
        take_any_time(kafka, site.name)
        site.start_workers("one", "two")
        yield site


def take_any_time(kafka: Kafka, topic: str) -> None:
    """As brokers did before release 4."""
    entry = ConfigEntry("message.timestamp.after.max.ms", str(2**63 - 1), incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ConfigResource.Type.TOPIC, topic, incremental_configs=[entry])
    admin = AdminClient(kafka.client)
    for future in admin.incremental_alter_configs([resource]).values():
        future.result(10)


def test_each_of_thousands_of_records_has_one_ending(site: Noisy, kafka: Kafka) -> None:
    assert site.registry_url
    ids = {
        name: register(site.registry_url, f"{site.name}-{name}", schema) for name, schema in bad_input.SCHEMAS.items()
    }
    random = Random(SEED)
    bad = bad_input.BadCommands(random, ids, MAX_COMMAND_BYTES)
    sent: list[Draft] = []
    good: list[Draft] = []
    for number in range(ROUNDS):
        batch = [bad.draft() for _ in range(BAD_IN_ROUND)]
        at = {random.randrange(len(batch)): command(key, id=f"{key.decode()}-{number}", seconds=0) for key in GOOD_KEYS}
        for index, draft in at.items():
            batch[index] = draft
        written = site.write(kafka, "", batch, COMPRESSIONS[number % len(COMPRESSIONS)])
        good += [written[index] for index in at]
        sent += written
    endings = site.endings(sent, seconds=90)
    assert {endings[draft.place]["status"] for draft in good} == {"succeeded"}
    statuses = {ending["status"] for ending in endings.values()}
    assert statuses == {"succeeded", "rejected", "expired", "duplicate"}, "not all kinds of ending came to pass"
    assert len({ending["reason"] for ending in endings.values()}) > 8
    judge(site, kafka)
    judge_letters(site, endings)


def judge(site: Noisy, kafka: Kafka) -> None:
    """No guarantee is broken, nobody has complained or restarted, and nothing is left to be read."""
    assert site.violations() == []
    for worker in site.workers.values():
        assert worker.running
        assert [line for line in worker.log.splitlines() if COMPLAINT.search(line)] == []
    eventually(lambda: check_all_read(site, kafka))


def check_all_read(site: Noisy, kafka: Kafka) -> None:
    """What is committed is all there is."""
    consumer = Consumer({**kafka.client, "group.id": site.name})
    try:
        places = [TopicPartition(site.name + end, number) for end in SOURCES for number in range(4)]
        committed = {(tp.topic, tp.partition): max(tp.offset, 0) for tp in consumer.committed(places, timeout=20)}
        ends = {(tp.topic, tp.partition): consumer.get_watermark_offsets(tp, timeout=20)[1] for tp in places}
        assert committed == ends
    finally:
        consumer.close()


def judge_letters(site: Noisy, endings: dict[tuple[int, int], dict[str, Any]]) -> None:
    """Each rejected record has one letter, with its bytes, key and headers as they came."""
    letters: dict[tuple[int, int], Record] = {}
    for letter in site.dead_letters():
        said = dict(letter.headers)
        place = int(said["dlq.partition"] or b""), int(said["dlq.offset"] or b"")
        assert letters.setdefault(place, letter).headers == letter.headers
    originals = {record.place: record for record in site.records()}
    rejected = {place for place, ending in endings.items() if ending["status"] == "rejected"}
    assert letters.keys() == rejected
    for place, letter in letters.items():
        original = originals[place]
        kept = tuple(header for header in original.headers if header[0] not in DLQ_NAMES)
        assert (letter.value, letter.key) == (original.value, original.key)
        assert letter.headers[: len(kept)] == kept
        assert len(letter.headers) == len(kept) + len(DLQ_NAMES)


def test_pages_show_what_is_hostile_and_run_none_of_it(site: Noisy) -> None:
    worker = site.workers["one"]
    addresses = {"/workers", "/?key=%3Cscript%3E", "/?dag=%3Cscript%3E", "/?status=rejected&limit=500"}
    listing = worker.get("/?limit=500").text
    found = sorted({html.unescape(address) for address in re.findall(r'href="(/(?:commands|keys)/[^"]*)"', listing)})
    assert len(found) > 100
    addresses |= set(Random(SEED).sample(found, 80))
    for address in sorted(addresses):
        answer = worker.get(address)
        assert answer.status_code == 200, address
        assert "<script" not in answer.text.lower(), address
        assert "<img" not in answer.text.lower(), address
    for status in ("rejected", "succeeded", "expired"):
        assert worker.get(f"/api/v1/commands?limit=500&status={status}").json()["commands"]


def test_results_and_instructions_of_strangers_change_nothing(site: Noisy, kafka: Kafka) -> None:
    random = Random(SEED)
    waiting = [command(key, id=f"{key.decode()}-slow", seconds=2) for key in GOOD_KEYS]
    behind = [command(key, id=f"{key.decode()}-behind", seconds=0) for key in GOOD_KEYS]
    sent = site.send(*waiting, *behind)
    eventually(lambda: check_told(site, sent))
    genuine = [{**outcome, "record": None} for draft in sent for outcome in site.of(draft)]
    genuine = json.loads(json.dumps(genuine, default=lambda at: at.isoformat(timespec="milliseconds")))
    values = bad_input.bad_outcomes(random, genuine, lambda fields: json.dumps(fields).encode())
    values += [struct.pack(">bI", 0, number % 12) + value for number, value in enumerate(values[:60])]
    places = [(draft.key, draft.partition) for draft in sent]
    site.write(kafka, "-results", [forgery(random, value, places) for value in values])
    ids = [f"{key.decode()}-{what}" for key in GOOD_KEYS for what in ("slow", "behind", "1")]
    instructions = bad_input.bad_instructions(random, ids)
    site.write(kafka, "-control", [forgery(random, value, places) for value in instructions])
    endings = site.endings(sent)
    assert {ending["status"] for ending in endings.values()} == {"succeeded"}
    judge(site, kafka)
    assert sum(passed_over(worker) for worker in site.workers.values()) > 300


def check_told(site: Noisy, sent: list[Draft]) -> None:
    assert all(site.of(draft) for draft in sent)


def forgery(random: Random, value: bytes, places: list[tuple[bytes | None, int | None]]) -> Draft:
    """To the partition and with the key of a command, more often than not."""
    key, partition = random.choice(places)
    if random.random() < 0.1:
        key = random.choice(bad_input.KEYS)
    return Draft(value=value, key=key, partition=random.choice([partition, partition, partition, random.randrange(4)]))


def passed_over(worker: Worker) -> int:
    """What a worker took for nobody's."""
    found = re.search(r"^streamapp_records_passed_over_total (\S+)$", worker.get("/metrics").text, re.MULTILINE)
    assert found is not None
    return int(float(found[1]))


def test_a_header_name_that_is_no_text(site: Noisy, kafka: Kafka) -> None:
    (before,) = site.send(command(b"good-0", id="before"))
    assert before.partition is not None
    bad = asyncio.run(send_raw_header(kafka, site.name, before.partition, b"\xff\xfe\x80\x81"))
    (after,) = site.send(command(b"good-0", id="after"))
    endings = site.endings([before, bad, after])
    assert {ending["status"] for ending in endings.values()} == {"succeeded", "rejected"}
    letter = site.dead_letters()[-1]
    assert (letter.value, letter.headers[0]) == (b"hello", (r"\xff\xfe\x80\x81", b"1"))


async def send_raw_header(kafka: Kafka, topic: str, partition: int, name: bytes) -> Draft:
    """A record that Kafka's clients would not write: its checksum is right, the name of its header is not UTF-8."""
    producer = AIOKafkaProducer(bootstrap_servers=kafka.bootstrap_servers)
    await producer.start()
    try:
        batch = producer.create_batch()
        placeholder = b"?" * len(name)
        batch.append(timestamp=None, key=b"good-0", value=b"hello", headers=[(placeholder.decode(), b"1")])
        raw = bytearray(batch._build().replace(placeholder, name))
        struct.pack_into(">I", raw, 17, calc_crc32c(bytes(raw[21:])))
        batch._buffer = raw
        sent = await (await producer.send_batch(batch, topic, partition=partition))
    finally:
        await producer.stop()
    return Draft(value=b"hello", key=b"good-0", partition=partition, offset=sent.offset)


def test_a_next_owner_reads_all_of_it_from_the_changelog(site: Noisy) -> None:
    one = site.workers["one"]
    assert one.terminate() == 0
    one.forget_data()
    one.start()
    (again,) = site.send(command(b"good-0", id="good-0-1"))
    assert site.ending(again)["status"] == "duplicate"
    assert all(ending["status"] in TERMINAL for ending in site.outcomes()[-1:])
