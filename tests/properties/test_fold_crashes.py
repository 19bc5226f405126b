"""Crashes at any step, acknowledgements in any order: the table follows its changelog, and nothing is lost or doubled.

The model asserts on its way that the database is never ahead of its changelog, that no effect leaves before its fold's
rows are in the changelog, and that each source is acked in the order of its offsets.
"""

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from tests.support.plans import HOUR, crash, drive, moves, numbers, often, plans, world_of
from tests.support.world import COMMANDS


@often(200)
@given(plans(), moves)
def test_crashes_change_neither_verdicts_nor_the_table(plan, choices):
    undisturbed = world_of(plan)
    undisturbed.finish()
    world = world_of(plan)
    drive(world, choices, crashes=True)
    world.finish()
    assert world.violations() == []
    assert world.verdicts() >= undisturbed.verdicts()
    assert {one for one in world.verdicts() - undisturbed.verdicts() if "attempt_failed" not in one} == set()
    assert world.entries() == undisturbed.entries()
    assert world.ledger.databases[0] == world.ledger.rebuilt(0)


@often(200)
@given(plans(deadlines=(None, HOUR, 2 * HOUR, timedelta(seconds=30)), blocks=True), moves)
def test_crashes_and_deadlines_give_at_most_one_ending(plan, choices):
    world = world_of(plan)
    drive(world, choices, crashes=True)
    world.finish()
    assert world.violations(complete=False) == []


@often(200)
@given(plans(), moves, st.lists(numbers, min_size=1, max_size=5))
def test_crash_upon_crash(plan, choices, crashes):
    world = world_of(plan)
    drive(world, choices)
    for number in crashes:
        crash(world, number)
        drive(world, choices[: number % 7])
    world.finish()
    assert world.violations() == []


@often(200)
@given(plans(), moves, st.sampled_from([0, 2]), st.booleans(), numbers)
def test_a_failed_send_stops_everything_and_the_next_worker_mends_it(plan, choices, which, turn_first, number):
    world = world_of(plan)
    drive(world, choices, crashes=True)
    if world.waiting(COMMANDS):
        world.deliver(COMMANDS)
    log = world.logs[which]  # the changelog or the dead letters: only folds send there
    if log.in_flight:
        if turn_first:
            world.worker.turns.turn()
        before = seen_of(world)
        log.refuse(OSError("refused"))
        log.crash()  # the process ends before the producer sends what stands behind it
        assert len(world.worker.failures) == 1
        for other in world.logs:
            other.take_all()
        while len(world.worker.turns):
            world.worker.turns.turn()
        assert seen_of(world) == before
    crash(world, number)
    world.finish()
    assert world.violations() == []


def seen_of(world):
    """What must not move any more once a send has failed."""
    told = world.outlet.results[0]
    outcomes = len(told.records) + len(told.in_flight)
    return world.ledger.databases[0].copy(), dict(world.worker.acked), world.worker.ready.figures, outcomes
