"""Whatever comes first of the three logs, of Airflow and of the clock: one ending each, in order, and the same one."""

from datetime import timedelta

from hypothesis import given

from streamapp.core.model import Ordering, Status
from tests.support.plans import HOUR, drive, moves, often, plans, world_of


@often(150)
@given(plans(), moves)
def test_any_interleaving_gives_each_command_one_ending_and_each_key_its_order(plan, choices):
    world = world_of(plan)
    drive(world, choices)
    world.finish()
    assert world.violations() == []
    assert world.worker.failures == []


@often(150)
@given(plans(), moves)
def test_any_interleaving_gives_the_same_verdicts_and_the_same_table(plan, choices):
    undisturbed = world_of(plan)
    undisturbed.finish()
    world = world_of(plan)
    drive(world, choices)
    world.finish()
    assert world.verdicts() == undisturbed.verdicts()
    assert world.entries() == undisturbed.entries()


@often(150)
@given(plans(deadlines=(None, HOUR, 2 * HOUR, timedelta(seconds=30))), moves)
def test_deadlines_that_race_with_runs_still_give_one_ending(plan, choices):
    world = world_of(plan)
    drive(world, choices)
    world.finish()
    assert world.violations() == []


@often(150)
@given(plans(blocks=True), moves)
def test_blocked_commands_hold_their_keys_and_nobody_elses(plan, choices):
    world = world_of(plan)
    drive(world, choices)
    world.finish()
    assert world.violations(complete=False) == []
    ended = {one.source.offset for one in world.outlet.taken() if one.status.terminal}
    blocked = {one.source.offset for one in world.outlet.taken() if one.status is Status.BLOCKED}
    assert not ended & blocked
    for event in world.commands:
        offset = event.source.offset
        ahead = {other.source.offset for other in world.commands if other.key == event.key and other.key is not None}
        assert offset in ended | blocked or any(other < offset for other in ahead & blocked)


@often(150)
@given(plans(orderings=(Ordering.COMPLETED,), duplicates=False), moves)
def test_runs_start_in_the_order_of_their_offsets(plan, choices):
    """Said by the model itself, beside the checker of histories."""
    world = world_of(plan)
    drive(world, choices)
    world.finish()
    for key in (b"a", b"b"):
        runs = [run for run in [*world.runs.values(), *world.gone] if run.entry.key == key]
        offsets = [run.entry.source.offset for run in sorted(runs, key=lambda run: run.start)]
        assert offsets == sorted(offsets)
