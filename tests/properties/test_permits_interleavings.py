"""Whatever triggers, reads and changes of the lender come in whatever order: no permit is lost, none is given twice."""

import asyncio
from contextlib import suppress

from hypothesis import example, given
from hypothesis import strategies as st

from streamapp.airflow.lending import KEPT_FOR, Lender, Loan
from streamapp.airflow.limit import Limit
from tests.support.manual_clock import ManualClock

BOUND = 3
STEPS = ["want", "decline", "start", "end", "read", "read_on", "cancel", "own", "nobody", "lent", "deliver"]
STEPS += ["lender_starts"]


class Scene:
    """A worker that has its own permits, or those of another one, whose messages are under way for a while."""

    def __init__(self):
        self.clock = ManualClock()
        self.limit = Limit(BOUND, self.clock)
        self.other = Limit(BOUND, self.clock)
        for limit in (self.limit, self.other):
            limit.own.gradient._settle(BOUND)
        self.lender = Lender(self.other)
        self.post = []
        self.desk = self.loan = None
        self.started = 0
        self.reads = []

    def want(self):
        self.limit.has_permit(wanted=True)

    def decline(self):
        self.limit.has_permit(wanted=False)

    def start(self):
        self.started += self.limit.try_acquire()

    def end(self):
        if self.started:
            self.started -= 1
            self.limit.release()

    def read(self):
        go_on = asyncio.Event()
        self.reads.append((asyncio.create_task(self._read(go_on)), go_on))

    def read_on(self):
        if self.reads:
            self.reads.pop(0)[1].set()

    def cancel(self):
        if self.reads:
            self.reads.pop()[0].cancel()

    def own(self):
        self._part()
        self.limit.use(self.limit.own)

    def nobody(self):
        self._part()
        self.limit.use(None)

    def lent(self):
        self._part()
        self.desk = self.lender.open(lambda text: self.post.append((self.loan.take, text)))
        self.loan = Loan(lambda text: self.post.append((self.desk.take, text)), (1,), self.clock)
        self.limit.use(self.loan)

    def deliver(self):
        if self.post:
            take, text = self.post.pop(0)
            take(text)

    def lender_starts(self):
        if self.other.try_acquire():
            self.other.release()

    async def _read(self, go_on):
        async with self.limit.reading():
            await go_on.wait()

    def _part(self):
        """The connection ends, with all that is under way."""
        if self.loan is not None:
            self.loan.close()
            self.desk.close()
            self.post.clear()
            self.loan = self.desk = None

    async def play(self, steps):
        for step in steps:
            getattr(self, step)()
            await asyncio.sleep(0)
            assert self.limit.own.out <= BOUND
            assert self.other.own.out <= BOUND
            assert self.limit.in_flight >= self.started
        await self._end()
        assert (self.limit.own.out, self.other.own.out, self.limit.in_flight) == (0, 0, 0)
        assert [self.limit.try_acquire() for _ in range(BOUND + 1)] == [True] * BOUND + [False]

    async def play_until_all_is_done(self, steps):
        self.other.own.gradient._settle(1)
        self.lent()
        for step in steps:
            getattr(self, step)()
            await asyncio.sleep(0)
        self.want()
        for _ in range(len(steps) + 2):
            for _ in range(2 * len(steps) + 8):  # some go on at once, each after the one before
                self.deliver()
                await asyncio.sleep(0)
            self.clock.advance(KEPT_FOR)  # what is given back now goes back to the lender
            self.end()
            self.read_on()
        assert self.limit.has_permit(wanted=True), "it waits for ever"

    async def _end(self):
        self.own()
        self.decline()
        while self.started:
            self.end()
        for _, go_on in self.reads:
            go_on.set()
        for task, _ in self.reads:
            with suppress(asyncio.CancelledError):
                await task
        await asyncio.sleep(0)
        self.decline()


@given(steps=st.lists(st.sampled_from(STEPS), max_size=60))
def test_no_permit_is_lost_or_given_twice(steps):
    asyncio.run(Scene().play(steps))


USES = ["want", "decline", "start", "end", "read", "read", "read_on", "cancel", "deliver", "deliver"]


@example(steps=["want", "read", "deliver", "deliver", "deliver", "deliver", "read"])
@given(steps=st.lists(st.sampled_from(USES), max_size=40))
def test_who_borrows_gets_a_permit_in_the_end(steps):
    asyncio.run(Scene().play_until_all_is_done(steps))
