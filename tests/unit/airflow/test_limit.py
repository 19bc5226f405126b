import asyncio
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamapp.airflow.limit import Limit
from tests.support.manual_clock import ManualClock


class Settled(Limit):
    """A limit that has found that its whole bound is of use."""

    def __init__(self, total):
        self.woken = 0
        self.clock = ManualClock()
        super().__init__(total, self.clock, self._note)
        self.settle()

    def _note(self):
        self.woken += 1

    def settle(self):
        self.gradient._number = self.bound


def test_it_begins_with_one():
    limit = Limit(8, ManualClock())
    assert [limit.try_acquire() for _ in range(2)] == [True, False]
    assert (limit.limit, limit.bound) == (1, 8)


def test_gives_no_more_permits_than_the_limit():
    limit = Settled(2)
    assert [limit.try_acquire() for _ in range(3)] == [True, True, False]
    assert limit.in_flight == 2


def test_a_permit_that_came_back_is_given_again_and_told():
    limit = Settled(1)
    assert limit.try_acquire()
    assert not limit.free
    limit.release()
    assert limit.woken == 1
    assert limit.try_acquire()


@pytest.mark.parametrize(
    ("total", "owned", "everything", "share"),
    [(8, 4, 8, 4), (8, 3, 8, 3), (8, 1, 16, 1), (8, 0, 8, 1), (8, 5, 12, 3), (8, 8, 8, 8), (8, 0, 0, 1)],
)
def test_the_share_follows_the_partitions_and_is_at_least_one(total, owned, everything, share):
    limit = Settled(total)
    limit.share(range(owned), everything)
    assert limit.bound == share
    limit.settle()
    assert limit.limit == share


@given(total=st.integers(1, 32), workers=st.integers(1, 40), partitions=st.integers(1, 300), seed=st.randoms())
def test_all_workers_together_keep_the_bound(total, workers, partitions, seed):
    """However Faust deals the partitions out: no worker gets more than an even part, rounded up."""
    most = -(-partitions // workers)
    left, parts = partitions, []
    for others in reversed(range(workers)):
        parts.append(seed.randint(max(0, left - others * most), min(most, left)))
        left -= parts[-1]
    given_out = 0
    for part in parts:
        limit = Settled(total)
        limit.share(range(part), partitions)
        given_out += limit.bound if part else 0  # who owns nothing has nothing to send
    at_work = sum(part > 0 for part in parts)
    assert given_out <= max(total, at_work)


def test_a_smaller_share_takes_effect_as_permits_come_back():
    limit = Settled(4)
    assert all(limit.try_acquire() for _ in range(4))
    limit.share([0], 4)
    for _ in range(3):
        limit.release()
        assert not limit.try_acquire()
    limit.release()
    assert limit.try_acquire()


async def test_who_reads_comes_before_all_triggers():
    limit = Settled(1)
    assert limit.try_acquire()
    reads = []

    async def read(name):
        async with limit.reading():
            reads.append(name)

    tasks = [asyncio.create_task(read(name)) for name in "ab"]
    await asyncio.sleep(0)
    limit.release()
    assert not limit.try_acquire()  # it is promised to the first reader
    await asyncio.gather(*tasks)
    assert reads == ["a", "b"]
    assert limit.in_flight == 0
    assert limit.try_acquire()


@pytest.mark.parametrize("given", [False, True])
async def test_a_reader_that_is_cancelled_loses_no_permit(given):
    limit = Settled(1)
    limit.try_acquire()

    async def read():
        async with limit.reading():
            raise AssertionError

    task = asyncio.create_task(read())
    await asyncio.sleep(0)
    if given:
        limit.release()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    if not given:
        limit.release()
    assert limit.in_flight == 0
    assert limit.free


async def test_in_turns_triggers_wait_for_theirs_and_reads_do_not():
    limit = Settled(8)
    limit.share([0, 1, 2, 3], 8)
    limit.gradient.failed(5.0, 0.0)
    limit.gradient._rest_until = 0.0
    assert limit.in_turns
    turns = []
    for _ in range(32):
        limit.clock.advance(timedelta(milliseconds=500))
        turns.append(limit.free)
    assert 10 < sum(turns) < 22
    limit.clock.advance(timedelta(milliseconds=500) * (next(n for n in range(32) if not turns[n]) + 1))
    assert not limit.try_acquire()
    async with limit.reading():
        assert limit.in_flight == 1


def test_a_permit_that_is_not_out_cannot_come_back():
    with pytest.raises(ValueError, match="no permit"):
        Settled(1).release()


def test_a_limit_of_nothing_is_refused():
    with pytest.raises(ValueError, match="at least one"):
        Limit(0, ManualClock())
