"""Operators and crashes at any step: one ending for each round, everything told, and no key held by nobody."""

from collections import defaultdict

from hypothesis import given

from streamapp.core.effects import Free, Queued, Settled
from streamapp.core.model import Status
from streamapp.wire import rows
from tests.support.plans import HOUR, drive, let_go, many_moves, often, plans, world_of

BURIED = {Status.FAILED, Status.REJECTED}


@often(200)
@given(plans(blocks=True, deadlines=(None, None, HOUR)), many_moves)
def test_what_operators_want_survives_crashes(plan, choices):
    world = world_of(plan)
    drive(world, choices, crashes=True, operators=True)
    for _ in range(4):  # a key may be blocked again behind what was let go
        world.finish()
        let_go(world)
    world.finish()
    assert world.worker.failures == []
    assert world.violations(complete=False) == []
    assert world.ledger.databases[0] == world.ledger.rebuilt(0)
    told = [one for one in world.outlet.taken() if one.status.terminal or one.status is Status.BLOCKED]
    assert untold(world, {one.id for one in told}) == []
    assert held_by_nobody(world) == []
    assert several(one.id for one in {(one.id, one.reason, one.detail): one for one in told}.values()) == []
    answers = {(one.control_id, one.status) for one in world.outlet.taken() if one.control_id is not None}
    assert several(control_id for control_id, _ in answers) == []


def entries(world):
    """Each entry, and where it stands."""
    table = {rows.parse_key(key): rows.parse_row(value) for key, value in world.ledger.databases[0].items()}
    return {where: row for where, row in table.items() if isinstance(where, Queued | Free | Settled)}


def untold(world, told):
    """Verdicts of the table that nobody heard of, and dead letters that were never written."""
    ended = [entry for entry in entries(world).values() if entry.status.terminal]
    verdicts = {f"{one.source}-{one.round}.{one.attempt}-{one.status}" for one in ended}
    buried = {f"{one.source}-{one.round}" for one in ended if one.status in BURIED}
    return sorted((verdicts - told) | (buried - {letter.id for letter in world.outlet.buried()}))


def held_by_nobody(world):
    """Commands that are first in their queue, or stand in none, and of which the index knows nothing."""
    queues = defaultdict(list)
    for where, entry in entries(world).items():
        if not isinstance(where, Settled):
            queues[where.key if isinstance(where, Queued) else where.offset].append(entry)
    firsts = [min(queue, key=lambda entry: entry.source.offset) for queue in queues.values()]
    waiting = [one for one in firsts if one.dispatchable or one.settling]
    return [str(one.source) for one in waiting if world.worker.ready.note(one.source) is None]


def several(names):
    """What comes more than once."""
    counts = defaultdict(int)
    for name in names:
        counts[name] += 1
    return sorted(name for name, count in counts.items() if count > 1)
