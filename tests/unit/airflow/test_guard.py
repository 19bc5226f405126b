import asyncio
from datetime import timedelta

import pytest

from streamapp.airflow.breaker import FAILURES, Breaker, BreakerState
from streamapp.airflow.guard import Guard
from streamapp.airflow.limit import Limit
from streamapp.airflow.port import (
    AirflowUnavailable,
    Created,
    Dag,
    DagMissing,
    Refused,
    TurnedAway,
    Uncertain,
    Withdrawn,
)
from streamapp.core.model import Reason
from tests.support.instant_clock import InstantClock
from tests.support.memory_airflow import MemoryAirflow

HOUR_AGO = timedelta(hours=1)


class Door:
    """A guard, and what stands on both its sides."""

    def __init__(self):
        self.clock = InstantClock()
        self.clock.elapsed += HOUR_AGO  # the machine has been up for a while
        self.airflow = MemoryAirflow(self.clock)
        self.limit = Limit(8, self.clock)
        self.breaker = Breaker()
        self.woken = 0
        self.guard = Guard(self.airflow, self.limit, self.breaker, self.clock, self._wake)

    def _wake(self):
        self.woken += 1

    async def trigger(self, dag_id="probe", answer=None, takes=timedelta()):
        def let_time_pass():
            self.clock.elapsed += takes
            return True

        if answer is not None:
            self.airflow.answers = [answer]
        assert self.limit.try_acquire()
        try:
            return await self.guard.starting.trigger(dag_id, f"run-{self.airflow.count('trigger')}", {}, let_time_pass)
        finally:
            self.limit.release()

    async def go_down(self):
        """Let so much fail that the breaker opens."""
        self.airflow.down = "no connection"
        for _ in range(FAILURES):
            await self.trigger(answer=Uncertain("no connection"))

    async def until(self, state):
        """Let the watch do its work until the breaker is in a state."""
        for _ in range(200):
            if self.breaker.state is state:
                return
            await asyncio.sleep(0)
        raise AssertionError(f"still {self.breaker.state}")


@pytest.fixture
async def door():
    door = Door()
    watch = asyncio.create_task(door.guard.watch())
    yield door
    watch.cancel()


async def test_what_is_asked_passes_with_a_permit(door):
    door.airflow.dags["probe"] = Dag(max_active_runs=3, paused=False)
    assert isinstance(await door.trigger(), Created)
    reading = door.guard.reading
    assert (await reading.get("probe", "run-0")).run_id == "run-0"
    assert await reading.list_ended(["probe"], door.clock.now() - HOUR_AGO) == []
    assert len((await reading.list_active(["probe"], None)).runs) == 1
    assert await reading.any_task_started("probe", "run-0")
    assert (await reading.dag("probe")).max_active_runs == 3
    await reading.cancel("probe", "run-0")
    assert door.airflow.runs["probe", "run-0"].state.ended
    assert await reading.health() == "memory"
    assert door.limit.in_flight == 0


async def test_a_read_waits_for_a_permit_and_a_trigger_behind_it(door):
    assert door.limit.try_acquire()
    read = asyncio.create_task(door.guard.reading.get("probe", "x"))
    await asyncio.sleep(0)
    assert door.airflow.count("get") == 0
    door.limit.release()
    assert not door.limit.try_acquire()  # it is the reader's turn
    await read
    assert door.limit.try_acquire()


async def test_a_try_that_looks_a_run_up_needs_no_second_permit(door):
    assert door.limit.try_acquire()
    assert await asyncio.wait_for(door.guard.starting.get("probe", "x"), 5) is None


async def test_an_outage_lets_nothing_through_until_airflow_is_well(door):
    await door.go_down()
    await door.until(BreakerState.OPEN)
    asked = len(door.airflow.calls)
    assert not door.breaker.passes
    assert isinstance(await door.guard.starting.trigger("probe", "x", {}), TurnedAway)
    with pytest.raises(AirflowUnavailable, match="Airflow is down"):
        await door.guard.reading.get("probe", "x")
    assert {call[0] for call in door.airflow.calls[asked:]} <= {"health"}
    door.airflow.down = None
    await door.until(BreakerState.HALF_OPEN)
    assert door.woken
    assert door.limit.own.number == 1
    assert isinstance(await door.trigger(), Created)
    assert door.breaker.state is BreakerState.CLOSED


async def test_an_outage_is_logged_once_and_its_end_once(door, caplog):
    caplog.set_level("INFO", "streamapp")
    await door.go_down()
    await door.until(BreakerState.OPEN)
    for _ in range(50):
        await asyncio.sleep(0)
    door.airflow.down = None
    await door.until(BreakerState.HALF_OPEN)
    assert [record.action for record in caplog.records] == ["airflow_down", "airflow_back"]


async def test_since_when_it_is_down_is_told_while_it_is(door):
    assert door.guard.down_since is None
    await door.go_down()
    assert door.guard.down_since is None  # it is only suspected
    await door.until(BreakerState.OPEN)
    found = door.guard.down_since
    assert found is not None
    assert found <= door.clock.now()
    door.clock.elapsed += timedelta(hours=1)
    assert door.guard.down_since == found
    door.airflow.down = None
    await door.until(BreakerState.HALF_OPEN)
    assert door.guard.down_since == found
    await door.trigger(answer=DagMissing("none"))
    assert door.breaker.state is BreakerState.CLOSED
    assert door.guard.down_since is None


async def test_after_an_outage_it_begins_with_one_request(door):
    door.limit.own.gradient._settle(8)
    await door.go_down()
    await door.until(BreakerState.OPEN)
    door.airflow.down = None
    await door.until(BreakerState.HALF_OPEN)
    assert door.limit.own.number == 1


async def test_a_dag_that_always_fails_stops_only_itself(door):
    """It is answered with 500 for ever; Airflow is well."""
    for _ in range(4 * FAILURES):
        await door.until(BreakerState.CLOSED)
        await door.trigger("bad", Uncertain("Airflow answers 500"))
    await door.until(BreakerState.CLOSED)
    assert isinstance(await door.trigger("good"), Created)
    assert door.breaker.opened == 0
    assert door.airflow.count("health") <= 3


@pytest.mark.parametrize("answer", [DagMissing("404"), Refused(Reason.REFUSED_BY_AIRFLOW, "400")])
async def test_a_refusal_is_an_answer(door, answer):
    for _ in range(3 * FAILURES):
        await door.trigger(answer=answer)
    assert door.breaker.state is BreakerState.CLOSED
    assert door.airflow.count("health") == 0


async def test_reads_that_fail_open_it_too(door):
    door.airflow.down = "no connection"
    for _ in range(FAILURES):
        with pytest.raises(AirflowUnavailable):
            await door.guard.reading.list_active(["probe"], None)
    await door.until(BreakerState.OPEN)


async def test_a_failure_of_many_in_flight_lowers_the_limit_and_the_same_again_does_not(door):
    door.limit.own.gradient._settle(8)
    await door.trigger(answer=Uncertain("503"))
    assert door.limit.own.number == 4
    await door.trigger(answer=Uncertain("503"))
    assert door.limit.own.number == 4
    await door.trigger()
    await door.trigger(answer=TurnedAway("429"))
    assert door.limit.own.number == 2


async def fail_slowly(door, dag_id):
    """A start is answered with 500 after some seconds, and then Airflow is asked whether there is a run."""
    await door.until(BreakerState.CLOSED)
    await door.trigger(dag_id, Uncertain("500"), takes=timedelta(seconds=3))
    assert await door.guard.starting.get(dag_id, "none") is None
    await door.guard.reading.list_ended([dag_id], door.clock.now() - HOUR_AGO)


async def test_slow_failures_of_one_dag_lower_the_limit_until_others_are_seen_to_run(door):
    door.limit.own.gradient._settle(8)
    await fail_slowly(door, "bad")
    assert door.limit.own.number == 4
    await door.trigger("good")
    for _ in range(5):
        await fail_slowly(door, "bad")
        await door.trigger("good")
    assert door.limit.own.number == 4


async def test_slow_failures_of_one_dag_that_come_together_do_not_lower_the_limit(door):
    """Its commands wait for the same time after a failure, so their starts are sent together, and fail together."""
    door.limit.own.gradient._settle(8)
    await fail_slowly(door, "bad")
    await door.trigger("good")

    async def start(dag_id, run_id, conf, still_due):
        if together.n_waiting + 1 == together.parties:
            door.clock.elapsed += timedelta(seconds=3)
        await together.wait()
        return Uncertain("500")

    together = asyncio.Barrier(3)
    door.airflow.trigger = start
    await asyncio.gather(*(door.guard.starting.trigger("bad", f"run-{number}", {}) for number in range(3)))
    assert door.limit.own.number == 4


async def test_where_nothing_else_runs_each_slow_failure_lowers_the_limit(door):
    """Looks at Airflow are answered all the same: no write lock is in their way."""
    door.limit.own.gradient._settle(8)
    numbers = []
    for _ in range(3):
        await fail_slowly(door, "probe")
        numbers.append(door.limit.own.number)
    assert numbers == [4, 2, 1]


async def test_that_its_runs_are_looked_up_makes_no_fast_failure_a_new_one(door):
    door.limit.own.gradient._settle(8)
    for _ in range(3):
        await door.trigger("bad", Uncertain("500"))
        assert await door.guard.starting.get("bad", "none") is None
    assert door.limit.own.number == 4


async def test_what_the_worker_itself_withdraws_says_nothing_of_airflow(door):
    """Nothing was sent: as many may be in flight as before, and nobody asks Airflow how it is."""
    door.limit.own.gradient._settle(8)
    for number in range(FAILURES):
        assert await door.guard.starting.trigger(f"dag-{number}", "x", {}, lambda: False) == Withdrawn()
    assert door.limit.own.number == 8
    assert door.breaker.state is BreakerState.CLOSED
    await door.trigger("dag-0", Uncertain("503"))
    assert door.limit.own.number == 4  # nor did it fail before


async def test_what_the_worker_itself_withdraws_does_not_say_that_airflow_answers_again(door):
    await door.go_down()
    await door.until(BreakerState.OPEN)
    door.airflow.down = None
    await door.until(BreakerState.HALF_OPEN)
    assert await door.guard.starting.trigger("probe", "x", {}, lambda: False) == Withdrawn()
    assert door.breaker.state is BreakerState.HALF_OPEN


async def test_only_runs_that_were_created_under_a_full_limit_tell_of_it(door):
    samples = []
    door.limit.own.gradient.sample = lambda seconds, _: samples.append(seconds)
    await door.trigger()
    assert len(samples) == 1
    await door.trigger(answer=DagMissing("404"))
    assert len(samples) == 1
    door.limit.own.gradient._settle(8)
    await door.trigger()
    assert len(samples) == 1


async def test_closing_closes(door):
    await door.guard.reading.close()
    assert door.airflow.calls == [("close",)]
