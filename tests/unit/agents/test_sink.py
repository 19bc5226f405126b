from dataclasses import replace
from datetime import timedelta
from types import SimpleNamespace

import pytest

from streamapp.agents import sink
from streamapp.airflow.limit import Limit
from streamapp.airflow.port import DagMissing
from streamapp.core.effects import OfDag, OfKey
from streamapp.core.model import Reason, Status
from streamapp.dispatch.ready import Phase, Ready
from streamapp.dispatch.trigger import Postponed, Trigger
from tests.support.builders import entry, triggered
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


class Scene:
    """A worker with one dispatch in hand, and an Airflow that answers once something else has happened."""

    def __init__(self):
        self.clock = ManualClock()
        self.ready = Ready(self.clock, wake=lambda: None)
        self.entry = entry()
        self.reported, self.asked, self.trouble = [], [], []
        self.partitions = SimpleNamespace(accepting=True, entry=lambda *_: self.entry)
        self.trigger = SimpleNamespace(run=self.run)
        self.limit = Limit(1, self.clock)
        self.guard = SimpleNamespace(breaker=SimpleNamespace(passes=True))
        self.report = self.reported.append
        self.behind = False
        self.answer = None
        self.meanwhile = lambda: None
        self.ready.track(self.entry)

    def caught_up(self):
        return not self.behind

    def may_start(self):
        if self.trouble:
            raise RuntimeError(*self.trouble)

    async def run(self, of, still_due):
        self.meanwhile()
        if still_due():
            self.asked.append(of)
        return self.answer or triggered(of)

    async def start(self):
        await sink.start(self, sink.take(self))

    def taken_away(self):
        self.ready.drop(frozenset({0}))
        self.ready.track(self.entry)  # and it came back

    def given_up(self):
        self.partitions.accepting = False

    def fell_behind(self):
        self.behind = True

    def found_airflow_down(self):
        self.guard.breaker.passes = False

    def has_nothing(self):
        self.ready.drop(frozenset({0}))

    def changed(self):
        self.entry = replace(self.entry, ending=Status.CANCELLED)


@pytest.fixture
def scene():
    return Scene()


async def test_what_was_seen_is_reported_and_not_asked_for_again(scene):
    await scene.start()
    assert (scene.asked, scene.reported) == ([scene.entry], [triggered(scene.entry)])
    assert scene.ready.note(scene.entry.source).phase is Phase.REPORTED


@pytest.mark.parametrize("happens", [Scene.taken_away, Scene.given_up, Scene.fell_behind, Scene.changed])
async def test_a_run_is_not_asked_for_where_that_changed_before_the_request_left(scene, happens):
    """Cancelled, or another worker's: it would run although its command ends without a run, or twice."""
    scene.meanwhile = lambda: happens(scene)
    await scene.start()
    assert scene.asked == []


async def test_a_run_is_not_asked_for_without_a_lease(scene):
    scene.trouble = ["the lease ran out"]
    with pytest.raises(RuntimeError, match="the lease ran out"):
        await scene.start()
    assert scene.asked == []
    assert scene.ready.note(scene.entry.source).phase is Phase.BACKING_OFF


async def test_the_answer_for_a_partition_that_went_and_came_back_is_not_reported(scene):
    """Its new owner may have settled it otherwise."""
    scene.meanwhile = scene.taken_away
    await scene.start()
    assert scene.reported == []
    assert scene.ready.takeable


@pytest.mark.parametrize("now", [None, entry(status=Status.CANCELLED)])
async def test_what_has_ended_meanwhile_is_forgotten(scene, now):
    note = sink.take(scene)
    scene.entry = now
    await sink.start(scene, note)
    assert (scene.asked, scene.ready.note(note.source)) == ([], None)


async def test_what_is_to_end_is_settled_first(scene):
    scene.changed()
    await scene.start()
    assert scene.reported == [triggered(scene.entry)]


async def test_what_is_not_settled_comes_again_after_a_while(scene):
    scene.answer = Postponed(SECOND, "Airflow is busy")
    await scene.start()
    assert (scene.reported, scene.ready.note(scene.entry.source).phase) == ([], Phase.BACKING_OFF)
    scene.clock.advance(SECOND)
    scene.ready.advance()
    assert scene.ready.takeable


@pytest.mark.parametrize("happens", [Scene.given_up, Scene.fell_behind, Scene.found_airflow_down, Scene.has_nothing])
def test_nothing_starts_before_it_may_and_there_is_something(scene, happens):
    assert sink.available(scene)
    happens(scene)
    assert not sink.available(scene)
