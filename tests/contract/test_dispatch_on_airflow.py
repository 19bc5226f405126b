"""One try and the follower, against the fake and a real Airflow: from an entry to the outcome of its run."""

import asyncio
import secrets
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from streamapp.airflow.connect import connect
from streamapp.airflow.port import DagMissing
from streamapp.clock import SystemClock
from streamapp.core.model import Entry, Policy, Reason, RunState, Source, Status, Timings
from streamapp.dispatch.follow import Follower
from streamapp.dispatch.reconcile import Reconciler
from streamapp.dispatch.trigger import Trigger
from tests.support.waiting import until


class Desk:
    """One worker's dealings with Airflow, without Kafka."""

    def __init__(self, server):
        clock = SystemClock()
        self.airflow = connect(server.settings(), clock)
        app_id = self.app_id = f"desk-{secrets.token_hex(4)}"
        self.trigger = Trigger(
            self.airflow,
            clock,
            app_id=app_id,
            dag_missing_grace=timedelta(seconds=90),
            lease=timedelta(seconds=10),
            request_timeout=timedelta(seconds=30),
        )
        self.reported = {}
        self.follower = Follower(
            self.airflow,
            clock,
            report=lambda outcome: self.reported.setdefault(outcome.command_id, []).append(outcome),
            app_id=app_id,
            poll_interval=timedelta(milliseconds=200),
            reconcile_interval=timedelta(seconds=1),
        )

    def work(self):
        """What a worker does for ever."""
        reconciler = Reconciler(self.follower, self.airflow, SystemClock(), app_id=self.app_id)
        return self.follower.run(), self.follower.run_errands(), reconciler.run(), reconciler.look_up_unknown()

    async def start(self, entry):
        """Trigger an entry and follow its run, as the fold of its outcome would have it."""
        triggered = await self.trigger.run(entry)
        assert triggered.status is Status.TRIGGERED, triggered
        running = replace(
            entry, status=Status.TRIGGERED, attempt=1, run_id=triggered.dag_run_id, timings=triggered.timings
        )
        self.follower.track(running)
        return running

    async def result(self, entry):
        [outcome, *_] = await until(lambda: self.reported.get(entry.id), within_seconds=90)
        return outcome


@pytest.fixture
async def desk(server):
    desk = Desk(server)
    for dag_id in ("probe", "parked"):
        await until(lambda dag_id=dag_id: known(desk.airflow, dag_id), within_seconds=90)
    tasks = [asyncio.create_task(work) for work in desk.work()]
    yield desk
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await desk.airflow.close()


async def known(airflow, dag_id):
    return not isinstance(await airflow.trigger(dag_id, "known", {"seconds": 0}), DagMissing)


def entry(offset, params="{}", dag_id="probe"):
    now = datetime.now(UTC)
    return Entry(
        source=Source("commands", 0, offset),
        key=b"k",
        recorded_at=now,
        id=f"c {offset}",
        command=f"app.{dag_id}",
        status=Status.ACCEPTED,
        policy=Policy(dag_id=dag_id),
        params=params,
        at=now,
        timings=Timings(accepted_at=now),
    )


async def test_runs_end_as_their_tasks_did(desk):
    good, bad = entry(1, '{"seconds": 0.2}'), entry(2, '{"seconds": 0, "fail": true}')
    for one in (good, bad):
        await desk.start(one)
    outcome = await desk.result(good)
    assert (outcome.result, outcome.reason) == (RunState.SUCCESS, None)
    times = outcome.timings
    assert times.triggered_at <= times.started_at <= times.ended_at
    outcome = await desk.result(bad)
    assert (outcome.result, outcome.reason) == (RunState.FAILED, Reason.RUN_FAILED)


async def test_a_run_is_adopted_and_never_created_twice(desk):
    one = entry(1, '{"nested": {"ключ": [1, 2.5, null]}}', dag_id="parked")
    first = await desk.trigger.run(one)
    again = await desk.trigger.run(one)
    assert again == replace(first, at=again.at)
    elsewhere = await desk.trigger.run(replace(one, source=Source("commands", 1, 7)))
    assert (elsewhere.result, elsewhere.duplicate_of) == (RunState.DUPLICATE, "commands-0-1")
    stranger = await desk.trigger.run(replace(one, params="{}"))
    assert (stranger.result, stranger.reason) == (RunState.NOT_CREATED, Reason.RUN_ID_CONFLICT)


async def test_a_run_that_is_stopped_before_a_task_started_is_told_apart(desk):
    one = await desk.start(entry(1, dag_id="parked"))
    desk.follower.track(replace(one, ending=Status.CANCELLED))
    outcome = await desk.result(one)
    assert (outcome.result, outcome.reason) == (RunState.FAILED, Reason.RUN_NOT_STARTED)


async def test_a_run_that_is_deleted_is_noticed(desk, server, operator):
    one = await desk.start(entry(1, dag_id="parked"))
    path = f"{server.api}/dags/parked/dagRuns/{one.run_id}"
    (await operator.delete(path)).raise_for_status()
    outcome = await desk.result(one)
    assert (outcome.result, outcome.reason) == (RunState.DELETED, Reason.RUN_DELETED)


async def test_a_run_that_ended_before_anybody_followed_it_is_found(desk):
    one = entry(1, '{"seconds": 0}')
    triggered = await desk.trigger.run(one)

    async def has_ended():
        run = await desk.airflow.get("probe", triggered.dag_run_id)
        return run.state.ended

    await until(has_ended, within_seconds=90)
    await desk.start(one)  # another worker takes over: it adopts the run
    assert (await desk.result(one)).result is RunState.SUCCESS
