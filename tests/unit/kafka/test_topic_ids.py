"""What a broker is asked about topics, and what it answers, byte by byte."""

import asyncio
import struct
from io import BytesIO

import pytest
from aiokafka.client import ConnectionGroup
from aiokafka.errors import KafkaConnectionError

from streamapp.kafka import topic_ids
from streamapp.kafka.topic_ids import Told, TopicIdsRequest, ask


def text(value):
    return bytes([len(value) + 1]) + value


NUMBERS = struct.pack(">ii", 1, 1)  # of replicas
PARTITION = struct.pack(">hiii", 0, 0, 1, 5) + b"\x02" + NUMBERS[:4] + b"\x02" + NUMBERS[4:] + b"\x01" + b"\x00"


def topic(name, id_, error=0, partitions=2):
    body = struct.pack(">h", error) + text(name) + id_ + b"\x00" + bytes([partitions + 1]) + PARTITION * partitions
    return body + struct.pack(">i", -(2**31)) + b"\x00"


def answer(*topics):
    broker = struct.pack(">i", 1) + text(b"kafka-1") + struct.pack(">i", 9092) + b"\x00" + b"\x00"
    head = struct.pack(">i", 0) + b"\x02" + broker + text(b"cluster") + struct.pack(">i", 1)
    tail = struct.pack(">i", -(2**31)) + b"\x00"
    return topic_ids.Answer.decode(BytesIO(head + bytes([len(topics) + 1]) + b"".join(topics) + tail))


class Client:
    """A client whose broker answers so, or not at all."""

    def __init__(self, says, node=1):
        self.says = says
        self.node = node

    def get_random_node(self):
        return self.node

    async def send(self, node, request, group):
        assert isinstance(request, TopicIdsRequest)
        self.asked = node, group
        if isinstance(self.says, Exception):
            raise self.says
        if self.says is None:
            await asyncio.Event().wait()
        return self.says


async def test_topics_are_told_with_their_ids_as_kafka_shows_them():
    says = answer(topic(b"commands", bytes(range(16))), topic(b"results", b"\xff" * 16, partitions=0))
    assert await ask(Client(says), ["commands", "results"]) == {
        "commands": Told("AAECAwQFBgcICQoLDA0ODw", 2),
        "results": Told("_____________________w", 0),
    }


async def test_topics_that_are_not_there_and_ids_that_are_none_are_left_out():
    says = answer(topic(b"commands", bytes(16), error=3), topic(b"results", bytes(16)), topic(b"control", b"x" * 16))
    assert [*await ask(Client(says), ["commands", "results", "control"])] == ["control"]


@pytest.mark.parametrize("error", [KafkaConnectionError(), NotImplementedError()])
async def test_a_broker_that_is_away_or_knows_no_ids_tells_nothing(error):
    """Kafka's client raises the last where a broker does not speak this version of the request."""
    assert await ask(Client(error), ["commands"]) is None


@pytest.mark.parametrize(("node", "asked"), [(None, 1), (7, 7)])
async def test_a_broker_is_asked_beside_the_fetches_for_which_it_waits(node, asked):
    client = Client(answer(topic(b"commands", b"x" * 16)))
    await ask(client, ["commands"], node)
    assert client.asked == (asked, ConnectionGroup.COORDINATION)


async def test_with_no_broker_nothing_is_asked():
    assert await ask(Client(KafkaConnectionError(), node=None), ["commands"]) is None


async def test_a_broker_that_does_not_answer_is_not_waited_for(monkeypatch):
    """Records that were fetched wait for it."""
    monkeypatch.setattr(topic_ids, "PATIENCE", topic_ids.PATIENCE / 1000)
    assert await ask(Client(None), ["commands"]) is None


def test_topics_are_asked_for_by_name_and_none_is_created():
    request = TopicIdsRequest(["commands"]).prepare({3: (0, 13)})
    assert request.encode() == b"\x02" + bytes(16) + b"\x09commands\x00" + b"\x00\x00\x00" + b"\x00"
    assert request.FLEXIBLE_VERSION


def test_a_broker_before_2_8_does_not_speak_it():
    with pytest.raises(NotImplementedError):
        TopicIdsRequest(["commands"]).prepare({3: (0, 9)})
