from datetime import UTC, datetime, timedelta

import pytest

from streamapp.airflow.turns import SLOT, is_turn

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
USUAL = timedelta(milliseconds=20)


def moments(slots):
    return [BEGIN + SLOT * n / 20 for n in range(20 * slots)]


@pytest.mark.parametrize("usual", [timedelta(), USUAL, timedelta(seconds=3)])
def test_it_is_never_the_turn_of_two_and_often_of_one(usual):
    owners = [{0, 3, 6}, {1, 4, 7}, {2, 5}]
    turns = [sum(is_turn(owned, 8, at, usual) for owned in owners) for at in moments(16)]
    assert set(turns) == {0, 1}
    assert sum(turns) / len(turns) >= 0.45


def test_nothing_is_begun_that_would_reach_into_the_turn_of_another():
    begun = [at for at in moments(8) if is_turn({0}, 4, at, USUAL)]
    assert begun
    assert all(is_turn({0}, 4, at + USUAL, timedelta()) or at + USUAL < at + SLOT for at in begun)
    assert not any(is_turn({1, 2, 3}, 4, at + USUAL, timedelta()) for at in begun)


def test_turns_that_follow_each_other_are_one():
    assert all(is_turn({0, 1, 2}, 3, at, USUAL) for at in moments(6))


def test_who_owns_nothing_has_no_turn():
    assert not any(is_turn(set(), 3, at, USUAL) for at in moments(6))
