from datetime import timedelta
from types import SimpleNamespace

import pytest

from streamapp.agents import sink
from streamapp.airflow.limit import Limit
from streamapp.airflow.port import DagMissing
from streamapp.core.effects import OfDag, OfKey
from streamapp.core.model import Reason
from streamapp.dispatch.ready import Ready
from streamapp.dispatch.trigger import Trigger
from tests.support.builders import entry
from tests.support.manual_clock import ManualClock
from tests.support.memory_airflow import MemoryAirflow

SECOND = timedelta(seconds=1)
GRACE = timedelta(seconds=60)


async def test_a_deadline_that_passes_while_a_command_is_handed_out_breaks_nothing():
    clock = ManualClock()
    ready = Ready(clock, wake=lambda: None)
    ready.track(entry(deadline=clock.now() + SECOND))
    parts = SimpleNamespace(
        ready=ready,
        limit=Limit(1, clock),
        partitions=SimpleNamespace(accepting=True),
        caught_up=lambda: True,
        guard=SimpleNamespace(breaker=SimpleNamespace(passes=True)),
    )
    assert sink.available(parts)
    clock.advance(SECOND)
    await sink.start(parts, sink.take(parts))
    assert [note.source.offset for note in ready.advance()] == [0], "its deadline is told as any other"


@pytest.mark.parametrize("scope", [OfDag("probe"), OfKey(b"k"), OfDag("")])
async def test_the_grace_of_a_missing_dag_does_not_run_out_while_an_operator_has_it_stopped(scope):
    """Stopped for a deploy, say, and let go on when Airflow has not read the new DAG yet."""
    clock, command = ManualClock(), entry()
    airflow, ready = MemoryAirflow(clock), Ready(clock, wake=lambda: None)
    airflow.answers = [DagMissing("not found")] * 9
    trigger = Trigger(airflow, clock, app_id="shop", dag_missing_grace=GRACE, lease=SECOND, request_timeout=SECOND)
    seen = []
    parts = SimpleNamespace(
        ready=ready,
        trigger=trigger,
        partitions=SimpleNamespace(accepting=True, entry=lambda *_: command),
        caught_up=lambda: True,
        may_start=lambda: None,
        report=seen.append,
    )

    async def try_again():
        clock.advance(GRACE)
        ready.advance()
        await sink.start(parts, ready.take())

    ready.track(command)
    await sink.start(parts, ready.take())
    ready.steer(0, scope, stopped=True)
    clock.advance(GRACE)
    ready.advance()
    assert not ready.takeable
    ready.steer(0, scope, stopped=False)
    await try_again()
    assert seen == []
    await try_again()
    assert [outcome.reason for outcome in seen] == [Reason.DAG_NOT_FOUND], "from then on it does"
