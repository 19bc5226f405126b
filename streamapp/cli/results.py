"""Reads: the results topic, without a consumer group. Writes: nothing."""

import json
from collections.abc import Collection
from types import TracebackType
from typing import Any, Self

from aiokafka import TopicPartition

from streamapp.cli.parts import outcomes_of
from streamapp.cli.scan import open_reader
from streamapp.core.model import Outcome
from streamapp.kafka import topics
from streamapp.settings import Settings
from streamapp.wire.outcomes import OutcomeCodec

WAIT_MS = 500
"""How long a read waits for something new before it comes back empty."""

_json = OutcomeCodec(None, "")


class Results:
    """Outcomes from all partitions, or some: in order within each, as they come between them."""

    def __init__(self, settings: Settings, *, from_beginning: bool, partitions: Collection[int] | None = None) -> None:
        self._settings = settings
        self._partitions = partitions
        self._from_beginning = from_beginning
        self._codec = outcomes_of(settings)
        self._ends: dict[TopicPartition, int] = {}
        self.unreadable = 0
        """Records that were no outcomes."""

    async def __aenter__(self) -> Self:
        """Raises `Unavailable` when Kafka does not answer or the topic does not exist."""
        self._consumer, everything = await open_reader(self._settings, "results")
        partitions = [one for one in everything if self._partitions is None or one.partition in self._partitions]
        try:
            with topics.answering(self._settings):
                self._consumer.assign(partitions)
                self._ends = await self._consumer.end_offsets(partitions)
                starts = await self._consumer.beginning_offsets(partitions) if self._from_beginning else self._ends
                for partition, offset in starts.items():
                    self._consumer.seek(partition, offset)
        except BaseException:
            await topics.stop(self._consumer)
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await topics.stop(self._consumer)

    async def read(self) -> list[Outcome]:
        """What came next; empty when nothing came for a while."""
        outcomes = []
        with topics.answering(self._settings):
            batches = await self._consumer.getmany(timeout_ms=WAIT_MS)
        for records in batches.values():
            for record in records:
                outcome = await self._codec.decode(record.key, record.value)
                if outcome is None:
                    self.unreadable += 1
                else:
                    outcomes.append(outcome)
        return outcomes

    async def caught_up(self) -> bool:
        """Whether everything has been read that was there at the start."""
        return all([await self._consumer.position(one) >= end for one, end in self._ends.items()])


def as_json_object(outcome: Outcome) -> dict[str, Any]:
    """The outcome with the fields that it has on the topic."""
    fields: dict[str, Any] = json.loads(_json.encode(outcome).value or b"{}")
    return fields
