"""Reads: records for partitions. Writes: them to Kafka, in order; tells where each went once Kafka has it."""

import sys
from collections import deque
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import click
from aiokafka.errors import KafkaError

from streamapp.cli.output import reason_of
from streamapp.cli.producing import acknowledged, producing
from streamapp.cli.scan import progress_hidden
from streamapp.core.errors import Unavailable
from streamapp.settings import Settings
from streamapp.wire.outgoing import Outgoing

T = TypeVar("T")

UNDER_WAY = 500
"""Records sent and not yet acknowledged."""


@dataclass(frozen=True, slots=True)
class Parcel(Generic[T]):
    """A record, its place, and what it stands for."""

    what: T
    topic: str
    partition: int
    record: Outgoing


async def deliver(
    settings: Settings, parcels: Iterable[Parcel[T]], *, label: str
) -> AsyncIterator[tuple[Parcel[T], int]]:
    """Send them; gives each with its offset, in order. The first that is not acknowledged ends it.

    Raises:
        Unavailable: Kafka has not acknowledged one; the message says how many it has.
    """
    given = list(parcels)
    if not given:
        return
    delivered = 0
    hidden = progress_hidden(len(given)) or sys.stdout.isatty()
    under_way: deque[tuple[Parcel[T], Any]] = deque()

    async def first() -> tuple[Parcel[T], int]:
        parcel, sent = under_way.popleft()
        return parcel, int((await acknowledged(sent)).offset)

    try:
        with click.progressbar(length=len(given), label=label, file=sys.stderr, hidden=hidden) as bar:
            async with producing(settings) as producer:
                for parcel in given:
                    key, value, headers = parcel.record
                    sent = await producer.send(
                        parcel.topic, value, key=key, partition=parcel.partition, headers=list(headers)
                    )
                    under_way.append((parcel, sent))
                    while under_way and (len(under_way) > UNDER_WAY or under_way[0][1].done()):
                        yield await first()
                        delivered += 1
                        bar.update(1)
                while under_way:
                    yield await first()
                    delivered += 1
                    bar.update(1)
    except (KafkaError, TimeoutError) as error:
        what = f"not acknowledged ({reason_of(error)}); {delivered} of {len(given)} were"
        raise Unavailable(f"{what}: give the same command again for the rest") from None
