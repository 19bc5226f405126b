"""What is fetched, with Faust's own thread around a small fake of Kafka's client."""

from datetime import timedelta
from types import SimpleNamespace

import pytest
from aiokafka.consumer import fetcher
from faust.types import TP

from streamapp.clock import SystemClock
from streamapp.kafka import headers
from streamapp.kafka.dispatches import new_app
from streamapp.kafka.fetch import FETCH_MAX_WAIT_MS, RESTORING_FETCH_MAX_WAIT_MS, FetchThread
from streamapp.kafka.gaps import Gaps
from streamapp.kafka.intake import Intake
from streamapp.settings import Settings
from tests.support.fake_client import FakeClient, originals
from tests.support.manual_clock import ManualClock

COMMANDS, OTHERS, RESULTS, CONTROL, TABLE = (
    TP(topic, 0) for topic in ("commands", "others", "results", "control", "changelog")
)
MOST = 10
PATIENCE = 1.0


class Scene:
    """A worker that reads these offsets, the chunks of its client in this order."""

    def __init__(self, chunks, ends=None):
        self.client = FakeClient(chunks)
        sources = {tp: self.client.read_on(tp) for tp in chunks if tp != TABLE}
        self.left = []
        self.told = []
        self.app = SimpleNamespace(
            consumer_generation_id=1,
            commands_topic=COMMANDS.topic,
            gaps=Gaps(),
            restoring=Gaps(),
            intake=Intake(),
            originals=originals(),
            leave=self.left.append,
            add_future=self.told.append,
            tables=SimpleNamespace(changelog_topics={TABLE.topic}, recovery=SimpleNamespace(in_recovery=False)),
        )
        self.app.gaps.start(sources, ends or {})
        if TABLE in chunks:
            position = self.client.read_on(TABLE)
            self.app.restoring.go_to({TABLE: position}, {TABLE: position})
        self.in_hand = []
        self.app.intake.watch = self.in_hand.append
        self.active = set(chunks)
        self.thread = object.__new__(FetchThread)
        self.thread.app, self.thread.consumer = self.app, SimpleNamespace(flow_active=True)
        self.thread._consumer = self.client

    async def fetch(self):
        fetched = await self.thread._fetch_records(self.client, self.active, timeout=PATIENCE, max_records=MOST)
        return {tp: [record.offset for record in records] for tp, records in fetched.items()}

    def lose_generation(self):
        self.app.consumer_generation_id += 1

    def stop_flow(self):
        self.thread.consumer.flow_active = False


# What nobody asked for


async def test_where_nothing_is_wanted_nothing_is_asked_for():
    """The client takes no partitions for all of them, and what it hands out then is lost."""
    scene = Scene({COMMANDS: [7, 8]})
    scene.active.clear()
    assert await scene.fetch() == {}
    assert scene.client.asked == []


async def test_partitions_that_go_during_a_fetch_do_not_make_it_one_of_all():
    scene = Scene({COMMANDS: [7, 8], RESULTS: [3]})
    scene.active = {COMMANDS}
    scene.client.before = scene.active.clear
    assert await scene.fetch() == {}
    assert (scene.client.read_on(COMMANDS), scene.client.read_on(RESULTS)) == (7, 3)


# What outlived its time


@pytest.mark.parametrize("end", ["lose_generation", "stop_flow"])
async def test_a_fetch_that_outlives_its_generation_takes_nothing_away(end):
    """Else the next owner, which may be this worker, would begin behind records that nobody has folded."""
    scene = Scene({COMMANDS: [7, 8], TABLE: [3]})
    scene.client.meanwhile = getattr(scene, end)
    assert await scene.fetch() == {}
    assert (scene.client.read_on(COMMANDS), scene.client.read_on(TABLE)) == (7, 3)
    assert scene.app.gaps.in_hand() == {COMMANDS: (7, 7)}
    assert scene.app.restoring.in_hand() == {TABLE: (3, 3)}
    assert scene.in_hand == []


async def test_of_partitions_that_are_paused_during_a_fetch_records_are_put_back_and_others_pass():
    scene = Scene({COMMANDS: [7, 8], OTHERS: [3]})
    scene.client.meanwhile = lambda: scene.active.discard(COMMANDS)
    assert await scene.fetch() == {OTHERS: [3]}
    assert (scene.client.read_on(COMMANDS), scene.client.read_on(OTHERS)) == (7, 4)
    scene.active.add(COMMANDS)
    assert await scene.fetch() == {COMMANDS: [7, 8]}


async def test_records_that_a_marker_follows_are_put_back():
    """The client has passed the marker of a transaction by then."""
    scene = Scene({COMMANDS: [7, 8]})

    def pass_marker():
        scene.client.state_value(COMMANDS).position += 1
        scene.lose_generation()

    scene.client.meanwhile = pass_marker
    await scene.fetch()
    assert scene.client.read_on(COMMANDS) == 7


@pytest.mark.parametrize("elsewhere", [5, 8])
async def test_what_is_put_back_does_not_leap_over_what_is_to_be_read(elsewhere):
    """A rebalance has sent reading to the committed offset meanwhile: records from there would never be read."""
    scene = Scene({COMMANDS: [7, 8]})

    def rebalance():
        scene.lose_generation()
        scene.client.seek(COMMANDS, elsewhere)

    scene.client.meanwhile = rebalance
    await scene.fetch()
    assert scene.client.read_on(COMMANDS) == elsewhere


async def test_where_the_client_has_no_position_yet_nothing_is_put_back():
    """It asks where to begin; told an offset now, it would not."""
    scene = Scene({COMMANDS: [7, 8]})

    def reassign():
        scene.lose_generation()
        scene.client.state_value(COMMANDS).has_valid_position = False

    scene.client.meanwhile = reassign
    await scene.fetch()
    assert scene.client.sought == []


async def test_a_partition_that_was_taken_away_needs_nothing_put_back():
    scene = Scene({OTHERS: [7, 8], COMMANDS: [3]})

    def revoke():
        scene.lose_generation()
        scene.client.revoke(OTHERS)

    scene.client.meanwhile = revoke
    assert await scene.fetch() == {}
    assert scene.client.sought == [(COMMANDS, 3)]


# First things first


async def test_results_come_before_a_backlog_of_commands():
    """Results empty memory; behind a chunk of commands they would wait for as long as there is a backlog."""
    scene = Scene({COMMANDS: range(100), TABLE: range(100), RESULTS: [3, 4], CONTROL: [5]})
    assert await scene.fetch() == {RESULTS: [3, 4], CONTROL: [5], COMMANDS: list(range(7))}
    urgent, rest = scene.client.asked
    assert urgent[:3] == (frozenset({RESULTS, CONTROL}), 0, MOST), "they are not waited for"
    assert rest[:3] == (frozenset(scene.active), 0, MOST - 3), "nor is anything else, with something in hand"


async def test_as_many_results_as_fit_leave_the_commands_for_the_next_time():
    scene = Scene({COMMANDS: [7], RESULTS: range(20)})
    assert await scene.fetch() == {RESULTS: list(range(MOST))}
    assert len(scene.client.asked) == 1
    assert await scene.fetch() == {RESULTS: list(range(MOST, 20))}
    assert await scene.fetch() == {COMMANDS: [7]}


async def test_results_that_come_between_the_two_calls_are_behind_those_of_the_first():
    scene = Scene({RESULTS: [3, 4], COMMANDS: [7]})
    scene.client.meanwhile = lambda: scene.client._chunks[RESULTS].append(5)
    assert await scene.fetch() == {RESULTS: [3, 4, 5], COMMANDS: [7]}


async def test_where_there_are_no_results_all_is_waited_for():
    scene = Scene({COMMANDS: [7], RESULTS: []})
    assert await scene.fetch() == {COMMANDS: [7]}
    assert [call[:2] for call in scene.client.asked] == [(frozenset({RESULTS}), 0), (frozenset(scene.active), PATIENCE)]


@pytest.mark.parametrize("only", [{RESULTS, CONTROL}, {COMMANDS, TABLE}])
async def test_partitions_of_one_kind_take_one_call(only):
    scene = Scene({tp: [7] for tp in sorted(only)})
    assert await scene.fetch() == {tp: [7] for tp in only}
    assert [call[:3] for call in scene.client.asked] == [(frozenset(only), PATIENCE, MOST)]


@pytest.mark.parametrize(("restoring", "wait"), [(False, FETCH_MAX_WAIT_MS), (True, RESTORING_FETCH_MAX_WAIT_MS)])
async def test_a_broker_waits_for_less_while_a_table_is_restored(restoring, wait):
    scene = Scene({TABLE: [7]})
    scene.app.tables.recovery.in_recovery = restoring
    await scene.fetch()
    assert [call[3] for call in scene.client.asked] == [wait]


# What is told of it


async def test_what_is_fetched_is_known_to_who_looks_for_gaps():
    scene = Scene({COMMANDS: [7, 9], TABLE: [3, 5]})
    assert await scene.fetch() == {COMMANDS: [7, 9], TABLE: [3, 5]}
    assert scene.app.gaps.in_hand() == {COMMANDS: (7, 10)}
    assert scene.app.restoring.in_hand() == {TABLE: (3, 6)}
    for gaps, tp, first in ((scene.app.gaps, COMMANDS, 7), (scene.app.restoring, TABLE, 3)):
        assert gaps.expects(tp, first)
        assert gaps.expects(tp, first + 2), "the broker has nothing in between"


async def test_bytes_in_hand_are_those_of_commands():
    scene = Scene({COMMANDS: [7, 8], OTHERS: [3], TABLE: [4]})
    await scene.fetch()
    assert scene.in_hand == [2]


@pytest.mark.parametrize("tp", [COMMANDS, TABLE])
async def test_what_got_lost_on_the_way_is_read_again(tp):
    scene = Scene({tp: [7, 8, 9]})
    assert await scene.fetch() == {tp: [7, 8, 9]}
    gaps = scene.app.restoring if tp == TABLE else scene.app.gaps
    assert not gaps.expects(tp, 9)
    assert await scene.fetch() == {tp: [7, 8, 9]}


async def test_reading_goes_back_only_with_a_fetch_of_that_partition():
    """One that is held: the client would fetch it, and what it has of it would be in nobody's hands."""
    scene = Scene({COMMANDS: [7, 8, 9], RESULTS: [3]})
    await scene.fetch()
    assert not scene.app.gaps.expects(COMMANDS, 9)
    scene.active = {RESULTS}
    await scene.fetch()
    assert scene.client.read_on(COMMANDS) == 10
    scene.active = {COMMANDS}
    assert await scene.fetch() == {COMMANDS: [7, 8, 9]}


# Catching up


async def test_a_log_that_ends_with_a_marker_is_caught_up_once_the_client_has_passed_it():
    """Else no command would ever be begun: the marker of a transaction is never returned."""
    scene = Scene({RESULTS: [3]}, ends={RESULTS: 5})
    assert await scene.fetch() == {RESULTS: [3]}
    scene.app.gaps.acked(RESULTS, 3)
    await scene.fetch()
    assert not scene.app.gaps.caught_up
    scene.client.state_value(RESULTS).position = 5
    await scene.fetch()
    assert scene.app.gaps.caught_up


async def test_a_position_that_is_not_known_yet_is_no_position():
    scene = Scene({RESULTS: [3]}, ends={RESULTS: 4})
    await scene.fetch()
    scene.app.gaps.acked(RESULTS, 3)
    scene.client.state_value(RESULTS).has_valid_position = False
    await scene.fetch()
    assert not scene.app.gaps.caught_up


async def test_of_partitions_that_have_gone_no_position_is_asked_for():
    scene = Scene({RESULTS: [3], CONTROL: [3]}, ends={RESULTS: 4, CONTROL: 4})
    scene.client.revoke(RESULTS)
    assert await scene.fetch() == {CONTROL: [3]}


# Topics


async def test_how_many_partitions_a_topic_has_is_known_once_there_is_a_client_that_knows():
    scene = Scene({RESULTS: [3], TP("results", 1): [4]})
    assert scene.thread.topic_partitions("results") == 2
    assert scene.thread.topic_partitions("unknown") is None
    scene.thread._consumer = None
    assert scene.thread.topic_partitions("results") is None


# The real client


async def test_the_client_of_a_worker_leaves_out_aborted_transactions_and_reads_any_header(tmp_path, monkeypatch):
    """Else commands run that were never sent, and one header that is not UTF-8 stops a partition for good."""
    monkeypatch.setattr(fetcher, "MemoryRecords", fetcher.MemoryRecords)
    app = new_app(Settings(), SystemClock(), datadir=tmp_path)
    client = app.consumer._thread._create_worker_consumer(app.transport)
    assert client._isolation_level == "read_committed"
    assert client._fetch_max_wait_ms == RESTORING_FETCH_MAX_WAIT_MS
    assert fetcher.MemoryRecords is headers.LenientRecords
    await client.stop()


# Topics that are not what they were


async def test_what_goes_on_where_it_was_needs_no_look():
    scene = Scene({COMMANDS: range(3, 9), TABLE: range(2)})
    await scene.app.originals.look(scene.client)
    scene.app.originals.doubtful = False
    await scene.fetch()
    assert (scene.left, scene.told, scene.client.looks) == ([], [], 1)


async def test_where_nothing_came_nobody_looks():
    scene = Scene({COMMANDS: []})
    await scene.fetch()
    assert scene.client.looks == 0


@pytest.mark.parametrize(("seconds", "doubtful"), [(0, True), (1.01, False)])
async def test_in_doubt_or_after_a_while_records_are_handed_on_after_a_look(seconds, doubtful):
    clock = ManualClock()
    scene = Scene({COMMANDS: range(3)})
    scene.app.originals = originals(clock)
    await scene.app.originals.look(scene.client)
    scene.app.originals.doubtful = doubtful
    clock.advance(timedelta(seconds=seconds))
    scene.client.ids["commands"] = "another"
    await scene.fetch()
    assert "has the id another" in str(scene.left[0])


@pytest.mark.parametrize(
    ("offsets", "read", "what"),
    [
        (range(5), 9, "commands partition 0 was read up to offset 9, but it ends at 5: a broker has lost records"),
        (range(20), 9, "commands partition 0 was read up to 9, and then from 0 again"),
    ],
)
async def test_a_client_that_reads_from_the_beginning_again_has_found_nothing_where_it_was(offsets, read, what):
    scene = Scene({COMMANDS: offsets})
    await scene.app.originals.look(scene.client)
    scene.app.gaps.start({COMMANDS: read}, {})
    await scene.fetch()
    assert what in str(scene.left[0])


async def test_a_changelog_that_is_read_from_its_beginning_again_has_lost_nothing():
    scene = Scene({TABLE: range(20)})
    await scene.app.originals.look(scene.client)
    scene.app.restoring.go_to({TABLE: 9}, {TABLE: 9})
    await scene.fetch()
    assert scene.left == []


async def test_a_table_whose_changelog_begins_again_is_no_exception():
    scene = Scene({TABLE: range(5)})
    scene.app.restoring.go_to({TABLE: 9}, {TABLE: 9})
    await scene.fetch()
    assert "changelog partition 0 was read up to offset 9, but it ends at 5" in str(scene.left[0])


async def test_what_outlived_its_generation_says_nothing_of_its_topic():
    scene = Scene({COMMANDS: range(5)})
    scene.app.gaps.start({COMMANDS: 9}, {})
    scene.client.meanwhile = scene.lose_generation
    await scene.fetch()
    assert scene.left == []


async def test_records_that_were_deleted_before_they_were_read_are_told(caplog):
    scene = Scene({COMMANDS: range(5, 9)})
    scene.app.gaps.start({COMMANDS: 2}, {})
    assert await scene.fetch() == {COMMANDS: [5, 6, 7, 8]}
    await scene.told.pop()
    assert (
        "up to 3 records of commands partition 0, from offset 2 on, were deleted before they were read" in caplog.text
    )


async def test_a_marker_that_was_passed_is_no_record(caplog):
    scene = Scene({COMMANDS: [0, 1, 3, 4]})
    scene.app.gaps.start({COMMANDS: 2}, {})
    scene.client.seek(COMMANDS, 2)
    assert await scene.fetch() == {COMMANDS: [3, 4]}
    await scene.told.pop()
    assert "deleted" not in caplog.text


async def test_what_was_compacted_away_is_not_looked_for():
    scene = Scene({TABLE: [3, 7]})
    scene.app.restoring.go_to({TABLE: 0}, {TABLE: 0})
    await scene.fetch()
    assert (scene.left, scene.told) == ([], [])
