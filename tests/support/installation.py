"""Reads: an installation's topics. Writes: commands. One app id with its topics, settings and workers, for a test."""

import asyncio
import json
import os
import re
from collections import Counter, defaultdict
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Self

from confluent_kafka import KafkaError, Message, Producer

from streamapp.core.model import TERMINAL
from streamapp.kafka import topics
from streamapp.settings import load_settings
from streamapp.wire.dead_letter import decode_dead_letter
from streamapp.wire.discards import decode_discard
from tests.support import history
from tests.support.airflow_api import AirflowApi
from tests.support.eventually import eventually
from tests.support.stack import Kafka
from tests.support.topics_reader import Decoder, Record, TopicReader
from tests.support.worker import Worker

Headers = tuple[tuple[str, bytes | None], ...]
Outcome = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Draft:
    """A record to be sent to the commands topic, and its place once it was."""

    value: bytes | None
    key: bytes | None = b"k"
    headers: Headers = ()
    partition: int | None = None
    """None: as Java clients choose it."""
    offset: int = -1
    timestamp_ms: int = -1

    @property
    def place(self) -> tuple[int, int]:
        """Partition and offset."""
        assert self.partition is not None
        return self.partition, self.offset


def command(
    key: bytes | None = b"k",
    /,
    *,
    name: str = "app.probe",
    id: str | None = None,  # noqa: A002
    not_before: datetime | None = None,
    deadline: datetime | None = None,
    headers: Headers = (),
    partition: int | None = None,
    **params: Any,
) -> Draft:
    """A command on the JSON wire; everything else named is a param of the run."""
    fields = {"command": name, "params": json.dumps(params), "id": id, "not_before": not_before, "deadline": deadline}
    set_ = {field: content for field, content in fields.items() if content is not None}
    value = json.dumps(set_, default=datetime.isoformat).encode()
    return Draft(value=value, key=key, headers=headers, partition=partition)


class Installation:
    """A context manager: its topics exist while it is open, and its workers end with it."""

    def __init__(
        self,
        name: str,
        directory: Path,
        kafka: Kafka,
        airflow: AirflowApi,
        registry_url: str | None = None,
        *,
        partitions: int = 4,
        **settings: str,
    ) -> None:
        """Describe it.

        Args:
            name: App id and commands topic.
            directory: For data and logs of workers.
            kafka: The broker.
            airflow: Where runs are made.
            registry_url: None: JSON on the wire.
            partitions: Of each topic.
            **settings: Further ones, each named as the field.
        """
        self.name = re.sub(r"[^\w.-]", "-", name)
        self.registry_url = registry_url
        self.airflow = airflow
        self.workers: dict[str, Worker] = {}
        self._directory = directory / self.name
        self._kafka = kafka
        self._settings = {
            "bootstrap_servers": kafka.bootstrap_servers,
            "app_id": self.name,
            "commands_topic": self.name,
            "partitions": str(partitions),
            "airflow_url": airflow.url,
            "airflow_username": airflow.username,
            "airflow_password": airflow.password,
            # The shortest that Kafka takes: a killed worker's partitions are soon another's.
            "session_timeout": "6s",
            "heartbeat_interval": "1s",
            **({"schema_registry_url": registry_url} if registry_url else {}),
            **settings,
        }
        self._readers: dict[str, TopicReader] = {}
        self._decoder = Decoder(self.registry_url)
        self._outcomes: list[Outcome] = []
        self._decoded = 0
        self._producer = Producer({**kafka.client, "partitioner": "murmur2_random", "enable.idempotence": True})

    def __enter__(self) -> Self:
        self._directory.mkdir(parents=True)
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self.workers.values():
            worker.kill()
        for reader in self._readers.values():
            reader.close()
        self._producer.close()

    @property
    def environment(self) -> dict[str, str]:
        """The environment of its workers, and of the command line."""
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("STREAMAPP_")}
        return inherited | {f"STREAMAPP_{name.upper()}": value for name, value in self._settings.items()}

    def create_topics(self) -> None:
        """Make its topics, as `streamapp topics --create` does."""
        asyncio.run(topics.create(load_settings(self.environment)))

    # Workers

    def worker(self, name: str, *sabotage: str, **settings: str) -> Worker:
        """A worker that is not started yet; settings go over the installation's own."""
        changed = {f"STREAMAPP_{field.upper()}": value for field, value in settings.items()}
        worker = self.workers[name] = Worker(name, self._directory, self.environment | changed, sabotage)
        return worker

    def start_workers(self, *names: str) -> list[Worker]:
        """Start workers side by side, and wait until they share the partitions."""
        started = [self.worker(name) for name in names]
        for worker in started:
            worker.start(wait=False)
        for worker in started:
            worker.wait_ready()
        return started

    # Commands

    def send(self, *drafts: Draft) -> list[Draft]:
        """Send records, in this order; answer them with their places."""
        sent: dict[int, Draft] = {}

        def note(index: int, error: KafkaError | None, message: Message) -> None:
            assert error is None, error
            place = {"partition": message.partition(), "offset": message.offset()}
            sent[index] = replace(drafts[index], **place, timestamp_ms=message.timestamp()[1])

        for index, draft in enumerate(drafts):
            where = {} if draft.partition is None else {"partition": draft.partition}
            self._producer.produce(
                self.name,
                key=draft.key,
                value=draft.value,
                headers=list(draft.headers),
                on_delivery=lambda error, message, index=index: note(index, error, message),
                **where,
            )
        assert self._producer.flush(30) == 0, "Kafka has not taken everything"
        return [sent[index] for index in range(len(drafts))]

    # What became of them

    def records(self, end: str = "") -> list[Record]:
        """All records of a topic: the commands, or those of the topic whose name ends so."""
        return self.records_of(self.name + end)

    def records_of(self, name: str) -> list[Record]:
        """All records of a topic."""
        if name not in self._readers:
            self._readers[name] = TopicReader(self._kafka.client, name)
        return self._readers[name].read()

    def outcomes(self) -> list[Outcome]:
        """Everything on the results topic, decoded; `record` is the record."""
        records = self.records("-results")
        for record in records[self._decoded :]:
            assert record.value is not None
            outcome = {**self._decoder.outcome(record.value), "record": record}
            source = outcome["source"]
            assert source["partition"] == record.partition, outcome
            assert source["topic"] in {self.name, f"{self.name}-control"}, outcome  # an answer names its instruction
            self._outcomes.append(outcome)
        self._decoded = len(records)
        return list(self._outcomes)

    def dead_letters(self) -> list[Record]:
        """Everything on the dead-letter topic."""
        return self.records("-dead-letters")

    def of(self, draft: Draft) -> list[Outcome]:
        """The outcomes of one record, without repetitions, in their order."""
        return list({o["id"]: o for o in self.outcomes() if place_of(o) == draft.place}.values())

    def ending(self, draft: Draft, *, seconds: float = 30.0) -> Outcome:
        """Wait for the one ending of a record."""
        return self.endings([draft], seconds=seconds)[draft.place]

    def endings(self, drafts: Iterable[Draft], *, seconds: float = 30.0) -> dict[tuple[int, int], Outcome]:
        """Wait until each of these records has its ending; answer those, by partition and offset."""
        wanted = {draft.place for draft in drafts}
        try:
            eventually(lambda: self._check_ended(wanted), seconds=seconds)
            return self._endings(wanted)
        except AssertionError as error:
            for worker in self.workers.values():
                error.add_note(worker.log_tail)
            raise

    def statuses(self, drafts: Iterable[Draft]) -> Counter[str]:
        """How these records stand by their last outcome."""
        last = {place_of(outcome): outcome["status"] for outcome in self.outcomes()}
        return Counter(last.get(draft.place, "unread") for draft in drafts)

    def runs(self) -> list[dict[str, Any]]:
        """What Airflow has run for it."""
        return self.airflow.runs(self.name)

    def run_of(self, draft: Draft) -> dict[str, Any] | None:
        """The only run of a record, None when it has none."""
        found = [run for run in self.runs() if _source_of(run) == draft.place]
        assert len(found) < 2, found
        return found[0] if found else None

    def violations(self, *, complete: bool = True) -> list[str]:
        """What breaks the guarantees among all that was ever sent, by Airflow's own account and the topics."""
        records = [one for one in self.dead_letters() if decode_discard(one.value, one.headers) is None]
        letters = [decode_dead_letter(letter.key, letter.value, letter.headers) for letter in records]
        assert None not in letters, letters
        return history.violations(
            sent=[self._sent(record) for record in self.records()],
            runs=[_run(run) for run in self.runs()],
            outcomes=self.outcomes(),
            dead_letters=[letter for letter in letters if letter is not None],
            complete=complete,
        )

    def _sent(self, record: Record) -> history.Sent:
        """What the history has to know of a record; some are no commands at all."""
        id_ = None
        with suppress(Exception):
            id_ = self._decoder.fields(record.value or b"").get("id")
        place = {"topic": record.topic, "partition": record.partition, "offset": record.offset}
        return history.Sent(**place, key=record.key, id=id_ or None)

    def _check_ended(self, wanted: set[tuple[int, int]]) -> None:
        outcomes = self.outcomes()
        last = {place_of(outcome): outcome["status"] for outcome in outcomes}
        ended = {place_of(outcome) for outcome in outcomes if outcome["status"] in TERMINAL}
        missing = {place: last.get(place, "unread") for place in sorted(wanted - ended)}
        shown = dict(list(missing.items())[:8])
        assert not missing, f"{len(missing)} of {len(wanted)} have no ending; (partition, offset): {shown}"

    def _endings(self, wanted: set[tuple[int, int]]) -> dict[tuple[int, int], Outcome]:
        found: defaultdict[tuple[int, int], dict[str, Outcome]] = defaultdict(dict)
        for outcome in self.outcomes():
            if outcome["status"] in TERMINAL and place_of(outcome) in wanted:
                found[place_of(outcome)].setdefault(outcome["id"], outcome)
        two = {place: list(endings) for place, endings in found.items() if len(endings) > 1}
        assert not two, f"more than one ending: {two}"
        return {place: next(iter(endings.values())) for place, endings in found.items()}


def place_of(outcome: Outcome) -> tuple[int, int]:
    """Partition and offset of the record that an outcome is about."""
    return outcome["source"]["partition"], outcome["source"]["offset"]


def _run(run: dict[str, Any]) -> history.Run:
    start, end = (run[name] and datetime.fromisoformat(run[name]) for name in ("start_date", "end_date"))
    return history.Run(
        run_id=run["dag_run_id"], dag_id=run["dag_id"], conf=run["conf"], start=start, end=end, state=run["state"]
    )


def _source_of(run: dict[str, Any]) -> tuple[int, int]:
    mark = run["conf"]["_command"]
    return mark["partition"], mark["offset"]
