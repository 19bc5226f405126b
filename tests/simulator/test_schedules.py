"""Many schedules, none of which may break anything, and all of which together must have exercised everything."""

import pytest

from tests.simulator.plan import ALL_FAULTS
from tests.simulator.runner import run_all

SCHEDULES = 10_000
EVENTS = 50
EXERCISED = 300
"""Each fault, at least: a few in a hundred schedules."""


@pytest.mark.timeout(1800)
def test_no_schedule_breaks_a_guarantee(capsys):
    total = run_all(range(SCHEDULES), processes=2)
    with capsys.disabled():
        print(f"\n{total}")
    assert total.failures == []
    assert total.schedules == SCHEDULES
    assert total.fewest_events >= EVENTS
    rare = {fault: total.counts[fault] for fault in ALL_FAULTS if total.counts[fault] < EXERCISED}
    assert not rare
    for what in ("takeovers", "redelivered", "left", "conflicts", "holds", "pruned"):
        assert total.counts[what] >= SCHEDULES / 10, what
