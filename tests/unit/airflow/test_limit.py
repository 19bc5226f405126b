import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamapp.airflow.limit import Limit
from streamapp.airflow.permits import Permits
from tests.support.manual_clock import ManualClock


class Settled(Limit):
    """A limit that has found that its whole bound is of use."""

    def __init__(self, total):
        self.woken = 0
        super().__init__(total, ManualClock(), self._note)
        self.settle()

    def _note(self):
        self.woken += 1

    def settle(self):
        self.own.gradient._settle(self.own.bound)


def test_it_begins_with_one():
    limit = Limit(8, ManualClock())
    assert [limit.try_acquire() for _ in range(2)] == [True, False]
    assert (limit.source.number, limit.source.bound) == (1, 8)


def test_gives_no_more_permits_than_there_are():
    limit = Settled(2)
    assert [limit.try_acquire() for _ in range(3)] == [True, True, False]
    assert limit.in_flight == 2


def test_a_permit_that_came_back_is_given_again_and_told():
    limit = Settled(1)
    assert limit.try_acquire()
    assert not limit.has_permit(wanted=True)
    limit.release()
    assert limit.woken == 1
    assert limit.try_acquire()


def test_what_is_in_hand_and_not_wanted_is_there_for_others():
    limit = Settled(1)
    assert limit.has_permit(wanted=True)
    assert limit.own.out == 1
    assert not limit.has_permit(wanted=False)
    assert limit.own.out == 0


def test_what_was_asked_for_and_is_not_wanted_any_more_is_not_granted():
    limit = Settled(1)
    assert limit.try_acquire()
    assert not limit.has_permit(wanted=True)
    assert not limit.has_permit(wanted=False)
    limit.release()
    assert (limit.own.out, limit.woken) == (0, 0)


@pytest.mark.parametrize(
    ("total", "owned", "everything", "share"),
    [(8, 4, 8, 4), (8, 3, 8, 3), (8, 1, 16, 1), (8, 0, 8, 1), (8, 5, 12, 3), (8, 8, 8, 8), (8, 0, 0, 1)],
)
def test_the_share_follows_the_partitions_and_is_at_least_one(total, owned, everything, share):
    limit = Settled(total)
    limit.share(range(owned), everything)
    assert limit.source.bound == share


def test_who_lends_has_the_part_of_its_borrowers_too():
    limit = Settled(8)
    limit.share([0, 1], 8)
    limit.lend([1, 2, 3, 4])
    assert limit.source.bound == 5
    limit.lend([])
    assert limit.source.bound == 2


@given(total=st.integers(1, 32), workers=st.integers(1, 40), partitions=st.integers(1, 300), seed=st.randoms())
def test_all_workers_together_keep_the_bound(total, workers, partitions, seed):
    """However Faust deals the partitions out, and whoever of them borrows and whoever can't reach the lender."""
    most = -(-partitions // workers)
    left, begin, parts = partitions, 0, []
    for others in reversed(range(workers)):
        size = seed.randint(max(0, left - others * most), min(most, left))
        parts.append(range(begin, begin + size))
        begin, left = begin + size, left - size
    lender, *rest = (part for part in parts if part)  # who owns nothing has nothing to send
    borrowers = [part for part in rest if seed.random() < 0.5]
    alone = [part for part in rest if part not in borrowers]
    given_out = 0
    for part in (lender, *alone):
        limit = Settled(total)
        limit.share(part, partitions)
        if part is lender:
            limit.lend([number for borrower in borrowers for number in borrower])
        given_out += limit.source.bound
    assert given_out <= max(total, 1 + len(rest))


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
    assert limit.try_acquire()


def test_while_it_is_unknown_whose_permits_to_take_none_is_given():
    limit = Settled(8)
    limit.use(None)
    assert not limit.try_acquire()
    limit.use(limit.own)
    assert limit.woken
    assert limit.try_acquire()


async def test_another_source_serves_who_waits_and_gets_back_only_its_own():
    limit, other = Settled(1), Permits(1, ManualClock())
    assert limit.try_acquire()
    read = asyncio.create_task(_read(limit))
    await asyncio.sleep(0)
    limit.has_permit(wanted=True)
    limit.use(other)
    assert (limit.own.out, other.out) == (1, 1)
    await read
    assert limit.try_acquire()
    assert (limit.own.out, other.out, limit.in_flight) == (1, 1, 2)
    limit.release()
    assert (limit.own.out, other.out) == (0, 1)
    limit.release()
    assert (limit.own.out, other.out, limit.in_flight) == (0, 0, 0)


async def test_a_read_gives_back_where_it_got_although_triggers_have_ended_since():
    limit, other = Settled(1), Permits(1, ManualClock())
    async with limit.reading():
        limit.use(other)
        assert limit.try_acquire()
        assert limit.in_flight == 2
        limit.release()
        assert (limit.own.out, other.out) == (1, 0)
    assert (limit.own.out, other.out, limit.in_flight) == (0, 0, 0)


async def _read(limit):
    async with limit.reading():
        pass


def test_a_permit_that_is_not_out_cannot_come_back():
    with pytest.raises(ValueError, match="no permit"):
        Settled(1).release()


def test_a_limit_of_nothing_is_refused():
    with pytest.raises(ValueError, match="at least one"):
        Limit(0, ManualClock())
