"""Where reading starts after a rebalance, with Faust's own thread around a small fake of Kafka's client."""

from types import SimpleNamespace

import pytest
from faust.types import TP

from streamapp.kafka.gaps import Gaps
from streamapp.kafka.seek import SeekThread
from tests.support.fake_client import FakeClient, originals

COMMANDS, RESULTS, CONTROL, TABLE, STANDBY = (
    TP("commands", 0),
    TP("results", 0),
    TP("control", 0),
    TP("changelog", 0),
    TP("changelog", 1),
)


class Recovery:
    """What Faust knows of the databases: the last record that each has."""

    def __init__(self, applied):
        self.in_recovery = bool(applied)
        self.applied = applied.get


class Scene:
    """A worker whose client has these offsets, of which these are committed, and databases with so much."""

    def __init__(self, chunks, committed=(), applied=()):
        self.client = FakeClient(chunks)
        self.client.committed = dict(committed)
        for tp in chunks:
            self.client.state_value(tp).position = 99  # what a rebalance drops was fetched
        self.left = []
        self.app = SimpleNamespace(
            commands_topic=COMMANDS.topic,
            conf=SimpleNamespace(id="shop", broker_request_timeout=1.0),
            originals=originals(),
            gaps=Gaps(),
            restoring=Gaps(),
            leave=self.left.append,
            tables=SimpleNamespace(changelog_topics={TABLE.topic}, recovery=Recovery(dict(applied))),
        )
        self.thread = object.__new__(SeekThread)
        self.thread.app, self.thread._consumer = self.app, self.client
        self.thread.consumer = SimpleNamespace(_read_offset={})
        self.thread._rebalance_listener = None
        self.thread.log = SimpleNamespace(dev=lambda *_: None)

    async def seek(self):
        return await self.thread.seek_to_committed()

    def positions(self):
        return {tp: self.client.read_on(tp) for tp in self.client.assignment()}


async def test_every_source_starts_where_it_was_committed_else_at_its_beginning():
    """A beginning is that of what retention has left; one that is skipped loses what was fetched and dropped there."""
    scene = Scene({COMMANDS: range(3, 9), RESULTS: range(4, 9), CONTROL: range(9)}, {RESULTS: 6, CONTROL: 0})
    assert await scene.seek() == {COMMANDS: None, RESULTS: 6, CONTROL: 0}
    assert scene.positions() == {COMMANDS: 3, RESULTS: 6, CONTROL: 0}
    assert scene.app.gaps.in_hand() == {COMMANDS: (3, 3), RESULTS: (6, 6), CONTROL: (0, 0)}
    assert scene.left == []


async def test_what_was_seen_is_caught_up_with_before_anything_begins_and_a_backlog_of_commands_is_not():
    """A worker that waited for the commands would start nothing before it had taken in all of them."""
    scene = Scene({COMMANDS: range(9), RESULTS: range(9), CONTROL: range(9)}, {CONTROL: 9})
    await scene.seek()
    assert scene.app.gaps.behind() == {RESULTS}


async def test_changelogs_are_no_sources():
    """Once a table is restored, the seek after a rebalance leaves those of standbys where they are."""
    scene = Scene({COMMANDS: range(9), TABLE: range(9)}, {COMMANDS: 9, TABLE: 3})
    assert await scene.seek() == {COMMANDS: 9}
    assert scene.positions() == {COMMANDS: 9, TABLE: 99}
    assert scene.app.restoring.in_hand() == {}


async def test_with_no_sources_nothing_is_asked_for():
    scene = Scene({TABLE: range(9)})
    assert await scene.seek() == {}
    assert scene.app.gaps.caught_up


async def test_a_table_is_restored_from_the_last_record_that_its_database_has():
    scene = Scene({COMMANDS: range(9), TABLE: range(9), STANDBY: range(9)}, applied={TABLE: 5, STANDBY: -1})
    assert await scene.seek() == {COMMANDS: None}
    assert scene.positions() == {COMMANDS: 0, TABLE: 5, STANDBY: 0}
    assert scene.app.restoring.in_hand() == {TABLE: (6, 5), STANDBY: (0, 0)}


async def test_of_a_database_that_nobody_has_looked_at_reading_is_not_moved():
    """Faust tells where it starts once it has looked."""
    scene = Scene({TABLE: range(9), STANDBY: range(9)}, applied={TABLE: 5})
    await scene.seek()
    assert scene.positions() == {TABLE: 5, STANDBY: 99}
    assert scene.app.restoring.in_hand() == {TABLE: (6, 5)}


@pytest.mark.parametrize(("applied", "wanted"), [({TABLE: 5}, 6), ({}, 0)])
async def test_where_faust_sends_reading_the_next_record_is_known(applied, wanted):
    scene = Scene({TABLE: range(9)}, applied=applied)
    start = applied.get(TABLE, 0)
    await scene.thread._seek_wait(scene.client, {TABLE: start})
    assert scene.positions() == {TABLE: start}
    assert scene.app.restoring.in_hand() == {TABLE: (wanted, start)}


@pytest.mark.parametrize(
    ("tp", "advice"), [(COMMANDS, "Use a new app id"), (RESULTS, "Keep the app id"), (CONTROL, "Keep the app id")]
)
async def test_a_topic_that_ends_before_what_was_committed_was_created_again(tp, advice):
    """The worker says so and leaves; with a new app id, commands that have run would run again."""
    scene = Scene({COMMANDS: range(9), RESULTS: range(9), CONTROL: range(9)}, {tp: 10})
    await scene.seek()
    (error,) = scene.left
    assert f"offset 10 of {tp.topic} partition 0 was committed, but it ends at 9" in str(error)
    assert advice in str(error)


async def test_a_topic_that_was_read_to_its_end_was_not():
    scene = Scene({COMMANDS: range(9)}, {COMMANDS: 9})
    await scene.seek()
    assert scene.left == []


async def test_errors_are_heeded_from_the_subscription_on():
    """Else the first answer of a coordinator that moves is taken for no committed offsets: all is read anew."""
    scene = Scene({COMMANDS: range(9)})
    stock = scene.client._send_req
    await scene.thread.subscribe(["commands"])
    assert scene.client.subscribed == ["commands"]
    assert scene.client._send_req != stock
    mended = scene.client._send_req
    await scene.thread.subscribe(["commands"])
    assert scene.client._send_req == mended, "once is enough"


async def test_what_was_committed_for_another_topic_of_that_name_is_not_believed():
    """However long the new one is by now."""
    scene = Scene({COMMANDS: range(9)}, {COMMANDS: 9})
    scene.client.marks = {COMMANDS: "topic-ids old id-of-changelog"}
    await scene.seek()
    (error,) = scene.left
    assert "commands has the id id-of-commands, and had old at the last commit" in str(error)


async def test_a_topic_that_lost_what_was_committed_for_it_is_told_apart():
    scene = Scene({COMMANDS: range(9)}, {COMMANDS: 10})
    scene.client.marks = {COMMANDS: "topic-ids id-of-commands"}
    await scene.seek()
    (error,) = scene.left
    assert "a broker has lost records" in str(error)
    assert "created again" not in str(error)


async def test_topics_are_looked_at_again_whenever_partitions_are_given_out():
    scene = Scene({COMMANDS: range(9)})
    await scene.seek()
    scene.client.ids["commands"] = "another"
    await scene.seek()
    assert "has the id another" in str(scene.left[0])
