"""Reads: answers to instructions, from the results topic. Writes: instructions to the control topic.

An instruction goes to the partition of what it concerns: where that is, is found here, too.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError
from aiokafka.partitioner import DefaultPartitioner

from streamapp.cli.output import reason_of
from streamapp.cli.producing import acknowledged, producing
from streamapp.cli.results import Results
from streamapp.core.errors import Unavailable
from streamapp.core.model import ANSWERS, Instruction, Outcome, Status
from streamapp.kafka import topics
from streamapp.settings import Settings
from streamapp.wire.control import encode_instruction

_murmur2 = DefaultPartitioner()


@dataclass(frozen=True, slots=True)
class Order:
    """An instruction for one partition."""

    instruction: Instruction
    partition: int

    def answered_by(self, outcome: Outcome) -> bool:
        """Whether an outcome says what became of it."""
        asked = self.instruction
        return (
            outcome.status in ANSWERS
            and outcome.control_id == asked.control_id
            and outcome.source.partition == self.partition
            and asked.command_id in {None, outcome.command_id}
            and asked.key in {None, outcome.key}
            and asked.dag_id in {None, outcome.dag_id}
        )


@dataclass(frozen=True, slots=True)
class Reply:
    """What became of an order."""

    order: Order
    outcome: Outcome | None
    """None: no worker has answered in time, or nobody has waited; the order stands."""

    @property
    def applied(self) -> bool:
        """Whether it was followed."""
        return self.outcome is not None and self.outcome.status is Status.INSTRUCTION_APPLIED

    @property
    def refused(self) -> bool:
        """Whether it was refused."""
        return self.outcome is not None and not self.applied


class Control:
    """The way to the workers that fold instructions."""

    def __init__(self, settings: Settings, producer: AIOKafkaProducer, partitions: int) -> None:
        self._settings = settings
        self._producer = producer
        self.partitions = partitions
        """Of the control topic, as of the commands topic."""

    async def give(self, orders: Iterable[Order], wait: timedelta | None) -> list[Reply]:
        """Give orders, and wait for what becomes of them.

        Args:
            orders: Each for its partition.
            wait: How long for all answers together; None: not at all.

        Raises:
            Unavailable: Kafka has not acknowledged all of them.
        """
        given = list(orders)
        if wait is None:
            await self._send(given)
            return [Reply(order, None) for order in given]
        numbers = {order.partition for order in given}
        # Read from where the topic ends before they are given: no answer can be missed.
        async with Results(self._settings, from_beginning=False, partitions=numbers) as results:
            await self._send(given)
            return await _answers(results, given, wait)

    async def _send(self, orders: list[Order]) -> None:
        try:
            sent = []
            for order in orders:
                record = encode_instruction(order.instruction)
                topic = self._settings.control_topic
                sent.append(await self._producer.send(topic, record.value, key=record.key, partition=order.partition))
            for one in sent:
                await acknowledged(one)
        except (KafkaError, TimeoutError) as error:
            what = f"not acknowledged ({reason_of(error)}): it may have been given or not"
            raise Unavailable(f"{what}; it does no harm to give it again") from None


@asynccontextmanager
async def control(settings: Settings) -> AsyncIterator[Control]:
    """Ready to give orders.

    Raises:
        Unavailable: Kafka does not answer, or there is no control topic.
    """
    found = (await topics.describe(settings)).get("control")
    if found is None:
        raise Unavailable(f"the topic {settings.control_topic} does not exist; run `streamapp topics --create`")
    async with producing(settings) as producer:
        yield Control(settings, producer, found.partitions)


def partition_of_key(key: bytes, partitions: int) -> int:
    """Where Java clients, and `streamapp send`, put commands of a key."""
    numbers = list(range(partitions))
    return int(_murmur2(key, numbers, numbers))


def partition_in(command_id: str, settings: Settings) -> int | None:
    """The partition that an id names which was made from its record's place; None for any other id."""
    made = re.fullmatch(rf"{re.escape(settings.commands_topic)}-(\d{{1,6}})-\d+-\d+", command_id, re.ASCII)
    return int(made[1]) if made else None


def partitions_in(found: dict[str, Any]) -> set[int]:
    """The partitions that a worker's answer about a key, or about a command, names."""
    commands = [found, *found.get("queue", ()), *found.get("history", ())]
    return {int(one["source"]["partition"]) for one in commands if "source" in one}


async def _answers(results: Results, orders: list[Order], wait: timedelta) -> list[Reply]:
    answers: dict[Order, Outcome] = {}
    # There may be thousands: each outcome is compared with few of them.
    given: dict[tuple[str | None, int, str | None], list[Order]] = {}
    for order in orders:
        asked = order.instruction
        given.setdefault((asked.control_id, order.partition, asked.command_id), []).append(order)
    try:
        async with asyncio.timeout(wait.total_seconds()) as timer:
            while len(answers) < len(orders):
                for outcome in await results.read():
                    for command_id in (outcome.command_id, None):
                        place = outcome.control_id, outcome.source.partition, command_id
                        answers |= {order: outcome for order in given.get(place, ()) if order.answered_by(outcome)}
    except TimeoutError:
        if not timer.expired():
            raise
    return [Reply(order, answers.get(order)) for order in orders]
