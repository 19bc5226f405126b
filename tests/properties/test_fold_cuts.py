"""A crash that keeps only some of a fold's rows, at every cut of every fold: redelivery mends it."""

from itertools import count

import pytest
from hypothesis import given

from streamapp.core.effects import Emit, Track
from streamapp.core.model import Action, Ordering
from tests.support.builders import AT, instructed, observed, policy, received, refused, rejection, run_ended, triggered
from tests.support.memory import Table, outcomes
from tests.support.plans import drive, moves, often, plans, world_of
from tests.support.world import ALL_LOGS

triggers = policy(ordering=Ordering.TRIGGERED)


def seen(make, offset, **fields):
    return lambda table: observed(make(table.entry(offset), **fields))


HISTORIES = {
    "accepted": [received(0), received(1)],
    "ended": [received(0), received(1), seen(triggered, 0), seen(run_ended, 0), seen(triggered, 1)],
    "released at its trigger": [received(0, policy=triggers), received(1), seen(triggered, 0), seen(run_ended, 0)],
    "refused": [received(0), received(1), seen(refused, 0), received(2, id="c0")],
    "rejected": [received(0, content=rejection()), received(1, id="c0"), received(2, id="c0")],
    "duplicate": [received(0), received(1, id="c0"), seen(triggered, 0), seen(run_ended, 0)],
    "expired": [
        received(0, deadline=AT),
        received(1),
        instructed(Action.EXPIRE, command_id="c0"),
        seen(refused, 0),
        seen(triggered, 1),
    ],
}


def fold_up_to(history, end, cut=None):
    """The table after some events, the last of them cut short; and the events."""
    table, events = Table(), []
    for number, event in enumerate(history[: end + 1]):
        events.append(event(table) if callable(event) else event)
        table.fold(events[-1], keep=cut if number == end else None)
    return table, events


@pytest.mark.parametrize("name", HISTORIES)
def test_every_cut_of_every_fold_is_mended_by_redelivery(name):
    history = HISTORIES[name]
    for end in range(len(history)):
        whole, events = fold_up_to(history, end)
        expected = whole.rows()
        for cut in count():
            table, events = fold_up_to(history, end, cut)
            if table.rows() == expected and cut > 2:
                break
            for first in range(end + 1):
                following = Table(fold_up_to(history, end, cut)[0].ledger)
                told = [one.id for event in events[first:] for one in outcomes(following.fold(event))]
                assert following.rows() == expected, (name, end, cut, first)
                assert {one.id for one in outcomes(fold_up_to(history, end - 1)[0].fold(events[-1]))} <= set(told)


@often(100)
@given(plans(), moves)
def test_a_worker_that_dies_after_every_single_record_gets_there_all_the_same(plan, choices):
    """Each worker lives until one record of the changelog was taken, and commits what was acked."""
    undisturbed = world_of(plan)
    undisturbed.finish()
    world = world_of(plan)
    drive(world, choices)
    for _ in range(200):
        source = next((source for source in ALL_LOGS if world.waiting(source)), None)
        if source is None:
            break
        for source in ALL_LOGS:
            if world.waiting(source):
                world.deliver(source)
        world.crash([1, 8, 8, 8], new_directory=False, landed=True)
    world.finish()
    assert world.violations() == []
    assert world.entries() == undisturbed.entries()


def test_the_effects_of_a_cut_fold_are_those_of_the_whole():
    """What is tracked comes from the rebuild, what is told from the redelivery: together nothing is missing."""
    table = Table()
    table.fold(received(0), keep=1)
    following = table.again()
    assert [one.source.offset for one in following.recovered] == [0]
    effects = following.fold(received(0)).effects
    assert [type(effect) for effect in effects] == [Emit]
    assert not [effect for effect in effects if isinstance(effect, Track)]
