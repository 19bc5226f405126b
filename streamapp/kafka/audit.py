"""Compares a live table with its changelog: reads both, writes nothing. The check that finds silent corruption.

A worker's database holds exactly what the changelog said at one offset, and both are written in one atomic step. So a
snapshot of the database names its offset, and the rows of the changelog up to there must be the same rows. A row that
the changelog wrote again after that offset can't be compared, because compaction may have removed what was before.
"""

from collections.abc import Generator, Iterable
from dataclasses import dataclass, field
from hashlib import blake2b

from aiokafka import AIOKafkaConsumer, TopicPartition

from streamapp.core.errors import Unavailable
from streamapp.kafka import topics
from streamapp.settings import Settings

DIGEST_BYTES = 16
PORTION = 1000
"""Rows that are fingerprinted in one go: some 10 ms, and 64 KiB of text."""
CHANGELOG_PAUSE_MS = 5000
"""Without any record for this long, reading the changelog has failed."""


def digest(data: bytes) -> str:
    """A short fingerprint of a key or a value, in hex."""
    return blake2b(data, digest_size=DIGEST_BYTES).hexdigest()


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What a live table holds: fingerprints of values by those of their keys."""

    offset: int | None
    """The last changelog offset that it contains; None for an empty table."""
    rows: dict[str, str]

    @classmethod
    def parse(cls, text: str) -> "Snapshot":
        """What `portions` have sent."""
        first, *rows = text.splitlines()
        return cls(None if first == "-" else int(first), dict(line.split(" ", 1) for line in rows))


def portions(offset: int | None, rows: Iterable[tuple[bytes, bytes]]) -> Generator[bytes, None, None]:
    """A live table as it is sent: the offset, then a line for each row; so many rows at a time."""
    lines = ["-" if offset is None else str(offset)]
    for key, value in rows:
        lines.append(f"{digest(key)} {digest(value)}")
        if len(lines) == PORTION:
            yield _text(lines)
            lines = []
    if lines:
        yield _text(lines)


def _text(lines: list[str]) -> bytes:
    return "".join(f"{line}\n" for line in lines).encode()


@dataclass(slots=True)
class Rebuilt:
    """What a changelog says a table holds, at an offset."""

    offset: int | None
    rows: dict[str, str] = field(default_factory=dict)
    later: set[str] = field(default_factory=set)
    """Keys that were written again after the offset."""

    def add(self, offset: int, key: bytes, value: bytes | None) -> None:
        """Fold one record of the changelog, in order."""
        name = digest(key)
        if self.offset is None or offset > self.offset:
            self.later.add(name)
        elif value is None:
            self.rows.pop(name, None)
        else:
            self.rows[name] = digest(value)


@dataclass(frozen=True, slots=True)
class Comparison:
    """How a live table and its changelog differ; all zero where they agree."""

    compared: int
    missing: int
    """Rows that the changelog has and the table lacks."""
    phantom: int
    """Rows that the table has and the changelog never had, or removed."""
    different: int

    @property
    def equal(self) -> bool:
        """Whether no row differs."""
        return not (self.missing or self.phantom or self.different)


def compare(live: Snapshot, rebuilt: Rebuilt) -> Comparison:
    """Compare all rows that the changelog can still vouch for."""
    names = (live.rows.keys() | rebuilt.rows.keys()) - rebuilt.later
    return Comparison(
        compared=len(names),
        missing=sum(name not in live.rows for name in names),
        phantom=sum(name not in rebuilt.rows for name in names),
        different=sum(
            name in live.rows and name in rebuilt.rows and live.rows[name] != rebuilt.rows[name] for name in names
        ),
    )


async def rebuild(settings: Settings, partition: int, offset: int | None) -> Rebuilt:
    """Read a changelog partition from its beginning to its present end.

    Raises:
        Unavailable: Kafka does not answer, or stops answering.
    """
    rebuilt = Rebuilt(offset)
    consumer = AIOKafkaConsumer(enable_auto_commit=False, **topics.client_arguments(settings))
    try:
        await topics.start(consumer, settings)
        source = TopicPartition(topics.changelog(settings), partition)
        consumer.assign([source])
        await consumer.seek_to_beginning(source)
        end = (await consumer.end_offsets([source]))[source]
        while await consumer.position(source) < end:
            batch = await consumer.getmany(source, timeout_ms=CHANGELOG_PAUSE_MS)
            if not batch:
                raise Unavailable(f"Kafka has stopped answering for {source.topic} partition {partition}; try again")
            for record in batch[source]:
                rebuilt.add(record.offset, record.key, record.value)
    finally:
        await topics.stop(consumer)
    return rebuilt
