"""Reads: parts of a topic, up to where it ended when it was opened, without a consumer group. Writes: nothing."""

import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime
from types import TracebackType
from typing import Any, Self

import click
from aiokafka import AIOKafkaConsumer, TopicPartition

from streamapp.core.errors import Unavailable
from streamapp.kafka import headers, topics
from streamapp.settings import Settings
from streamapp.wire.times import to_millis

WAIT_MS = 500
"""How long one question to the broker waits for records."""
STALLED_AFTER = 60
"""Questions in a row without an answer; then reading has failed."""
PASSED_OVER = 500
"""Records between two that are wanted: for more it is cheaper to ask anew than to read them."""

Offsets = Mapping[int, int]
"""By partition."""


class Topic:
    """One of the topics; each partition is read in its order."""

    def __init__(self, settings: Settings, role: str) -> None:
        """Talks to nobody yet.

        Args:
            settings: How to reach Kafka, and the names.
            role: As in `topics.expected`: commands, results, dead letters.
        """
        self._settings = settings
        self._role = role
        self.name = _name(settings, role)
        self.starts: Offsets = {}
        """The first offset that each partition still has."""
        self.ends: Offsets = {}
        """Where each partition ended when this was opened."""

    async def __aenter__(self) -> Self:
        """Raises `Unavailable` when Kafka does not answer or the topic does not exist."""
        self._consumer, partitions = await open_reader(self._settings, self._role)
        try:
            with topics.answering(self._settings):
                self.starts = _numbers(await self._consumer.beginning_offsets(partitions))
                self.ends = _numbers(await self._consumer.end_offsets(partitions))
        except BaseException:
            await topics.stop(self._consumer)
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await topics.stop(self._consumer)

    async def at(self, time: datetime) -> Offsets:
        """The first offset of each partition whose record is of this time or later; its end where there is none."""
        wanted = {TopicPartition(self.name, number): max(to_millis(time), 0) for number in self.ends}
        with topics.answering(self._settings):
            found = await self._consumer.offsets_for_times(wanted)
        return {
            place.partition: there.offset if there else self.ends[place.partition] for place, there in found.items()
        }

    async def read(
        self, starts: Offsets, ends: Offsets | None = None, *, label: str | None = None
    ) -> AsyncIterator[Any]:
        """The records from `starts` on, of these partitions only; with a label, how far it is stands on a terminal.

        Raises:
            Unavailable: Kafka does not answer any more.
        """
        ends = self.ends if ends is None else ends
        wanted = {number: max(start, self.starts[number]) for number, start in starts.items()}
        left = {TopicPartition(self.name, number) for number, start in wanted.items() if start < ends[number]}
        total = sum(ends[tp.partition] - wanted[tp.partition] for tp in left)
        with _progress(label, total) as bar, topics.answering(self._settings):
            self._consumer.assign(left)
            for tp in left:
                self._consumer.seek(tp, wanted[tp.partition])
            silent = 0
            while left:
                batches = await self._consumer.getmany(*left, timeout_ms=WAIT_MS)
                silent = 0 if batches else silent + 1
                if silent > STALLED_AFTER:
                    raise Unavailable(f"Kafka has stopped answering for {self.name}; try again")
                for tp, records in batches.items():
                    for record in records:
                        if record.offset < ends[tp.partition]:
                            yield record
                    bar.update(len(records))
                done = {tp for tp in left if await self._consumer.position(tp) >= ends[tp.partition]}
                left -= done
                self._consumer.pause(*done)

    async def pick(self, number: int, offsets: Sequence[int]) -> dict[int, Any]:
        """Single records of a partition, those that are still there."""
        picked: dict[int, Any] = {}
        ordered = sorted(set(offsets))
        while ordered:
            run = 1
            while run < len(ordered) and ordered[run] - ordered[run - 1] <= PASSED_OVER:
                run += 1
            wanted, ordered = set(ordered[:run]), ordered[run:]
            async for record in self.read({number: min(wanted)}, {number: max(wanted) + 1}):
                if record.offset in wanted:
                    picked[record.offset] = record
        return picked


async def open_reader(settings: Settings, role: str) -> tuple[AIOKafkaConsumer, list[TopicPartition]]:
    """A consumer without a group, to be stopped, and all partitions of a topic.

    Raises:
        Unavailable: Kafka does not answer, or the topic does not exist.
    """
    found = (await topics.describe(settings)).get(role)
    if found is None:
        raise Unavailable(f"the topic {_name(settings, role)} does not exist; run `streamapp topics --create`")
    headers.install()
    consumer = AIOKafkaConsumer(
        **topics.client_arguments(settings),
        isolation_level="read_committed",
        enable_auto_commit=False,
        auto_offset_reset="earliest",  # what is deleted meanwhile is passed over, and nothing else
        request_timeout_ms=15_000,
    )
    try:
        await topics.start(consumer, settings)
    except BaseException:
        await topics.stop(consumer)
        raise
    return consumer, [TopicPartition(found.name, number) for number in range(found.partitions)]


def _name(settings: Settings, role: str) -> str:
    return next(topic.name for topic in topics.expected(settings) if topic.role == role)


def progress_hidden(length: int) -> bool:
    """Whether a progress bar would be of no use: no terminal, or nothing to wait for."""
    return length == 0 or not sys.stderr.isatty()


def _progress(label: str | None, length: int) -> Any:
    hidden = label is None or progress_hidden(length)
    return click.progressbar(length=length, label=label, file=sys.stderr, hidden=hidden)


def _numbers(offsets: Mapping[Any, int]) -> Offsets:
    return {place.partition: offset for place, offset in offsets.items()}
