import asyncio
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from itertools import pairwise

import pytest

from streamapp.airflow.port import DagRunState
from streamapp.core.model import Entry, Outcome, Policy, Reason, RunState, Source, Status, Timings
from streamapp.dispatch.follow import (
    HINT_PAUSES,
    LOOK_BACK,
    OVERLAP,
    OVERLAP_EVERY,
    SHORT_OVERLAP,
    STOP_AGAIN,
    TASKS_AGAIN,
    Follower,
)
from streamapp.dispatch.reconcile import STEPS, Reconciler
from tests.support.manual_clock import START, ManualClock
from tests.support.memory_airflow import MemoryAirflow

POLL = timedelta(milliseconds=300)
RECONCILE = timedelta(seconds=30)
SECOND = timedelta(seconds=1)


class World:
    """A follower, its Airflow and what it reported."""

    def __init__(self):
        self.clock = ManualClock()
        self.airflow = MemoryAirflow(self.clock)
        self.reported: list[Outcome] = []
        self.waited_for = True
        self.commands: set[str] = set()
        """Ids of runs that may be active although they are not followed."""
        self.begin()

    def begin(self):
        self.follower = self.new_follower()
        self.reconciler = Reconciler(
            self.follower, self.airflow, self.clock, app_id="shop", may_run=lambda mark: mark["id"] in self.commands
        )

    def new_follower(self):
        return Follower(
            self.airflow,
            self.clock,
            report=self.reported.append,
            app_id="shop",
            poll_interval=POLL,
            reconcile_interval=RECONCILE,
            is_waited_for=lambda _: self.waited_for,
        )

    async def tick(self, why="poll"):
        """Look once, and let the errands that follow from it be run."""
        async with self.errands():
            await self.follower.tick(why)

    @asynccontextmanager
    async def errands(self):
        task = asyncio.create_task(self.follower.run_errands())
        yield
        await settle()
        task.cancel()

    async def drive(self, work):
        """Let time pass as the work wants it."""
        async with self.errands():
            task = asyncio.create_task(work)
            while not task.done():
                await asyncio.sleep(0)
                if self.clock.sleeping:
                    self.clock.advance(self.clock.next_wake)
            await task

    async def reconcile(self):
        await self.drive(self.reconciler.walk())

    def triggered(self, offset, *, dag_id="probe", partition=0, **fields):
        """Create a run and follow it."""
        entry = Entry(
            source=Source("commands", partition, offset),
            key=b"k",
            recorded_at=START,
            id=f"c{offset}",
            command=f"app.{dag_id}",
            status=Status.TRIGGERED,
            policy=Policy(dag_id=dag_id),
            params="{}",
            attempt=1,
            at=self.clock.now(),
            timings=Timings(accepted_at=START, triggered_at=self.clock.now()),
            **fields,
        )
        self.airflow.add(dag_id, run_id(offset))
        self.follower.track(entry)
        return entry

    def end(self, offset, state=DagRunState.SUCCESS, dag_id="probe"):
        self.airflow.end(dag_id, run_id(offset), state)

    def since(self):
        """How far back the last list went, from now."""
        return self.clock.now() - [call for call in self.airflow.calls if call[0] == "list_ended"][-1][2]


def run_id(offset):
    return f"cmd__shop__c{offset}__1.1"


async def settle():
    for _ in range(20):
        await asyncio.sleep(0)


@pytest.fixture
def world():
    return World()


# Ends


async def test_an_ended_run_is_reported_with_airflows_times(world):
    entry = world.triggered(1)
    world.clock.advance(SECOND)
    world.airflow.start("probe", run_id(1))
    world.clock.advance(SECOND)
    world.end(1)
    world.clock.advance(SECOND)
    await world.tick()
    assert world.reported == [
        Outcome(
            command_id="c1",
            key=b"k",
            command="app.probe",
            dag_id="probe",
            dag_run_id=run_id(1),
            round=1,
            attempt=1,
            status=Status.RUN_ENDED,
            at=world.clock.now(),
            source=entry.source,
            timings=replace(entry.timings, started_at=START + SECOND, ended_at=START + 2 * SECOND),
            result=RunState.SUCCESS,
        )
    ]


async def test_a_run_that_runs_is_not_reported(world):
    world.triggered(1)
    await world.tick()
    world.airflow.start("probe", run_id(1))
    await world.tick()
    assert world.reported == []


async def test_an_end_is_reported_once(world):
    world.triggered(1)
    world.end(1)
    for _ in range(3):
        await world.tick()
    assert len(world.reported) == 1


async def test_others_runs_are_nobodys_business(world):
    world.triggered(1)
    world.airflow.add("probe", "manual__1")
    world.airflow.end("probe", "manual__1")
    await world.tick()
    assert world.reported == []


@pytest.mark.parametrize(("started", "reason"), [(True, Reason.RUN_FAILED), (False, Reason.RUN_NOT_STARTED)])
async def test_a_failed_run_tells_whether_a_task_had_started(world, started, reason):
    world.triggered(1)
    if not started:
        world.airflow.unstarted.add(run_id(1))
    world.end(1, DagRunState.FAILED)
    await world.tick()
    assert [(outcome.result, outcome.reason) for outcome in world.reported] == [(RunState.FAILED, reason)]


async def test_a_failed_run_whose_tasks_cannot_be_read_keeps_no_other_waiting(world):
    world.airflow.broken.add("any_task_started")
    for offset in (1, 2):
        world.triggered(offset)
    world.end(1, DagRunState.FAILED)
    world.end(2)
    await world.tick()
    assert [outcome.command_id for outcome in world.reported] == ["c2"]


async def test_failed_runs_of_a_slow_dag_keep_no_ends_waiting(world):
    """Their tasks are asked for meanwhile, and nobody answers."""
    world.airflow.any_task_started = lambda *_: asyncio.Event().wait()
    for offset in range(3):
        world.triggered(offset)
        world.end(offset, DagRunState.FAILED)
    await world.tick()
    world.triggered(99, dag_id="other")
    world.end(99, dag_id="other")
    world.clock.advance(POLL)
    async with asyncio.timeout(5):
        await world.tick()
    assert [outcome.command_id for outcome in world.reported] == ["c99"]


async def test_a_stop_that_is_not_answered_keeps_no_ends_waiting(world):
    world.airflow.cancel = lambda *_: asyncio.Event().wait()
    entry = world.triggered(1)
    world.follower.track(replace(entry, ending=Status.CANCELLED))
    world.triggered(2)
    await world.tick()
    world.end(2)
    world.clock.advance(POLL)
    async with asyncio.timeout(5):
        await world.tick()
    assert [outcome.command_id for outcome in world.reported] == ["c2"]


async def test_dags_take_turns_with_errands(world):
    """However many runs of one have failed, another one is next."""
    world.clock.advance(SECOND)
    world.airflow.broken.add("any_task_started")
    for offset, dag_id in enumerate(["many", "many", "many", "other"]):
        world.triggered(offset, dag_id=dag_id)
        world.end(offset, DagRunState.FAILED, dag_id=dag_id)
    await world.tick()
    assert [call[1] for call in world.airflow.calls if call[0] == "any_task_started"][:2] == ["many", "other"]


async def test_a_slow_dag_costs_the_errands_of_others_one_request(world):
    """However many of its runs have failed."""
    world.clock.advance(SECOND)
    asked = []

    async def any_task_started(dag_id, run_id):
        asked.append(dag_id)
        if dag_id == "slow":
            world.clock.advance(30 * SECOND)
        return True

    world.airflow.any_task_started = any_task_started
    for offset, dag_id in enumerate(["slow", "slow", "slow", "other", "other", "other"]):
        world.triggered(offset, dag_id=dag_id)
        world.end(offset, DagRunState.FAILED, dag_id=dag_id)
    await world.tick()
    assert asked == ["slow", "other", "other", "other", "slow", "slow"]


async def test_a_failed_run_does_not_wait_for_its_tasks_for_ever(world):
    world.airflow.broken.add("any_task_started")
    world.triggered(1)
    world.end(1, DagRunState.FAILED)
    await world.tick()
    world.clock.advance(RECONCILE - SECOND)
    await world.tick()
    assert world.reported == []
    world.clock.advance(SECOND)
    await world.tick()
    assert [outcome.reason for outcome in world.reported] == [Reason.RUN_FAILED]


async def test_an_end_that_was_seen_counts_though_the_run_is_cleared_before_the_report(world):
    world.airflow.broken.add("any_task_started")
    world.triggered(1)
    world.end(1, DagRunState.FAILED)
    await world.tick()
    world.airflow.add("probe", run_id(1))  # cleared
    world.airflow.broken.clear()
    world.clock.advance(TASKS_AGAIN)
    await world.tick()
    assert [outcome.result for outcome in world.reported] == [RunState.FAILED]


async def test_a_report_that_fails_ends_the_follower(world):
    def refuse(_):
        raise RuntimeError("no producer")

    follower = Follower(
        world.airflow, world.clock, report=refuse, app_id="shop", poll_interval=POLL, reconcile_interval=RECONCILE
    )
    world.follower = follower
    world.triggered(1)
    world.end(1)
    with pytest.raises(RuntimeError, match="no producer"):
        await follower.run()


# What is asked for


async def test_one_list_serves_all_runs(world):
    for offset in range(50):
        world.triggered(offset, dag_id=f"dag{offset % 3}")
    await world.tick()
    assert [call[:2] for call in world.airflow.calls] == [("list_ended", {"dag0", "dag1", "dag2"})]


async def test_the_first_list_goes_back_to_the_creation(world):
    world.triggered(1)
    world.clock.advance(10 * SECOND)
    await world.tick()
    assert world.since() == 10 * SECOND + OVERLAP


async def test_the_list_follows_the_last_end_seen_and_never_our_clock(world):
    world.triggered(1)
    world.triggered(2)
    world.clock.advance(10 * SECOND)
    world.end(1)
    world.clock.advance(20 * SECOND)
    await world.tick()
    await world.tick()
    assert world.since() == 20 * SECOND + SHORT_OVERLAP  # only now and then the whole
    world.clock.advance(50 * SECOND)
    await world.tick()
    assert world.since() == 70 * SECOND + OVERLAP


async def test_a_run_that_ended_while_it_was_not_known_here_is_found_by_the_next_list(world):
    """Other runs have moved the list on since; the new one's creation pulls it back once."""
    world.triggered(1)
    entry = world.triggered(2)
    world.follower.forget(entry.source)
    world.end(2)
    world.clock.advance(60 * SECOND)
    world.end(1)
    await world.tick()
    world.follower.track(entry)
    await world.tick()
    assert [outcome.command_id for outcome in world.reported] == ["c1", "c2"]


@pytest.mark.parametrize("ahead", [timedelta(minutes=3), timedelta(hours=5)])
async def test_ends_are_found_by_lists_though_our_clock_is_ahead_of_airflows(world, ahead):
    """What is new here is dated by Airflow; how long ago that was, our clock tells, whatever it shows."""
    airflow = ManualClock(world.clock.now() - ahead)
    world.airflow = MemoryAirflow(airflow)
    world.begin()
    for offset in (1, 2):
        entry = world.triggered(offset)
        created = world.airflow.runs["probe", run_id(offset)].created_at
        world.follower.track(replace(entry, timings=replace(entry.timings, triggered_at=created)))
        await world.tick()
        world.clock.advance(10 * SECOND)
        airflow.advance(10 * SECOND)
    for offset in (1, 2):
        world.end(offset)
        await world.tick()
        assert [outcome.command_id for outcome in world.reported][offset - 1 :] == [f"c{offset}"]
    assert not world.follower.has_unknown.is_set()


async def test_an_end_that_is_dated_ahead_keeps_no_others_from_being_found(world):
    """Two schedulers, and the clock of one of them is wrong."""
    world.triggered(1)
    world.triggered(2)
    world.clock.advance(10 * SECOND)
    world.end(1)
    ahead = world.airflow.runs["probe", run_id(1)]
    world.airflow.runs["probe", run_id(1)] = replace(ahead, ended_at=world.clock.now() + timedelta(minutes=1))
    await world.tick()
    world.clock.advance(SECOND)
    world.end(2)
    await world.tick()
    assert [outcome.command_id for outcome in world.reported] == ["c1", "c2"]


async def test_an_end_that_is_committed_late_is_found(world):
    world.triggered(1)
    world.triggered(2)
    world.clock.advance(20 * SECOND)
    dated = world.clock.now()
    world.clock.advance(OVERLAP - OVERLAP_EVERY)
    world.end(1)
    await world.tick()
    world.clock.advance(OVERLAP_EVERY)
    world.end(2)
    late = world.airflow.runs["probe", run_id(2)]
    world.airflow.runs["probe", run_id(2)] = replace(late, ended_at=dated)
    await world.tick()
    assert [outcome.command_id for outcome in world.reported] == ["c1", "c2"]


async def test_with_nothing_open_nothing_is_asked(world):
    entry = world.triggered(1)
    world.end(1)
    await world.tick()
    asked = len(world.airflow.calls)
    await world.tick()
    world.follower.forget(entry.source)
    await world.tick()
    await world.reconcile()
    assert len(world.airflow.calls) == asked


async def test_after_a_rest_the_list_begins_with_the_new_run(world):
    entry = world.triggered(1)
    world.end(1)
    await world.tick()
    world.follower.forget(entry.source)
    world.clock.advance(timedelta(hours=5))
    world.triggered(2)
    await world.tick()
    assert world.since() == OVERLAP


async def test_after_a_takeover_old_runs_are_looked_up_and_not_listed(world):
    for offset in (1, 2):
        world.triggered(offset)
    world.end(1)
    world.clock.advance(timedelta(hours=5))
    looking = asyncio.create_task(world.reconciler.look_up_unknown())
    await world.tick()
    assert world.since() == LOOK_BACK
    while not world.reported:
        await asyncio.sleep(0)
        if world.clock.sleeping:
            world.clock.advance(world.clock.next_wake)
    assert [outcome.command_id for outcome in world.reported] == ["c1"]
    assert [call[2] for call in world.airflow.calls if call[0] == "get"] == [run_id(1)]  # the other one is active
    world.end(2)
    await world.tick()
    assert [outcome.command_id for outcome in world.reported] == ["c1", "c2"]
    assert world.airflow.count("list_active") == 1
    looking.cancel()


async def test_old_runs_are_looked_up_until_airflow_answers(world):
    world.triggered(1)
    world.end(1)
    world.clock.advance(timedelta(hours=5))
    world.airflow.broken.add("get")
    looking = asyncio.create_task(world.reconciler.look_up_unknown())
    await world.tick()
    while not world.reported:
        await asyncio.sleep(0)
        if world.clock.sleeping:
            world.clock.advance(world.clock.next_wake)
        if world.airflow.count("get") == 3:
            world.airflow.broken.clear()
    assert world.airflow.count("get") == 4
    looking.cancel()


async def test_old_runs_that_can_not_be_looked_up_are_asked_for_with_pauses(world):
    """An Airflow that is away would be asked as fast as a walk goes; after each there is a pause, of a second here."""
    world.triggered(1)
    world.end(1)
    world.clock.advance(timedelta(hours=5))
    world.airflow.broken.update(("list_active", "get"))
    looking = asyncio.create_task(world.reconciler.look_up_unknown())
    await world.tick()
    pauses = []
    while len(pauses) < 6:
        await settle()
        pauses.append(world.clock.next_wake)
        world.clock.advance(world.clock.next_wake)
    step = RECONCILE / STEPS
    assert pauses == [step, step, 5 * step] * 2
    looking.cancel()


# Reconciliation


async def test_a_deleted_run_is_reported_after_two_reconciliations(world):
    world.triggered(1)
    world.airflow.delete("probe", run_id(1))
    await world.reconcile()
    assert (world.reported, world.follower.missing) == ([], 1)
    world.clock.advance(RECONCILE)
    await world.reconcile()
    assert [(outcome.result, outcome.reason) for outcome in world.reported] == [(RunState.DELETED, Reason.RUN_DELETED)]
    await world.reconcile()
    assert len(world.reported) == 1


async def test_a_run_that_was_missed_once_and_shows_again_lives(world):
    world.triggered(1)
    run = world.airflow.runs.pop(("probe", run_id(1)))
    await world.reconcile()
    for there in (True, False):
        world.clock.advance(RECONCILE)
        world.airflow.runs.pop(("probe", run_id(1)), None)
        if there:
            world.airflow.runs["probe", run_id(1)] = run
        await world.reconcile()
    assert world.reported == []


async def test_two_looks_in_a_row_do_not_make_a_run_a_deleted_one(world):
    """Right after a takeover, say: one to find it, one because the interval is over."""
    world.triggered(1)
    world.airflow.delete("probe", run_id(1))
    for _ in range(5):
        await world.reconcile()
    assert (world.reported, world.follower.missing) == ([], 1)


async def test_an_end_that_no_list_showed_is_found(world):
    world.triggered(1)
    world.triggered(2)
    await world.tick()
    world.clock.advance(60 * SECOND)
    world.end(1)
    missed = world.airflow.runs["probe", run_id(1)]
    world.airflow.runs["probe", run_id(1)] = replace(missed, ended_at=START - timedelta(hours=1))  # clocks apart
    await world.tick()
    assert world.reported == []
    await world.reconcile()
    assert [outcome.result for outcome in world.reported] == [RunState.SUCCESS]


async def test_a_run_that_cannot_be_read_keeps_no_other_waiting(world):
    """The first of them fails again and again; the others are looked up all the same."""

    class Partly(MemoryAirflow):
        async def get(self, dag_id, id_):
            if id_ in {run_id(0), run_id(1), run_id(2)}:
                self.broken.add("get")
            try:
                return await super().get(dag_id, id_)
            finally:
                self.broken.discard("get")

    world.airflow = Partly(world.clock)
    world.begin()
    for offset in range(4):
        world.triggered(offset)
        world.airflow.delete("probe", run_id(offset))
    for _ in range(3):
        await world.reconcile()
        world.clock.advance(RECONCILE)
    assert [outcome.command_id for outcome in world.reported] == ["c3"]


async def test_ends_are_found_although_airflow_cannot_list_runs(world):
    """One run with a defect, whosever it is, has each list answered with 500 that it is in, and no run is like it."""
    world.airflow.broken |= {"list_ended", "list_active"}
    for offset in range(3):
        world.triggered(offset)
    world.end(0)
    world.airflow.delete("probe", run_id(1))
    for _ in range(2):
        await world.tick()
        await world.reconcile()
        world.clock.advance(RECONCILE)
    told = {(outcome.command_id, outcome.result) for outcome in world.reported}
    assert told == {("c0", RunState.SUCCESS), ("c1", RunState.DELETED)}


async def test_active_runs_are_read_page_by_page_however_many_were_made_at_once(world):
    world.airflow.page = 3
    for offset in range(5):
        world.triggered(offset)
    for offset in range(5, 13):
        world.clock.advance(SECOND)
        world.triggered(offset)
    await world.reconcile()
    pages = [call[2] for call in world.airflow.calls if call[0] == "list_active"]
    assert pages == sorted(set(pages))
    # Two of those that were made in the same moment stood on no page; they are asked for one by one.
    assert [call[2] for call in world.airflow.calls if call[0] == "get"] == [run_id(3), run_id(4)]
    assert world.follower.missing == 0


@pytest.mark.parametrize("looks", [1, 2])
async def test_a_run_of_ours_that_no_command_waits_for_is_named_once_it_is_seen_twice(world, caplog, looks):
    world.triggered(1)
    for offset in (2, 3):
        world.airflow.add("probe", run_id(offset), {"_command": {"id": f"c{offset}"}})
    world.airflow.add("probe", "cmd__shop2__c4__1.1", {"_command": {"id": "c4"}})
    world.airflow.add("probe", "manual__1")
    world.commands.add("c3")
    for _ in range(looks):
        await world.reconcile()
    assert world.reconciler.strays == ({("probe", run_id(2))} if looks == 2 else set())
    assert [record.dag_run_id for record in caplog.records] == ([run_id(2)] if looks == 2 else [])
    world.end(2)
    await world.reconcile()
    assert not world.reconciler.strays


async def test_a_comparison_that_fails_says_nothing_of_runs_that_no_command_waits_for(world, caplog):
    world.triggered(1)
    world.airflow.add("probe", run_id(2), {"_command": {"id": "c2"}})
    for broken in ((), (), ("list_active",), (), ()):
        world.airflow.broken = set(broken)
        await world.reconcile()
    assert world.reconciler.strays == {("probe", run_id(2))}
    assert [record.action for record in caplog.records if hasattr(record, "dag_run_id")] == ["run_unfollowed"]


async def test_a_look_at_runs_that_are_not_known_here_takes_no_part_in_naming_others(world):
    """It may come a moment before the comparison: what both see is seen once, as an end may be on its way."""
    world.triggered(1)
    world.airflow.add("probe", run_id(2), {"_command": {"id": "c2"}})
    world.clock.advance(timedelta(hours=5))
    looking = asyncio.create_task(world.reconciler.look_up_unknown())
    await world.tick()
    while not world.airflow.count("list_active"):
        await asyncio.sleep(0)
        if world.clock.sleeping:
            world.clock.advance(world.clock.next_wake)
    await world.reconcile()
    assert not world.reconciler.strays
    await world.reconcile()
    assert world.reconciler.strays == {("probe", run_id(2))}
    looking.cancel()


async def test_five_thousand_runs_cost_a_few_requests_a_second(world):
    """For hours nothing ends; then the cost is that of what ends."""
    for offset in range(5000):
        world.triggered(offset)
        world.clock.advance(timedelta(milliseconds=1))
    seconds, tasks = 600, [asyncio.create_task(work) for work in (world.follower.run(), world.reconciler.run())]
    world.clock.advance(timedelta(hours=1))
    for run in world.follower.open:
        run.listed = True  # as if it had been followed for that hour
    await settle()
    world.airflow.calls.clear()
    busiest, before = 0, 0
    for _ in range(seconds):
        for _ in range(5):
            world.clock.advance(timedelta(milliseconds=200))
            await settle()
        busiest, before = max(busiest, len(world.airflow.calls) - before), len(world.airflow.calls)
    assert world.airflow.count("get") == 0
    assert busiest <= 7
    assert len(world.airflow.calls) / seconds <= 2.5
    for task in tasks:
        task.cancel()


async def test_an_outcome_that_led_to_nothing_is_reported_again(world):
    entry = world.triggered(1)
    world.end(1)
    await world.tick()
    world.clock.advance(RECONCILE - SECOND)
    await world.reconcile()
    assert len(world.reported) == 1
    world.clock.advance(SECOND)
    await world.reconcile()
    assert len(world.reported) == 2
    assert world.reported[0].id == world.reported[1].id
    world.follower.forget(entry.source)
    world.clock.advance(RECONCILE)
    await world.reconcile()
    assert len(world.reported) == 2


# What is told


@pytest.mark.parametrize("status", [Status.SUCCEEDED, Status.ATTEMPT_FAILED, Status.BLOCKED, Status.ACCEPTED])
async def test_an_entry_without_a_run_is_forgotten(world, status):
    entry = world.triggered(1)
    assert world.follower.following == {"probe": 1}
    world.follower.track(replace(entry, status=status))
    assert not world.follower.following


async def test_the_next_attempts_run_takes_the_place_of_the_last(world):
    entry = world.triggered(1)
    world.end(1, DagRunState.FAILED)
    await world.tick()
    again = replace(entry, attempt=2, timings=Timings(triggered_at=world.clock.now()))
    world.airflow.add("probe", "cmd__shop__c1__1.2")
    world.follower.track(again)
    world.airflow.end("probe", "cmd__shop__c1__1.2")
    await world.tick()
    assert [(outcome.attempt, outcome.result) for outcome in world.reported] == [
        (1, RunState.FAILED),
        (2, RunState.SUCCESS),
    ]


async def test_told_twice_of_a_run_it_is_followed_once(world):
    entry = world.triggered(1)
    world.end(1)
    await world.tick()
    world.follower.track(entry)
    await world.tick()
    assert len(world.reported) == 1


async def test_runs_of_lost_partitions_are_dropped(world):
    for partition in range(3):
        world.triggered(partition, partition=partition)
        world.end(partition)
    world.follower.drop(frozenset({0, 2}))
    await world.tick()
    assert [outcome.command_id for outcome in world.reported] == ["c1"]


async def test_a_run_that_is_dropped_while_airflow_is_asked_is_not_reported(world):
    world.triggered(1)
    world.end(1, DagRunState.FAILED)
    asked = world.airflow.any_task_started

    async def drop_and_answer(dag_id, id_):
        world.follower.drop({0})
        return await asked(dag_id, id_)

    world.airflow.any_task_started = drop_and_answer
    await world.tick()
    assert world.reported == []


# Stopping


async def test_a_run_whose_command_has_a_verdict_is_stopped_and_its_end_reported(world):
    entry = world.triggered(1)
    await world.tick()
    assert world.airflow.count("cancel") == 0
    world.follower.track(replace(entry, ending=Status.CANCELLED))
    await world.tick()
    await world.tick()
    assert world.airflow.count("cancel") == 1
    assert [outcome.result for outcome in world.reported] == [RunState.FAILED]


async def test_a_stop_that_failed_is_tried_again_after_a_while(world):
    world.triggered(1, ending=Status.CANCELLED)
    world.airflow.broken.add("cancel")
    await world.tick()
    await world.tick()
    assert world.airflow.count("cancel") == 1
    world.airflow.broken.clear()
    world.clock.advance(STOP_AGAIN)
    await world.tick()
    await world.tick()
    assert [outcome.result for outcome in world.reported] == [RunState.FAILED]


async def test_a_run_that_cannot_be_stopped_is_told_of_once(world, caplog):
    """Airflow's user may not edit runs, say: it is tried every two seconds, for as long as the run takes."""
    world.triggered(1, ending=Status.CANCELLED)
    world.airflow.broken.add("cancel")
    for _ in range(3):
        await world.tick()
        world.clock.advance(STOP_AGAIN)
    assert world.airflow.count("cancel") == 3
    assert [record.action for record in caplog.records if record.levelname == "WARNING"] == ["run_not_stopped"]


async def test_a_stopped_run_that_somebody_clears_is_stopped_again(world):
    world.triggered(1, ending=Status.CANCELLED)
    await world.tick()
    world.airflow.add("probe", run_id(1))
    await world.tick()
    assert world.airflow.count("cancel") == 1
    world.clock.advance(RECONCILE)
    await world.tick()
    assert world.airflow.count("cancel") == 2


# Hints


@pytest.fixture
async def hints(world):
    task = asyncio.create_task(world.follower.watch_hints())
    await settle()
    yield
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def pass_time(world, milliseconds):
    for _ in range(milliseconds):
        world.clock.advance(timedelta(milliseconds=1))
        await settle()


async def test_a_hint_leads_to_a_look_at_once(world, hints):
    world.triggered(1)
    world.end(1)
    world.follower.hint("probe", run_id(1))
    await pass_time(world, 15)
    assert [outcome.result for outcome in world.reported] == [RunState.SUCCESS]
    assert world.airflow.count("list_ended") == 1


async def test_an_end_that_is_committed_after_its_hint_is_found_shortly_after(world, hints):
    world.triggered(1)
    world.follower.hint("probe", run_id(1))
    await pass_time(world, 200)
    assert world.reported == []
    world.end(1)
    await pass_time(world, 200)
    assert [outcome.result for outcome in world.reported] == [RunState.SUCCESS]


async def test_a_false_hint_costs_a_few_requests_and_decides_nothing(world, hints):
    world.triggered(1)
    for _ in range(50):
        world.follower.hint("probe", run_id(1))
    await pass_time(world, 5000)
    assert world.airflow.count("list_ended") == len(HINT_PAUSES)
    assert world.reported == []


async def test_hints_of_others_runs_and_of_ends_that_are_known_cost_nothing(world, hints):
    world.triggered(1)
    world.end(1)
    await world.tick()
    asked = len(world.airflow.calls)
    for name in ("manual__1", run_id(1), run_id(2)):
        world.follower.hint("probe", name)
    await pass_time(world, 100)
    assert len(world.airflow.calls) == asked
    assert world.follower.hints == {"of others": 3}


async def test_one_look_serves_many_hints(world, hints):
    for offset in range(20):
        world.triggered(offset)
        world.end(offset)
        world.follower.hint("probe", run_id(offset))
    await pass_time(world, 15)
    assert len(world.reported) == 20
    assert world.airflow.count("list_ended") == 1


async def test_hints_outlive_an_outage(world, hints):
    world.triggered(1)
    world.airflow.down = "no connection"
    world.follower.hint("probe", run_id(1))
    await pass_time(world, 2000)
    world.airflow.down = None
    world.end(1)
    world.follower.hint("probe", run_id(1))
    await pass_time(world, 50)
    assert len(world.reported) == 1


# Outages


async def test_an_outage_is_logged_once_and_outlived(world, caplog):
    caplog.set_level("INFO", "streamapp")
    world.triggered(1)
    world.airflow.down = "no connection"
    for _ in range(3):
        await world.tick()
        await world.reconcile()
    world.end(1)
    world.clock.advance(timedelta(minutes=1))
    world.airflow.down = None
    await world.tick()
    assert [outcome.result for outcome in world.reported] == [RunState.SUCCESS]
    assert [record.action for record in caplog.records] == ["follow_outage", "run_ended", "follow_outage_over"]


# The loop


@pytest.fixture
async def loop(world):
    task = asyncio.create_task(world.follower.run())
    await settle()
    yield task
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_an_idle_follower_wakes_nobody(world, loop):
    assert world.clock.sleeping == 0
    world.clock.advance(timedelta(hours=1))
    await settle()
    assert world.airflow.calls == []


async def test_a_new_run_is_looked_at_at_once_and_then_less_and_less_often(world, loop):
    entry = world.triggered(1)
    await settle()
    looks = []
    for number in range(200):
        if world.airflow.count("list_ended") > len(looks):
            looks.append(number * POLL)
        world.clock.advance(POLL)
        await settle()
    pauses = [two - one for one, two in pairwise(looks)]
    assert pauses[0] == POLL
    assert pauses == sorted(pauses)
    assert timedelta(seconds=2) <= pauses[-1] < timedelta(seconds=2) + POLL
    world.end(1)
    world.clock.advance(pauses[-1])
    await settle()
    assert len(world.reported) == 1
    world.follower.forget(entry.source)
    world.clock.advance(POLL)
    await settle()
    assert world.clock.sleeping == 0


async def test_a_run_that_nothing_waits_for_is_looked_at_rarely_until_something_does(world, loop):
    world.waited_for = False
    world.triggered(1)
    for _ in range(1000):
        world.clock.advance(POLL)
        await settle()
    asked = world.airflow.count("list_ended")
    for _ in range(34):  # 10.2 s
        world.clock.advance(POLL)
        await settle()
    assert world.airflow.count("list_ended") == asked + 1
    world.waited_for = True
    for _ in range(7):  # 2.1 s
        world.clock.advance(POLL)
        await settle()
    assert world.airflow.count("list_ended") == asked + 2


async def test_a_run_that_is_looked_at_rarely_is_stopped_soon_once_its_command_is_cancelled(world, loop):
    """Whoever cancels it would watch it work on until the next look."""
    world.waited_for = False
    entry = world.triggered(1)
    async with world.errands():
        for _ in range(1000):
            world.clock.advance(POLL)
            await settle()
        looks = world.airflow.count("list_ended")
        world.clock.advance(POLL)
        await settle()
        assert world.airflow.count("list_ended") == looks
        world.follower.track(replace(entry, ending=Status.CANCELLED))
        for _ in range(2):
            world.clock.advance(POLL)
            await settle()
        assert world.airflow.count("cancel") == 1


async def test_where_ends_are_foretold_there_are_few_looks_until_one_was_not(world, loop, hints):
    async def polls_of_a_run(offset, *, hinted):
        """Of 6 s."""
        asked, entry = world.follower.asked["poll"], world.triggered(offset)
        await pass_time(world, 6000)
        world.end(offset)
        if hinted:
            world.follower.hint("probe", run_id(offset))
        await pass_time(world, 3000)
        assert world.reported[-1].source == entry.source
        world.follower.forget(entry.source)
        return world.follower.asked["poll"] - asked

    await polls_of_a_run(1, hinted=False)
    unknown, foretold, lost, after = [await polls_of_a_run(n, hinted=n != 4) for n in (2, 3, 4, 5)]
    assert foretold <= unknown - 2
    assert lost >= foretold
    assert after == unknown


async def test_a_slow_airflow_is_asked_less_often(world, loop):
    world.triggered(1)
    await settle()
    listed = world.airflow.list_ended

    async def slowly(dags, since):
        await world.clock.sleep(SECOND)
        return await listed(dags, since)

    world.airflow.list_ended = slowly
    asked = []
    for _ in range(200):
        world.clock.advance(POLL)
        await settle()
        asked.append(world.airflow.count("list_ended"))
    assert 8 <= asked[-1] - asked[99] <= 12  # one second in three, once it is sure


async def test_the_loop_outlives_an_outage(world, loop):
    world.triggered(1)
    world.airflow.down = "no connection"
    await settle()
    world.clock.advance(POLL)
    await settle()
    world.end(1)
    world.airflow.down = None
    world.clock.advance(POLL)
    await settle()
    assert len(world.reported) == 1
