from dataclasses import dataclass
from datetime import datetime, timedelta
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamapp.dispatch.dag_queue import DagQueue
from tests.support.manual_clock import START


@dataclass(frozen=True)
class One:
    name: str
    place: tuple[int, int]
    came_at: datetime
    ending: bool = False


def one(name, came=0, **fields):
    return One(name, (0, sum(map(ord, name))), START + timedelta(seconds=came), **fields)


def serve(queue):
    return [queue.pop().name for _ in range(len(queue))]


def test_who_waited_longest_and_whose_command_came_first_are_served_in_turn():
    queue = DagQueue()
    for name, came in (("a", 9), ("b", 8), ("c", 7), ("d", 1), ("e", 2)):
        queue.append(one(name, came))
    assert serve(queue) == ["a", "d", "b", "e", "c"]


def test_a_verdict_that_waits_goes_before_all_others_and_takes_nobodys_turn():
    queue = DagQueue()
    for each in (one("a", 2), one("b", 3), one("c", 1), one("x", ending=True), one("y", ending=True)):
        queue.append(each)
    assert serve(queue) == ["x", "y", "a", "c", "b"]


def test_who_has_left_is_not_served():
    queue = DagQueue()
    a, b, c = one("a", 3), one("b", 1), one("c", 2, ending=True)
    for each in (a, b, c):
        queue.append(each)
    queue.remove(b)
    queue.remove(c)
    assert (b in queue, a in queue, len(queue), [each.name for each in queue]) == (False, True, 1, ["a"])
    assert serve(queue) == ["a"]
    assert not queue


def test_the_head_is_who_is_served():
    queue = DagQueue()
    for name, came in (("a", 2), ("b", 3), ("c", 1)):
        queue.append(one(name, came))
    while queue:
        head = queue.head
        assert queue.pop() is head


def serve_rounds(commands, rounds, room):
    """Who is served in each round, if runs take a round and there is room for so many; commands are keys, in order."""
    behind = {key: [number for number, each in enumerate(commands) if each == key] for key in set(commands)}
    queue, served = DagQueue(), []

    def come(key):
        if behind[key]:
            number = behind[key].pop(0)
            queue.append(One(key, (0, number), START + timedelta(seconds=number)))

    for key in sorted(behind):
        come(key)
    for _ in range(rounds):
        served.append([queue.pop().name for _ in range(min(room, len(queue)))])
        for key in served[-1]:
            come(key)
    return served


def test_a_key_with_much_behind_it_is_served_every_time_and_no_other_waits_for_long():
    keys = [f"key-{n}" for n in range(100)]
    commands = Random(1).choices(keys, [1 / (n + 1) for n in range(100)], k=1000)
    served = serve_rounds(commands, rounds=40, room=16)
    assert sum("key-0" in each for each in served) >= 32  # in turn alone it would be 7 or 8
    first = {key: next(number for number, each in enumerate(served) if key in each) for key in set(commands)}
    assert max(first.values()) <= 2 * 100 / 16


@pytest.mark.parametrize("seed", range(3))
@given(data=st.data())
def test_everybody_is_served_once_and_nobody_waits_for_more_than_twice_as_many_as_stand_before(data, seed):
    queue, waiting, arrived, turn = DagQueue(), {}, 0, 0
    for _ in range(60):
        if data.draw(st.booleans()):
            came = data.draw(st.integers(0, 9))
            queue.append(One(str(arrived), (seed, arrived), START + timedelta(seconds=came)))
            waiting[str(arrived)] = turn + 2 * len(queue)
            arrived += 1
        elif queue:
            turn += 1
            assert turn <= waiting.pop(queue.pop().name)
    assert len(queue) == len(waiting)
