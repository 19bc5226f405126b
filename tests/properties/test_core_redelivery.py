"""Folding again what was folded before: the same rows, the same outcome ids, nothing started."""

from hypothesis import given
from hypothesis import strategies as st

from streamapp.core.effects import Bury, Emit, Track
from streamapp.core.model import Status
from tests.support.plans import HOUR, drive, moves, numbers, often, plans, world_of
from tests.support.world import ALL_LOGS


def fold_again(world, starts, order):
    """Fold the logs again from these offsets, in an order that the numbers give; answers all effects."""
    ends = dict(world.worker.positions)
    world.start()
    world.worker.positions, world.worker.acked = dict(starts), dict(starts)
    effects = []
    turns = iter(order)
    while left := [source for source in ALL_LOGS if world.worker.positions[source] < ends[source]]:
        effects += world.deliver(left[next(turns, 0) % len(left)]).effects
        world.ledger.changelogs[0].take_all()
        while len(world.worker.turns):
            world.worker.turns.turn()
    return effects


def ids(effects):
    return {effect.outcome.id for effect in effects if isinstance(effect, Emit)} | {
        f"letter {effect.letter.id}" for effect in effects if isinstance(effect, Bury)
    }


@often(150)
@given(plans(blocks=True), moves, st.lists(numbers, max_size=60), st.data())
def test_any_suffix_of_the_logs_in_any_interleaving_changes_nothing_and_starts_nothing(plan, choices, order, data):
    """Deadlines have passed from the start or never pass: one that came while a run existed meant nothing then, and
    ends the command when it is told again while the next attempt waits."""
    world = world_of(plan)
    drive(world, choices)
    world.settle()
    before = world.ledger.databases[0].copy()
    told = world.verdicts() | {f"letter {letter.id}" for letter in world.outlet.buried()}
    starts = {source: data.draw(st.integers(0, end)) for source, end in world.worker.positions.items()}
    effects = fold_again(world, starts, order)
    assert world.ledger.databases[0] == before
    assert not [effect for effect in effects if isinstance(effect, Track)]
    assert ids(effects) <= told


@often(150)
@given(plans(blocks=True, deadlines=(None, -HOUR, HOUR)), moves, st.lists(numbers, max_size=60))
def test_all_of_the_logs_tell_everything_again(plan, choices, order):
    """But for a failed attempt before a verdict that came to no run: there the verdict is told in its stead."""
    world = world_of(plan)
    drive(world, choices)
    world.settle()
    told = world.verdicts() | {f"letter {letter.id}" for letter in world.outlet.buried()}
    without_run = {
        one.id.replace(one.status, "attempt_failed")
        for one in world.outlet.taken()
        if one.status in {Status.REJECTED, Status.EXPIRED, Status.BLOCKED}
    }
    again = ids(fold_again(world, dict.fromkeys(ALL_LOGS, 0), order))
    assert told - again <= without_run
