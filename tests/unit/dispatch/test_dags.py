from datetime import timedelta

import pytest

from streamapp.airflow.port import Dag
from streamapp.dispatch.dags import LOOK_AGAIN, UNKNOWN_CAP, Dags
from tests.support.instant_clock import InstantClock
from tests.support.memory_airflow import MemoryAirflow


class Known(Dags):
    """The real one, and what it works with."""

    def __init__(self):
        self.clock = InstantClock()
        self.airflow = MemoryAirflow(self.clock)
        self.needed = {}
        self.changes = 0
        super().__init__(self.airflow, self.clock, wanted=lambda: self.needed, changed=self._note)

    def _note(self):
        self.changes += 1

    def want(self, *dags):
        self.needed = dict.fromkeys(dags)

    def asked(self):
        return [call[1] for call in self.airflow.calls if call[0] == "dag"]


@pytest.fixture
def dags():
    return Known()


async def test_a_dag_has_airflows_default_until_airflow_has_said_more(dags):
    assert (dags.cap("probe"), dags.paused("probe")) == (UNKNOWN_CAP, False)
    dags.airflow.dags["probe"] = Dag(max_active_runs=3, paused=True)
    dags.want("probe")
    await dags.look()
    assert (dags.cap("probe"), dags.paused("probe"), dags.changes) == (3, True, 1)


async def test_one_without_a_number_or_unknown_to_airflow_has_the_default(dags):
    dags.airflow.dags["endless"] = Dag(max_active_runs=None, paused=False)
    dags.want("endless", "missing")
    await dags.look()
    await dags.look()
    assert (dags.cap("endless"), dags.cap("missing")) == (UNKNOWN_CAP, UNKNOWN_CAP)
    assert dags.known["missing"] is None
    assert not dags.paused("missing")
    assert not dags.paused("endless")


async def test_only_dags_with_something_to_do_are_asked_about_one_at_a_time(dags):
    await dags.look()
    assert dags.asked() == []
    dags.want("a", "b")
    for _ in range(5):
        await dags.look()
    assert sorted(dags.asked()) == ["a", "b"]


async def test_they_are_looked_at_again_after_a_while_the_oldest_first(dags):
    dags.want("a", "b")
    await dags.look()
    dags.clock.elapsed += timedelta(seconds=1)
    await dags.look()
    dags.airflow.dags["a"] = Dag(max_active_runs=1, paused=False)
    dags.clock.elapsed += LOOK_AGAIN
    dags.want("b", "a", "c")
    for _ in range(4):
        await dags.look()
    assert dags.asked() == ["a", "b", "c", "a", "b"]
    assert dags.cap("a") == 1


async def test_a_look_costs_as_much_for_each_dag_however_many_there_are(dags):
    """Ten thousand of them held the worker up for a second, twice a second."""

    class Name(str):
        __slots__ = ()
        compared = 0

        def __eq__(self, other):
            Name.compared += 1
            return str.__eq__(self, other)

        __hash__ = str.__hash__

    dags.want(*(Name(f"dag-{number}") for number in range(1000)))
    for _ in range(1000):
        await dags.look()
    Name.compared = 0
    await dags.look()
    assert Name.compared <= 10 * 1000


async def test_a_change_is_told_once(dags):
    dags.want("a")
    for paused in (False, True, True):
        dags.airflow.dags["a"] = Dag(max_active_runs=1, paused=paused)
        await dags.look()
        dags.clock.elapsed += LOOK_AGAIN
    assert dags.changes == 2


async def test_what_is_known_outlives_an_outage(dags):
    dags.airflow.dags["a"] = Dag(max_active_runs=2, paused=False)
    dags.want("a", "b")
    await dags.look()
    dags.airflow.down = "no connection"
    await dags.look()
    dags.clock.elapsed += LOOK_AGAIN
    await dags.look()
    assert (dags.cap("a"), dags.cap("b")) == (2, UNKNOWN_CAP)


async def test_dags_that_have_nothing_to_do_any_more_are_forgotten(dags):
    dags.want("a")
    await dags.look()
    dags.want()
    dags.clock.elapsed += LOOK_AGAIN
    await dags.look()
    assert dags.known == {}
