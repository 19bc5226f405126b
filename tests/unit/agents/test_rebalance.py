import asyncio
from datetime import timedelta
from types import SimpleNamespace

import pytest
from faust.types import TP

from streamapp.agents import rebalance
from streamapp.clock import SystemClock
from streamapp.core.errors import ConfigError, Unsafe
from streamapp.dispatch.sends import Sends


class Partitions:
    """Rows to look at; notes what became of the rebuild."""

    def __init__(self, rows):
        self.left, self.taken_over = rows, None

    def rebuild(self, numbers):
        self.taken_over = numbers
        while self.left:
            self.left -= 1
            yield


class Scene:
    def __init__(self, rows, counts):
        self.told = []
        self.partitions = Partitions(rows)
        self.app = SimpleNamespace(
            commands_topic="commands",
            partition_counts=lambda: counts,
            assigned_commands=lambda: {TP("commands", 1), TP("commands", 2)},
            assigned_sources=lambda: {"commands": {1, 2}, "results": {1, 2}},
        )
        self.parts = SimpleNamespace(
            clock=SystemClock(),
            partitions=self.partitions,
            ready=SimpleNamespace(share=lambda *share: self.told.append(("ready", *share))),
            share=lambda *share: self.told.append(("permits", *share)),
            measure=lambda: self.told.append("measured"),
        )


async def test_what_was_seen_stands_in_the_logs_before_partitions_are_given_up():
    sends = Sends(fail=pytest.fail)
    answer = asyncio.get_running_loop().create_future()
    sends.counted(lambda: answer)()
    giving_up = asyncio.ensure_future(rebalance.end_folds(*giver(sends)))
    for _ in range(10):  # turns, of which it would need one
        await asyncio.sleep(0)
    assert not giving_up.done()
    answer.set_result(None)
    await giving_up


async def test_a_worker_whose_reports_are_not_answered_in_time_does_not_give_its_partitions_to_others():
    sends = Sends(fail=pytest.fail)
    sends.counted(asyncio.get_running_loop().create_future)()
    with pytest.raises(Unsafe, match="1 reports"):
        await rebalance.end_folds(*giver(sends, lease=timedelta(milliseconds=20)))


def giver(sends, lease=timedelta(minutes=1)):
    app = SimpleNamespace(lease=SimpleNamespace(remaining=lease))
    partitions = SimpleNamespace(drain=lambda: None, give_up=lambda: None)
    folds = SimpleNamespace(open=0, failed=None)
    return app, SimpleNamespace(clock=SystemClock(), partitions=partitions, folds=folds, sends=sends)


async def test_heartbeats_and_pages_go_on_while_the_index_is_rebuilt():
    scene = Scene(rows=3, counts={"commands": 8})
    taking = asyncio.ensure_future(rebalance.take_over(scene.app, scene.parts, timedelta(0)))
    seen = []
    while not taking.done():
        await asyncio.sleep(0)
        seen.append(scene.partitions.left)
    assert seen == [2, 1, 0, 0]
    assert scene.partitions.taken_over == {1, 2}
    assert scene.told == [("ready", 2, 8), ("permits", {1, 2}, 8), "measured"]


async def test_topics_that_differ_are_refused_before_anything_is_taken_over():
    scene = Scene(rows=10, counts={"commands": 8, "results": 4})
    with pytest.raises(ConfigError, match="same number of partitions"):
        await rebalance.take_over(scene.app, scene.parts)
    assert scene.partitions.taken_over is None


@pytest.mark.parametrize("counts", [{"commands": 8, "results": None}, {"commands": None}])
async def test_a_topic_that_kafka_tells_nothing_of_for_a_moment_costs_a_restart_and_no_more(counts):
    scene = Scene(rows=10, counts=counts)
    with pytest.raises(Unsafe, match=f"how many partitions {list(counts)[-1]} has"):
        await rebalance.take_over(scene.app, scene.parts)
    assert scene.partitions.taken_over is None


@pytest.mark.parametrize("results", [set(), {1}, {1, 2, 3}])
async def test_commands_are_not_taken_over_without_the_results_that_belong_to_them(results):
    """Whoever gave out the partitions did not know a topic just then."""
    scene = Scene(rows=10, counts={"commands": 8})
    scene.app.assigned_sources = lambda: {"commands": {1, 2}, "results": results}
    with pytest.raises(Unsafe, match="results"):
        await rebalance.take_over(scene.app, scene.parts)
    assert scene.partitions.taken_over is None


async def test_a_worker_that_can_not_rebuild_its_index_leaves():
    """It would hold its partitions and start nothing."""
    scene = Scene(rows=1, counts={"commands": 8, "results": 4})
    left, hooks = [], []
    recovery = SimpleNamespace(signal_recovery_start=SimpleNamespace(is_set=lambda: False), need_recovery=lambda: False)
    scene.app.tables = SimpleNamespace(recovery=recovery)
    scene.app.consumer = SimpleNamespace(given_up=False, stop_flow=lambda: None)
    scene.app.flow_control = SimpleNamespace(suspend=lambda: None)
    scene.app.leave = left.append
    scene.app.on_rebalance_complete = SimpleNamespace(connect=lambda **_: hooks.append)
    rebalance.register(scene.app, scene.parts)
    await hooks[0]()
    assert [type(error) for error in left] == [ConfigError]


async def test_once_a_send_has_failed_nothing_is_waited_for():
    """What is open will never be acknowledged, and others wait for the partitions."""
    app, parts = giver(Sends(fail=pytest.fail))
    parts.folds.open, parts.folds.failed = 1, Unsafe("refused")
    with pytest.raises(Unsafe, match="1 folds are still open"):
        await asyncio.wait_for(rebalance.end_folds(app, parts), 5)


def registered(app, parts):
    """The hook that Faust calls once partitions are given out."""
    hooks = []
    app.on_rebalance_complete = SimpleNamespace(connect=lambda **_: hooks.append)
    rebalance.register(app, parts)
    return hooks[0]


async def test_partitions_are_given_up_once_nothing_new_is_folded_and_all_is_acked():
    """Given up before, an ack would be dropped, and its record folded again by the next owner."""
    app, parts = giver(Sends(fail=pytest.fail))
    told = []

    async def sleep(_):
        told.append("wait")
        parts.folds.open = 0

    parts.clock = SimpleNamespace(monotonic=lambda: 0.0, sleep=sleep)
    parts.folds.open = 1
    parts.partitions.drain, parts.partitions.give_up = (lambda: told.append("drain")), (lambda: told.append("give up"))
    registered(app, parts)
    await app.drain()
    assert told == ["drain", "wait", "give up"]


async def test_no_record_passes_before_the_index_is_rebuilt():
    """It would be folded beside a rebuild that has seen half of the table."""
    scene = Scene(rows=1, counts={"commands": 8})
    stopped = []
    recovery = SimpleNamespace(signal_recovery_start=SimpleNamespace(is_set=lambda: False), need_recovery=lambda: False)
    scene.app.tables = SimpleNamespace(recovery=recovery)
    scene.app.consumer = SimpleNamespace(given_up=False, stop_flow=lambda: stopped.append(scene.partitions.taken_over))
    scene.app.flow_control = SimpleNamespace(suspend=lambda: stopped.append(scene.partitions.taken_over))
    scene.app.leave = pytest.fail
    await registered(scene.app, scene.parts)()
    assert stopped == [None, None]
    assert scene.partitions.taken_over == {1, 2}


async def test_others_have_a_turn_when_the_rebuild_has_lasted_and_not_before():
    """A heartbeat needs several turns, and each turn that nobody needs makes the rebuild longer."""
    scene = Scene(rows=6, counts={"commands": 8})
    times, slept = iter([8.0, 8.125, 8.25, 8.5, 8.625, 8.75, 9.0, 9.125, 9.1875]), []

    async def sleep(pause):
        slept.append(scene.partitions.left)

    scene.parts.clock = SimpleNamespace(monotonic=lambda: next(times), sleep=sleep)
    await rebalance.take_over(scene.app, scene.parts, timedelta(seconds=0.25))
    assert slept == [4, 2]
