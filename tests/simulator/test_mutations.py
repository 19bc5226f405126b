"""The simulator finds bugs: each planted one is found within its seeds, all of which pass without it."""

import pytest

from tests.simulator.mutations import MUTATIONS, SEEDS
from tests.simulator.plan import make_plan
from tests.simulator.test_schedules import SCHEDULES
from tests.simulator.world import simulate


def timeline(seed):
    return simulate(make_plan(seed), timeline=True).timeline


@pytest.mark.timeout(900)
@pytest.mark.parametrize("mutation", [one for one in MUTATIONS if not one.replayed], ids=str)
def test_a_planted_bug_is_found(mutation):
    with mutation.plant():
        found = next((seed for seed in SEEDS if simulate(make_plan(seed)).violations), None)
    assert found is not None
    assert not simulate(make_plan(found)).violations


@pytest.mark.parametrize("mutation", [one for one in MUTATIONS if one.replayed], ids=str)
def test_chance_where_there_must_be_none_is_found(mutation):
    with mutation.plant():
        assert any(timeline(seed) != timeline(seed) for seed in SEEDS[:30])
    assert all(timeline(seed) == timeline(seed) for seed in SEEDS[:30])


def test_all_their_seeds_pass_without_them():
    """They are among those of the schedules that may not break anything."""
    assert SEEDS.stop <= SCHEDULES


def test_there_are_bugs_of_every_part():
    assert len(MUTATIONS) >= 25
