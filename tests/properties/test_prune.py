"""Forgetting in the midst of everything: whatever crashes, nothing that comes again finds its entry missing.

The worker forgets at once what it may (no retention), so each rule that keeps an entry is all that stands between a
repeated event and a second run, ending or dead letter.
"""

from datetime import timedelta
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from streamapp.dispatch.prune import Offsets, Pruner
from tests.support.builders import received, rejection
from tests.support.plans import Plan, crash, often, plans, world_of
from tests.support.world import ALL_LOGS, COMMANDS, CONTROL, RESULTS

NO_TIME = timedelta(microseconds=1)
INSTANT = timedelta(milliseconds=1)
seeds = st.integers(0, 2**32)
"""What happens next, over a hundred or two hundred steps."""


class Forgetful:
    """A world whose worker forgets."""

    def __init__(self, plan):
        self.world = world_of(plan)
        self.worker = None

    def live(self, seed):
        chance = Random(seed)
        for _ in range(chance.randrange(250)):
            steps = self.world.steps()
            match chance.randrange(25):
                case 0 | 1:
                    self.world.commit()
                case 2 | 3 | 4:
                    self.forget()
                case 5 if chance.random() < 0.6:
                    crash(self.world, chance.randrange(2**24))
                    for _ in range(chance.randrange(4)):  # before anything is read again
                        self.forget()
                case _ if steps:
                    chance.choice(steps)()
        self.world.finish()

    def end(self):
        """Commit everything and forget everything."""
        for _ in range(4):
            self.world.settle()
            self.world.commit()
            self.world.pass_time()
            self.forget()
        self.world.settle()

    def forget(self):
        world = self.world
        if world.worker is not self.worker:
            self.worker = world.worker
            self.told = {source: len(world.records(source)) for source in (RESULTS, CONTROL)}
            """What stood in the logs at the takeover."""
            self.pruner = Pruner(world.worker.partitions, world.worker.folds, world.clock, retention=NO_TIME)
        if world.ticks % 2:  # what is folded next may bear the very time at which the pruner looked
            world.pass_time(INSTANT)
        behind = any(world.worker.acked[source] < end for source, end in self.told.items())
        if world.worker.folds.failed is None and not behind:
            places = {at: Offsets(world.worker.positions[at], world.committed[at]) for at in ALL_LOGS}
            self.pruner.turn(places, COMMANDS[0])


@often(200)
@given(plans(blocks=True), seeds)
def test_what_comes_again_finds_what_it_needs(plan, seed):
    forgetful = Forgetful(plan)
    forgetful.live(seed)
    assert forgetful.world.violations(complete=False) == []
    assert forgetful.world.ledger.databases[0] == forgetful.world.ledger.rebuilt(0)


@often(100)
@given(plans(), seeds)
def test_in_the_end_nothing_is_left(plan, seed):
    forgetful = Forgetful(plan)
    forgetful.live(seed)
    assert forgetful.world.violations() == []
    forgetful.end()
    assert forgetful.world.entries() == {}


def test_an_ended_command_behind_one_that_is_not_committed_is_kept():
    forgetful = Forgetful(Plan([received(0, content=rejection()), received(1)], [["success"], ["success"]]))
    world = forgetful.world
    letters = world.outlet.dead_letters[0]
    while steps := [step for step in world.steps() if getattr(step, "__self__", None) is not letters]:
        steps[0]()
    world.commit()
    assert world.committed[COMMANDS] == 0
    assert world.committed[RESULTS] == len(world.records(RESULTS))
    for blow in (0, 1):
        for _ in range(3):
            forgetful.forget()
            world.settle()
        crash(world, blow)
    assert len(world.entries()) == 4
    world.finish()
    assert world.violations() == []
    forgetful.end()
    assert world.entries() == {}
