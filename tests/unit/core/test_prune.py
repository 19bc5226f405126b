from datetime import timedelta

import pytest

from streamapp.core.effects import Delete, Identity, Settled
from streamapp.core.model import TERMINAL, Status
from streamapp.core.prune import expired, lifetime
from tests.support.builders import AT, entry, observed, policy, received, rejection, run_ended
from tests.support.memory import Table, letters, outcomes

DAY = timedelta(days=1)
INSTANT = timedelta(milliseconds=1)


def ended(table, offset=0, **fields):
    table.fold(received(offset, **fields))
    table.fold(observed(run_ended(table.entry(offset))))
    return table.entry(offset)


def forgotten(table, one, *, before=AT, committed=10):
    return expired(table.partition, one, before=before, committed=committed)


def test_an_ended_command_goes_with_its_id_and_the_id_first():
    table = Table()
    assert forgotten(table, ended(table)) == (Delete(Identity("c0")), Delete(Settled(b"k", 0)))


def test_what_ended_later_stays():
    table = Table()
    one = ended(table)
    assert forgotten(table, one, before=AT - INSTANT) == ()
    assert forgotten(table, one, before=AT) != ()


def test_what_may_be_read_again_stays():
    table = Table()
    one = ended(table, 3)
    assert forgotten(table, one, committed=3) == ()
    assert forgotten(table, one, committed=4) != ()


@pytest.mark.parametrize("status", [status for status in Status if status not in TERMINAL])
def test_what_has_not_ended_stays_for_good(status):
    assert forgotten(Table(), entry(status=status), before=AT + DAY) == ()


def test_the_id_of_a_later_command_stays():
    table = Table()
    table.fold(received(0, content=rejection()))
    first = table.entry(0)
    ended(table, 1, id="c0")
    assert forgotten(table, first) == (Delete(Settled(b"k", 0)),)
    assert forgotten(table, table.entry(1)) == (Delete(Identity("c0")), Delete(Settled(b"k", 1)))


def test_a_duplicate_leaves_the_id_to_the_first():
    table = Table()
    ended(table)
    table.fold(received(1, id="c0"))
    assert table.entry(1).status is Status.DUPLICATE
    assert forgotten(table, table.entry(1)) == (Delete(Settled(b"k", 1)),)


def test_a_late_observation_of_a_forgotten_command_says_nothing():
    table = Table()
    one = ended(table)
    for removal in forgotten(table, one):
        table.remove(removal.key)
    assert table.rows() == {}
    late = table.fold(observed(run_ended(one)))
    assert (late.changes, outcomes(late), letters(late)) == ((), [], [])


def test_after_its_retention_an_id_is_a_new_command():
    table = Table()
    for removal in forgotten(table, ended(table)):
        table.remove(removal.key)
    again = table.fold(received(1, id="c0"))
    assert [told.status for told in outcomes(again)] == [Status.ACCEPTED]


def test_a_crash_between_the_removals_leaves_what_the_next_look_finds():
    table = Table()
    first, *_ = forgotten(table, ended(table))
    table.remove(first.key)
    assert forgotten(table, table.entry(0)) == (Delete(Settled(b"k", 0)),)


@pytest.mark.parametrize(("dedupe_for", "kept"), [(None, DAY), (2 * DAY, 2 * DAY), (INSTANT, INSTANT)])
def test_a_route_may_say_how_long_a_command_is_remembered(dedupe_for, kept):
    assert lifetime(entry(policy=policy(dedupe_for=dedupe_for)), DAY) == kept


def test_what_has_no_route_is_remembered_for_the_retention():
    assert lifetime(entry(status=Status.REJECTED, policy=None), DAY) == DAY
