import asyncio
from types import SimpleNamespace

from streamapp.kafka.commit import CommittingConsumer
from tests.support.waiting import until


class Consumer(CommittingConsumer):
    """Commits what is acked when it begins to; Kafka answers once it is told to."""

    def __init__(self) -> None:
        self.app = SimpleNamespace(client_only=False)
        self.loop = asyncio.get_running_loop()
        self.acked = 0
        self.begun: list[int] = []
        self.answers = asyncio.Event()

    async def force_commit(self, topics=None, start_new_transaction=True):
        self.begun.append(self.acked)
        await self.answers.wait()
        return True


async def test_what_is_acked_while_a_commit_is_under_way_is_committed_after_it():
    """Else the last commit before partitions are given up could leave out what was waited for until then."""
    consumer = Consumer()
    consumer.acked = 1
    periodic = asyncio.create_task(consumer.commit())
    await until(lambda: consumer.begun == [1])
    consumer.acked = 2
    last = asyncio.create_task(consumer.commit())
    await asyncio.sleep(0)
    assert consumer.begun == [1], "one at a time"
    consumer.answers.set()
    assert await last
    assert await periodic
    assert consumer.begun == [1, 2]


async def test_who_waits_for_another_commit_may_be_cancelled():
    """What they wait for is then done in vain; that must not hold anybody up."""
    consumer = Consumer()
    first = asyncio.create_task(consumer.commit())
    await until(lambda: consumer.begun)
    waiting = asyncio.create_task(consumer.commit())
    await asyncio.sleep(0)
    waiting.cancel()
    consumer.answers.set()
    await asyncio.wait([first, waiting])
    assert await consumer.commit()
