from types import SimpleNamespace

import pytest
from faust.types import TP

from streamapp.kafka.fetch import HoldingConsumer

COMMANDS = TP("commands", 0)


class Consumer(HoldingConsumer):
    """One that owns a partition."""

    def __init__(self):
        self._buffered_partitions, self._paused_partitions, self.active = set(), set(), {COMMANDS}
        tables = SimpleNamespace(changelog_topics=set())
        self.app = SimpleNamespace(tables=tables, in_recovery=False, rebalancing=False)

    def assignment(self):
        return {COMMANDS}

    def _get_active_partitions(self):
        return self.active


Consumer.__abstractmethods__ = frozenset()


@pytest.fixture
def consumer():
    return Consumer()


def test_what_was_held_is_fetched_again(consumer):
    consumer.hold({COMMANDS})
    assert consumer.active == set()
    consumer.release()
    assert consumer.active == {COMMANDS}


def test_a_full_buffer_is_not_filled_further_when_it_was_held_meanwhile(consumer):
    consumer.on_buffer_full(COMMANDS)
    consumer.hold({COMMANDS})
    consumer.release()
    assert consumer.active == set(), "its records would stand in the way of results"
    consumer.on_buffer_drop(COMMANDS)
    assert consumer.active == {COMMANDS}


def test_room_in_a_buffer_releases_nothing_that_is_held(consumer):
    consumer.on_buffer_full(COMMANDS)
    consumer.hold({COMMANDS})
    consumer.on_buffer_drop(COMMANDS)
    assert consumer.active == set()
    consumer.release()
    assert consumer.active == {COMMANDS}


def test_what_is_held_before_it_is_resumed_stays_held(consumer):
    """An index that is full once it is rebuilt; Faust resumes the partitions only then."""
    consumer.pause_partitions({COMMANDS})
    consumer.hold({COMMANDS})
    consumer.resume_partitions({COMMANDS})
    assert consumer.active == set()
    consumer.release()
    assert consumer.active == {COMMANDS}


def test_of_a_topic_that_is_held_partitions_that_came_meanwhile_are_held_too(consumer):
    consumer.hold({TP("commands", 1)})  # and was given up
    consumer.resume_partitions({COMMANDS})
    assert consumer.held == {COMMANDS}
    assert consumer.active == set()
