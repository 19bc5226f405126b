"""Faust's recovery with our way of taking records in, around a table in a real RocksDB, without a broker."""

import asyncio
from types import SimpleNamespace

import pytest
from faust.tables.recovery import ServiceStopped
from faust.types import TP

from streamapp.clock import SystemClock
from streamapp.core.errors import Unsafe
from streamapp.kafka import restore
from streamapp.kafka.dispatches import new_app, new_table
from streamapp.settings import Settings
from tests.support.fake_client import FakeClient

OWN, STANDBY, GONE = (TP("streamapp-dispatches-changelog", number) for number in range(3))


@pytest.fixture
async def app(tmp_path):
    """One partition of its own that is being restored, and one that it follows; both have everything up to 9."""
    app = new_app(Settings(), SystemClock(), datadir=tmp_path)
    table = app.table = new_table(app, Settings())
    recovery = app.tables.recovery
    for tp, add in ((OWN, recovery.add_active), (STANDBY, recovery.add_standby)):
        table.data.set_persisted_offset(tp, 9)
        add(table, tp)
    recovery._set_recovery_started()
    recovery.active_highwaters[OWN] = 12
    app.restoring.go_to({OWN: 9, STANDBY: 9, GONE: 9}, {OWN: 10, STANDBY: 10, GONE: 10})
    yield app
    await table.data.stop()


def record(tp, offset, value=b"v"):
    return SimpleNamespace(tp=tp, partition=tp.partition, offset=offset, key=b"k%d" % offset, value=value)


def has(app, tp):
    """What the database of a partition has, and up to where."""
    rows = dict(app.table.scan(tp.partition, b""))
    return sorted(rows), app.table.data.persisted_offset(tp)


@pytest.mark.parametrize("tp", [OWN, STANDBY])
async def test_the_next_records_are_taken(app, tp):
    app.tables.recovery.take([record(tp, 10), record(tp, 11)])
    assert has(app, tp) == ([b"k10", b"k11"], 11)
    assert app.tables.recovery.applied(tp) == 11


@pytest.mark.parametrize("tp", [OWN, STANDBY])
async def test_a_record_that_comes_too_early_is_not_taken(app, tp):
    app.restoring.fetched(tp, [9, 10, 11, 12])
    app.tables.recovery.take([record(tp, 10), record(tp, 12)])
    assert has(app, tp) == ([b"k10"], 10)
    assert app.tables.recovery.applied(tp) == 10
    assert app.restoring.take_asked([tp]) == {tp: 11}
    app.tables.recovery.take([record(tp, 10), record(tp, 11), record(tp, 12)])
    assert has(app, tp) == ([b"k10", b"k11", b"k12"], 12)


@pytest.mark.parametrize("tp", [OWN, STANDBY])
async def test_a_record_that_was_compacted_away_is_passed(app, tp):
    app.restoring.fetched(tp, [9, 12])
    app.tables.recovery.take([record(tp, 12)])
    assert has(app, tp) == ([b"k12"], 12)


async def test_a_removal_removes(app):
    app.tables.recovery.take([record(STANDBY, 10)])
    removal = record(STANDBY, 11, value=None)
    removal.key = b"k10"
    app.tables.recovery.take([removal])
    assert has(app, STANDBY) == ([], 11)


async def test_partitions_do_not_mix(app):
    app.tables.recovery.take([record(OWN, 10), record(STANDBY, 10), record(OWN, 11)])
    assert has(app, OWN) == ([b"k10", b"k11"], 11)
    assert has(app, STANDBY) == ([b"k10"], 10)


async def test_a_record_of_a_partition_that_has_gone_opens_no_database(app):
    app.tables.recovery.take([record(GONE, 10)])
    assert not app.table.is_open(GONE.partition)


async def test_nothing_is_taken_between_two_assignments(app):
    app.restoring.stop()
    app.tables.recovery.take([record(STANDBY, 10)])
    assert has(app, STANDBY) == ([], 9)


async def test_once_restored_an_own_partition_is_written_by_folds_alone(app):
    recovery = app.tables.recovery
    recovery.take([record(OWN, offset) for offset in (10, 11, 12)])
    recovery._tell()
    assert recovery.signal_recovery_end.is_set()
    recovery.take([record(OWN, 13), record(STANDBY, 10)])
    assert has(app, OWN)[1] == 12
    assert has(app, STANDBY)[1] == 10


async def test_the_end_of_a_recovery_is_told_to_whoever_asks_later(app):
    recovery = app.tables.recovery
    recovery.take([record(OWN, offset) for offset in (10, 11, 12)])
    recovery._tell()
    recovery.take([record(STANDBY, 10)])
    recovery._tell()
    assert recovery.signal_recovery_end.is_set()
    recovery._set_recovery_started()
    assert not recovery.signal_recovery_end.is_set()


async def test_a_standby_that_becomes_the_owner_goes_on_where_it_is(app):
    recovery = app.tables.recovery
    recovery.take([record(STANDBY, 10)])
    app.restoring.stop()
    recovery.standby_tps.clear()
    recovery.add_active(app.table, STANDBY)
    assert recovery.applied(STANDBY) == 10
    app.restoring.go_to({STANDBY: 10}, {STANDBY: recovery.applied(STANDBY) + 1})
    recovery.take([record(STANDBY, offset) for offset in (10, 11)])
    assert has(app, STANDBY) == ([b"k10", b"k11"], 11)
    written = SimpleNamespace(result=lambda: SimpleNamespace(offset=12))
    app.table.enter(STANDBY.partition, [(b"own", b"v")], written)
    assert has(app, STANDBY) == ([b"k10", b"k11", b"own"], 12)


async def test_an_owner_that_becomes_a_standby_goes_on_behind_its_own_rows(app):
    recovery = app.tables.recovery
    recovery.take([record(OWN, offset) for offset in (10, 11, 12)])
    recovery._tell()
    app.table.enter(OWN.partition, [(b"own", b"v")], SimpleNamespace(result=lambda: SimpleNamespace(offset=13)))
    app.restoring.stop()
    recovery.active_tps.clear()
    recovery.add_standby(app.table, OWN)
    assert recovery.applied(OWN) == 13


async def test_rows_that_followed_something_unread_stop_an_owner(app):
    """What a former owner wrote after a standby had taken over was never read here."""
    with pytest.raises(Unsafe, match="neither wrote nor read"):
        app.table.enter(STANDBY.partition, [(b"own", b"v")], SimpleNamespace(result=lambda: SimpleNamespace(offset=11)))
    assert has(app, STANDBY) == ([], 9)


async def test_what_is_in_the_queue_outlives_that_the_flow_is_resumed(app):
    queue = app.tables.changelog_queue
    queue.force_put_nowait(SimpleNamespace(message=record(STANDBY, 10)))
    app.flow_control.resume()  # empties the queues of streams
    assert queue.qsize() == 1


async def test_a_request_that_takes_too_long_ends_the_worker_and_not_only_its_recovery(app):
    """A partition without a leader, say: stock waits for no further rebalance, and the worker stands still for good."""
    left = []
    app.leave = left.append
    with pytest.raises(Unsafe, match="too long"):
        await app.tables.recovery._wait(asyncio.Event().wait(), timeout=0.01)
    assert [type(error) for error in left] == [Unsafe]


async def test_a_recovery_that_is_stopped_just_ends(app):
    app.leave = pytest.fail
    app.tables.recovery._stopped.set()
    with pytest.raises(ServiceStopped):
        await app.tables.recovery._wait(asyncio.Event().wait(), timeout=10)


async def test_a_table_is_not_restored_before_all_of_its_rows_are_there(app):
    """Commands would be folded on a table that lacks rows: what runs already would run again."""
    recovery = app.tables.recovery
    recovery.take([record(OWN, offset) for offset in (10, 11)])
    recovery._tell()
    assert (recovery.in_recovery, recovery.signal_recovery_end.is_set()) == (True, False)
    recovery.take([record(OWN, 12)])
    recovery._tell()
    assert (recovery.in_recovery, recovery.signal_recovery_end.is_set()) == (False, True)


async def test_records_of_standbys_end_no_recovery_that_has_not_begun(app):
    """The signal would be taken for the end of the next one."""
    recovery = app.tables.recovery
    recovery.in_recovery, recovery.active_highwaters[OWN] = False, 9
    recovery._tell()
    assert not recovery.signal_recovery_end.is_set()


async def test_standbys_are_ready_once_they_are_up_to_date(app):
    told = []
    app.tables.on_standbys_ready = lambda: told.append(app.tables.recovery.applied(STANDBY))
    app.tables.recovery.standby_highwaters[STANDBY] = 11
    for offset in (10, 11):
        app.tables.recovery.take([record(STANDBY, offset)])
        app.tables.recovery._tell()
    assert told == [11]
    app.tables.standbys_ready = True
    app.tables.recovery._tell()
    assert told == [11]


class Subscription:
    """What Kafka's client knows of the end of a changelog."""

    def __init__(self, app, highwaters):
        self.assignment = self if highwaters is not None else None
        self.tps, self._highwaters = frozenset(highwaters or ()), highwaters
        client = SimpleNamespace(_subscription=SimpleNamespace(subscription=self))
        app.consumer = SimpleNamespace(_thread=SimpleNamespace(_consumer=client))

    def state_value(self, tp):
        return SimpleNamespace(highwater=self._highwaters[tp])


@pytest.mark.parametrize(
    ("client", "faust", "behind"),
    [
        ({STANDBY: 15}, 12, 5),
        ({STANDBY: 11}, 12, 3),
        ({STANDBY: None}, 12, 3),
        ({STANDBY: 10}, 9, 0),
        ({STANDBY: 5}, 4, 0),
        ({OWN: 15}, 12, 3),
        (None, 12, 3),
    ],
    ids=str,
)
async def test_how_far_a_standby_is_behind_is_what_whoever_knows_more_says(app, client, faust, behind):
    """Pages show it: who takes a standby that is far behind for one that is not stops the wrong worker."""
    Subscription(app, client)
    app.tables.recovery.standby_highwaters[STANDBY] = faust
    assert app.tables.recovery.standbys() == {STANDBY.partition: behind}


async def test_before_the_client_has_subscribed_faust_alone_knows_how_far_a_standby_is_behind(app):
    Subscription(app, None)
    app.consumer._thread._consumer._subscription.subscription = None
    app.tables.recovery.standby_highwaters[STANDBY] = 12
    assert app.tables.recovery.standbys() == {STANDBY.partition: 3}


async def test_a_standby_whose_database_nobody_has_looked_at_lacks_everything(app):
    Subscription(app, {STANDBY: 15})
    del app.tables.recovery.standby_offsets[STANDBY]
    assert app.tables.recovery.standbys() == {STANDBY.partition: 15}


async def slurp(app, *messages):
    """Let the task take what is in the queue."""
    for message in messages:
        app.tables.changelog_queue.force_put_nowait(SimpleNamespace(message=message))
    recovery = app.tables.recovery
    task = asyncio.ensure_future(recovery._slurp_changelogs(recovery))
    for _ in range(20):
        await asyncio.sleep(0)
    task.cancel()


async def test_what_is_in_the_queue_is_written_together_and_told(app):
    await slurp(app, *(record(OWN, offset) for offset in (10, 11, 12)))
    assert has(app, OWN) == ([b"k10", b"k11", b"k12"], 12)
    assert app.tables.recovery.signal_recovery_end.is_set()


async def test_where_a_record_can_not_be_written_the_worker_leaves(app):
    """More records would follow one that the database lacks."""
    left = []
    app.leave = left.append
    app.table.follow = lambda *_: 1 / 0
    await slurp(app, record(OWN, 10))
    assert [type(error) for error in left] == [ZeroDivisionError]


async def test_a_batch_is_no_larger_than_a_batch(app, monkeypatch):
    """Nothing else happens meanwhile, heartbeats neither."""
    monkeypatch.setattr(restore, "BATCH", 2)
    taken = []
    app.tables.recovery.take = lambda messages: taken.append([message.offset for message in messages])
    await slurp(app, *(record(OWN, offset) for offset in (10, 11, 12)))
    assert taken == [[10, 11], [12]]


async def test_what_the_log_tells_of_a_long_recovery_is_measured_in_batches(app, monkeypatch):
    monkeypatch.setattr(restore, "BATCH", 2)
    recovery, times = app.tables.recovery, iter([1.0, 2.0, 4.0, 7.0, 11.0])
    app.lease = SimpleNamespace(now=lambda: next(times))
    for count in (1, 1, 2, 1):
        recovery._measure([record(OWN, 10)] * count)
    assert list(recovery._processing_times) == [1.0, 3.0]
    recovery.in_recovery = False
    recovery._measure([record(STANDBY, 10)])
    assert len(recovery._processing_times) == 2


# Databases that have more than their changelog


class Broker:
    """Knows where changelogs begin and end, and nothing of ids."""

    _thread = SimpleNamespace(_consumer=SimpleNamespace(_client=FakeClient({})))

    def __init__(self, ends):
        self.ends = ends

    async def earliest_offsets(self, *tps):
        return dict.fromkeys(tps, 0)

    async def highwaters(self, *tps):
        return self.ends


async def build(recovery, broker, tp, title):
    """Ask in the order in which Faust does."""
    if title == "active":
        await recovery._build_highwaters(broker, {tp}, recovery.active_highwaters, title)
        await recovery._build_offsets(broker, {tp}, recovery.active_offsets, title)
    else:
        await recovery._build_offsets(broker, {tp}, recovery.standby_offsets, title)
        await recovery._build_highwaters(broker, {tp}, recovery.standby_highwaters, title)


@pytest.mark.parametrize(("tp", "title"), [(OWN, "active"), (STANDBY, "standby")])
@pytest.mark.parametrize(("end", "leaves"), [(10, False), (9, True), (1, True), (0, True)])
async def test_a_database_that_is_ahead_of_its_changelog_is_not_believed(app, monkeypatch, tp, title, end, leaves):
    """Stock looks away where the changelog has one record, and crashes again and again where it has others.

    Of a standby, what was known before of where its changelog ended says nothing: others have written since.
    """
    left = []
    monkeypatch.setattr(app, "leave", left.append, raising=False)
    recovery = app.tables.recovery
    broker = Broker({tp: end})
    await build(recovery, broker, tp, title)
    assert bool(left) == leaves
    if leaves:
        assert f"has offset 9, but {tp.topic} ends at {end}" in str(left[0])
