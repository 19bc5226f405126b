import asyncio
from types import SimpleNamespace

import pytest
from aiokafka import TopicPartition
from aiokafka.consumer.group_coordinator import GroupCoordinator
from aiokafka.errors import GroupAuthorizationFailedError
from aiokafka.protocol.commit import OffsetFetchResponse_v1, OffsetFetchResponse_v3

from streamapp.kafka.seek import heed_errors

TP = TopicPartition("commands", 0)
COMMITTED = [("commands", [(0, 41, "", 0)])]
LOADING, AWAY, MOVED, FORBIDDEN = 14, 15, 16, 30


class Brokers:
    """Kafka's client: broker 1 is asked first, broker 2 once that is not the coordinator any more."""

    def __init__(self, *answers) -> None:
        self.answers = list(answers)
        self.asked: list[int] = []

    async def send(self, node_id, _, **__):
        self.asked.append(node_id)
        return self.answers.pop(0)

    async def coordinator_lookup(self, *_):
        return 2

    async def ready(self, *_, **__):
        return True


def coordinator(*answers):
    made = object.__new__(GroupCoordinator)
    made.group_id, made.coordinator_id, made._retry_backoff_ms = "shop", 1, 0
    made._client = Brokers(*answers)
    made._coordinator_lookup_lock = asyncio.Lock()
    made._closing, made._coordinator_dead_fut = (asyncio.get_running_loop().create_future() for _ in range(2))
    return made


def group_error(code):
    return OffsetFetchResponse_v3(0, [], code)


async def test_stock_takes_an_error_for_no_offsets():
    """When this fails, the mend can go."""
    assert await coordinator(group_error(MOVED)).fetch_committed_offsets([TP]) == {}


@pytest.mark.parametrize(("code", "asked"), [(LOADING, [1, 1]), (AWAY, [1, 2]), (MOVED, [1, 2])])
async def test_committed_offsets_are_asked_for_until_they_are_told(code, asked):
    """Else all would be read from its beginning, and what was forgotten since would run again."""
    group = coordinator(group_error(code), OffsetFetchResponse_v3(0, COMMITTED, 0))
    heed_errors(group)
    heed_errors(group)  # topics are subscribed again
    found = await group.fetch_committed_offsets([TP])
    assert {tp: place.offset for tp, place in found.items()} == {TP: 41}
    assert group._client.asked == asked


async def test_what_no_question_helps_against_is_raised():
    group = coordinator(group_error(FORBIDDEN))
    heed_errors(group)
    with pytest.raises(GroupAuthorizationFailedError):
        await group.fetch_committed_offsets([TP])


@pytest.mark.parametrize("answer", [OffsetFetchResponse_v1(COMMITTED), OffsetFetchResponse_v3(0, COMMITTED, 0)])
async def test_answers_of_any_version_are_read(answer):
    group = coordinator(answer)
    heed_errors(group)
    assert (await group.fetch_committed_offsets([TP]))[TP].offset == 41


async def test_other_answers_are_none_of_its_business():
    group = coordinator(SimpleNamespace(error_code=27))
    heed_errors(group)
    assert (await group._send_req(SimpleNamespace())).error_code == 27
