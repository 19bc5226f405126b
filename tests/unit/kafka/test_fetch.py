from types import SimpleNamespace

import pytest
from faust.transport.drivers import aiokafka as driver
from faust.types import TP

from streamapp.kafka.fetch import HoldingConsumer

COMMANDS, MORE_COMMANDS, RESULTS, CHANGELOG = TP("commands", 0), TP("commands", 1), TP("results", 0), TP("changelog", 0)


class Stock(driver.Consumer):
    """What Faust does when partitions go."""

    told = None

    async def on_partitions_revoked(self, revoked):
        self.told = revoked, self.held, self.full, set(self._buffered_partitions)


class Consumer(HoldingConsumer, Stock):
    """One that owns a few partitions."""

    def __init__(self, owned=frozenset({COMMANDS})):
        self.owned = owned
        self._buffered_partitions, self._paused_partitions, self.active = set(), set(), set(owned)
        tables = SimpleNamespace(changelog_topics={CHANGELOG.topic})
        self.app = SimpleNamespace(tables=tables, in_recovery=False, rebalancing=False)

    def assignment(self):
        return self.owned

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
    consumer.hold({MORE_COMMANDS})  # and was given up
    consumer.resume_partitions({COMMANDS})
    assert consumer.held == {COMMANDS}
    assert consumer.active == set()


def test_all_partitions_of_a_topic_that_is_held_are_held_and_no_others():
    """They fill one buffer; results and control, which empty memory, flow on."""
    consumer = Consumer({COMMANDS, MORE_COMMANDS, RESULTS})
    consumer.hold({COMMANDS})
    assert consumer.active == {RESULTS}
    consumer.hold({COMMANDS, MORE_COMMANDS})
    consumer.release()
    assert consumer.active == {COMMANDS, MORE_COMMANDS, RESULTS}


def test_where_a_buffer_is_full_all_its_partitions_stop_and_begin_again_together():
    consumer = Consumer({COMMANDS, MORE_COMMANDS, RESULTS})
    consumer.on_buffer_full(COMMANDS)
    assert consumer.active == {RESULTS}
    consumer.on_buffer_drop(COMMANDS)
    assert consumer.active == {COMMANDS, MORE_COMMANDS, RESULTS}


def test_a_standby_is_never_stopped():
    """Nobody would wake it."""
    consumer = Consumer({CHANGELOG})
    consumer.on_buffer_full(CHANGELOG)
    assert consumer.active == {CHANGELOG}


def test_what_is_paused_meanwhile_is_not_fetched_before_faust_resumes_it(consumer):
    """Its table is not restored yet: a command would be folded without what came before it."""
    consumer.hold({COMMANDS})
    consumer.pause_partitions({COMMANDS})
    consumer.release()
    assert consumer.active == set()


def test_nothing_is_fetched_again_while_partitions_are_given_out(consumer):
    consumer.hold({COMMANDS})
    consumer.app.rebalancing = True
    consumer.release()
    assert consumer.active == set()


async def test_the_next_assignment_begins_with_nothing_held(consumer):
    """What is held is told by those who hold it; of another generation, nobody would let it go."""
    consumer.on_buffer_full(COMMANDS)
    consumer.hold({COMMANDS})
    await consumer.on_partitions_revoked({COMMANDS})
    assert consumer.told == ({COMMANDS}, frozenset(), frozenset(), set())
    consumer.active.add(COMMANDS)
    consumer.resume_partitions({COMMANDS})
    assert consumer.active == {COMMANDS}


def test_a_buffer_that_has_had_room_since_is_not_taken_for_a_full_one(consumer):
    """What Faust stops later for reasons of its own is not fetched because another stream gets room."""
    consumer.on_buffer_full(COMMANDS)
    consumer.on_buffer_drop(COMMANDS)
    consumer.active.clear()
    consumer.on_buffer_drop(COMMANDS)
    assert consumer.active == set()
