from datetime import timedelta
from types import SimpleNamespace

from streamapp.agents import sink
from streamapp.airflow.limit import Limit
from streamapp.dispatch.ready import Ready
from tests.support.builders import entry
from tests.support.manual_clock import ManualClock

SECOND = timedelta(seconds=1)


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
