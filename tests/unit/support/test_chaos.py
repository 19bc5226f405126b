"""Chaos is planned as asked for, repeatable, and its supervisor notices ends that nobody asked for."""

import random
import signal
from itertools import islice
from pathlib import Path

import pytest

from streamapp.kafka import exits
from tests.support.chaos_crew import Crew, UnforeseenEnd
from tests.support.chaos_faults import FAULTS, counted, each_once, for_ever
from tests.support.worker import Worker


class Actor(Worker):
    """A worker that ends when it is told to."""

    def __init__(self, name: str) -> None:
        super().__init__(name, Path(), {})
        self.starts = 0
        self.code: int | None = 0

    def start(self, *, wait: bool = True) -> None:
        self.starts += 1
        self.code = None

    def signal(self, number: signal.Signals) -> None:
        self.code = 0 if number == signal.SIGTERM else -number

    @property
    def running(self) -> bool:
        return self.code is None

    @property
    def exit_code(self) -> int | None:
        return self.code


def crew() -> tuple[Crew, Actor]:
    one = Actor("one")
    made = Crew([one], Actor("extra"))
    made.tick()
    return made, one


@pytest.mark.parametrize("company", [0.0, 0.5, 1.0])
def test_every_fault_comes_once(company: float) -> None:
    blows = list(each_once(random.Random(1), company=company))
    assert sorted(name for blow in blows for name in blow.faults) == sorted(FAULTS)
    assert (max(len(blow.faults) for blow in blows) == 2) == (company > 0)


def test_company_comes_from_another_side() -> None:
    for blow in islice(for_ever(random.Random(1)), 500):
        sides = [FAULTS[name].side for name in blow.faults]
        assert sides in (sorted(set(sides), key=["workers", "broker", "around"].index), ["around"])
        assert len(sides) == 1 or not any(FAULTS[name].alone for name in blow.faults)
        assert sides != ["workers", "broker"] or not {"freeze", "join and leave"} & set(blow.faults)


def test_a_seed_is_a_plan() -> None:
    first, again, other = (list(islice(for_ever(random.Random(seed)), 50)) for seed in (1, 1, 2))
    assert first == again != other


def test_faults_come_as_often_as_asked_for() -> None:
    names = [name for blow in counted(random.Random(1), {"kill": 2, "term": 3}) for name in blow.faults]
    assert (names.count("kill"), names.count("term"), len(names)) == (2, 3, 5)


@pytest.mark.parametrize("code", [exits.LEASE_LOST, exits.UNSAFE, exits.STUCK])
def test_who_leaves_on_purpose_is_started_again(code: int) -> None:
    made, one = crew()
    one.code = code
    made.tick()
    assert (one.starts, made.exits) == (2, {code: 1})


@pytest.mark.parametrize("code", [0, 1, exits.CONFIG, -signal.SIGKILL, -signal.SIGSEGV])
def test_an_end_that_nobody_asked_for_is_noticed(code: int) -> None:
    made, one = crew()
    one.code = code
    with pytest.raises(UnforeseenEnd, match=f"one ended with {code},"):
        made.tick()


def test_what_was_asked_for_once_is_not_allowed_twice() -> None:
    made, one = crew()
    made.terminate(one)
    made.tick()
    one.code = 0
    with pytest.raises(UnforeseenEnd):
        made.tick()


def test_who_leaves_does_not_come_back_before_it_joins() -> None:
    made, one = crew()
    made.leave(one)
    made.tick()
    assert not one.running
    made.join(one)
    assert one.running


def test_a_killed_one_rests() -> None:
    made, one = crew()
    made.kill(one, rest_seconds=3600)
    made.tick()
    assert (one.running, one.starts) == (False, 1)
