"""How many bytes of commands are in hand."""

from types import SimpleNamespace

import pytest
from faust.types import TP

from streamapp.kafka.intake import Intake

ONE, OTHER = TP("commands", 1), TP("commands", 2)


def record(offset, size=10, key=None, headers=()):
    return SimpleNamespace(offset=offset, key=key, value=b"x" * size if size is not None else None, headers=headers)


class Bench:
    def __init__(self):
        self.intake = Intake()
        self.told = []
        self.intake.watch = self.told.append


@pytest.fixture
def bench():
    return Bench()


def test_what_is_fetched_is_in_hand_until_it_is_acked(bench):
    bench.intake.fetched(ONE, [record(5), record(6), record(9)])
    bench.intake.fetched(OTHER, [record(0, size=100)])
    bench.intake.acked(ONE, 6)
    bench.intake.acked(OTHER, 0)
    bench.intake.acked(ONE, 9)
    assert bench.told == [30, 130, 110, 10, 0]


def test_keys_and_headers_are_in_memory_too(bench):
    bench.intake.fetched(ONE, [record(0, size=None, key=b"key", headers=[("name", b"value"), ("none", None)])])
    assert bench.told == [3 + 9 + 4]


def test_what_is_read_again_is_in_hand_once(bench):
    bench.intake.fetched(ONE, [record(0), record(1), record(2)])
    bench.intake.fetched(ONE, [record(1), record(2), record(3)])
    assert bench.told[-1] == 40
    bench.intake.acked(ONE, 3)
    assert bench.told[-1] == 0


def test_what_has_to_be_read_again_does_not_keep_commands_held(bench):
    """Nothing would be fetched, and nothing acked: they would be held for ever."""
    bench.intake.fetched(ONE, [record(0), record(5), record(6)])
    bench.intake.dropped(ONE, 5)
    bench.intake.dropped(ONE, 6)
    assert bench.told == [30, 10, 10]
    bench.intake.acked(ONE, 0)
    bench.intake.fetched(ONE, [record(1), record(5)])
    bench.intake.acked(ONE, 5)
    assert bench.told[-1] == 0


def test_other_topics_are_not_counted(bench):
    bench.intake.acked(TP("results", 0), 7)
    assert bench.told == []


def test_nothing_is_in_hand_once_partitions_are_given_up(bench):
    bench.intake.fetched(ONE, [record(0)])
    bench.intake.clear()
    bench.intake.acked(ONE, 0)
    bench.intake.fetched(OTHER, [record(0)])
    assert bench.told == [10, 0, 10]
