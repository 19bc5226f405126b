"""Which topic it is that bears a name: asks a broker for the ids of topics and for their partitions. Writes nothing.

A topic that is deleted and created again has a new id. Kafka's client knows topics by their names alone; this is a
later version of a request that it has.
"""

import asyncio
import base64
from collections.abc import Collection
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from aiokafka.client import ConnectionGroup
from aiokafka.errors import KafkaError, NoError
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import (
    AbstractType,
    Boolean,
    CompactArray,
    CompactString,
    Int16,
    Int32,
    Schema,
    TaggedFields,
)

PATIENCE = timedelta(seconds=10)
"""For a broker's answer. Records that were fetched may wait for it."""
ID_BYTES = 16


@dataclass(frozen=True)
class Told:
    """What a broker says of a topic."""

    id: str
    """As `kafka-topics --describe` shows it."""
    partitions: int


class _Id(AbstractType):  # type: ignore[misc]
    @classmethod
    def encode(cls, value: bytes) -> bytes:
        return value

    @classmethod
    def decode(cls, data: Any) -> str:
        return base64.urlsafe_b64encode(data.read(ID_BYTES)).rstrip(b"=").decode()


_NO_ID = "A" * 22
_TEXT = CompactString("utf-8")
_TAGS = ("tags", TaggedFields)


class Answer(Response):  # type: ignore[misc]
    """What a broker answers to it."""

    API_KEY = 3
    API_VERSION = 10
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        ("brokers", CompactArray(("node_id", Int32), ("host", _TEXT), ("port", Int32), ("rack", _TEXT), _TAGS)),
        ("cluster_id", _TEXT),
        ("controller_id", Int32),
        (
            "topics",
            CompactArray(
                ("error_code", Int16),
                ("name", _TEXT),
                ("id", _Id),
                ("is_internal", Boolean),
                (
                    "partitions",
                    CompactArray(
                        ("error_code", Int16),
                        ("number", Int32),
                        ("leader", Int32),
                        ("leader_epoch", Int32),
                        ("replicas", CompactArray(Int32)),
                        ("isr", CompactArray(Int32)),
                        ("offline", CompactArray(Int32)),
                        _TAGS,
                    ),
                ),
                ("authorized_operations", Int32),
                _TAGS,
            ),
        ),
        ("authorized_operations", Int32),
        _TAGS,
    )


class Question(RequestStruct):  # type: ignore[misc]
    """Kafka's request for metadata; the version after which topics are known by their ids, too."""

    API_KEY = 3
    API_VERSION = 10
    FLEXIBLE_VERSION = True
    RESPONSE_TYPE = Answer
    SCHEMA = Schema(
        ("topics", CompactArray(("id", _Id), ("name", _TEXT), _TAGS)),
        ("allow_auto_topic_creation", Boolean),
        ("include_cluster_authorized_operations", Boolean),
        ("include_topic_authorized_operations", Boolean),
        _TAGS,
    )


class TopicIdsRequest(Request[Question]):  # type: ignore[misc]
    """Asks for topics by their names, and creates none."""

    API_KEY = 3

    def __init__(self, names: Collection[str]) -> None:
        self._names = names

    def build(self, struct: type[Question]) -> Question:
        """The request as it is sent."""
        no_tags: dict[int, bytes] = {}
        topics = [(bytes(ID_BYTES), name, no_tags) for name in self._names]
        return struct(topics, False, False, False, no_tags)


async def ask(client: Any, names: Collection[str], node: int | None = None) -> dict[str, Told] | None:
    """What a broker says of these topics, as far as it has them.

    Args:
        client: Kafka's.
        names: Of the topics.
        node: Which broker to ask; None: any.

    Returns:
        None: Kafka does not answer now, or is older than 2.8 and knows no ids.
    """
    if node is None and (node := client.get_random_node()) is None:
        return None
    try:
        async with asyncio.timeout(PATIENCE.total_seconds()):
            # Not behind a fetch, for which the broker lets records wait: it answers one connection in order.
            answer = await client.send(node, TopicIdsRequest(names), group=ConnectionGroup.COORDINATION)
    except (KafkaError, TimeoutError, NotImplementedError):  # the last: no version that both speak
        return None
    return {
        name: Told(id_, len(partitions))
        for error, name, id_, _, partitions, *_ in answer.topics
        if error == NoError.errno and id_ != _NO_ID
    }
