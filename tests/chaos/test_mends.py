"""What makes Faust keep its word, on a real broker: each guard is seen to work, and is missed when it is left out."""

import asyncio
import signal
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import pytest
from confluent_kafka import ConsumerGroupTopicPartitions, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, NewPartitions, NewTopic

from streamapp.cli.checks import Check
from streamapp.cli.tables import tables_check
from streamapp.core.effects import Queued
from streamapp.kafka import exits
from streamapp.settings import load_settings
from streamapp.wire.rows import VERSION, row_key
from tests.support.eventually import eventually
from tests.support.installation import Draft, Installation, command, place_of
from tests.support.stack import Kafka
from tests.support.tables import committed
from tests.support.worker import Worker

Install = Callable[..., Installation]

MANY = 2500
"""Commands: several fetches' worth."""
NOBODY = "http://127.0.0.1:1"
"""An Airflow that does not answer."""


def all_read(installation: Installation, kafka: Kafka, sent: list[Draft]) -> None:
    """Every one of these records is committed as done."""
    places = committed(installation, kafka)
    assert all(places[draft.place[0]] > draft.place[1] for draft in sent), places


def commands(count: int, **params: object) -> list[Draft]:
    return [command(f"k{n % 20}".encode(), id=f"c{n}", **params) for n in range(count)]


# Records that got lost on the way to the agents, called GAP


def lose_some(installation: Installation, kafka: Kafka, *sabotage: str) -> int:
    """Let half a batch get lost; return how many commands nobody ever heard of again."""
    sent = installation.send(*commands(100))
    installation.worker("one", "lost_fetch", *sabotage).start()
    eventually(lambda: all_read(installation, kafka, sent), seconds=60)
    return installation.statuses(sent)["unread"]


def test_a_lost_batch_is_read_again(install: Install, kafka: Kafka) -> None:
    installation = install(partitions=1)
    assert lose_some(installation, kafka) == 0
    assert "reading again" in installation.workers["one"].log


def test_without_gaps_a_lost_batch_is_lost(install: Install, kafka: Kafka) -> None:
    assert lose_some(install(partitions=1), kafka, "without_gaps") > 0


# What is committed


def commit_behind_an_aborted_transaction(installation: Installation, kafka: Kafka, *sabotage: str) -> int:
    """Send commands in transactions, one of which is aborted; stop the worker; answer what is committed."""
    worker = installation.worker("one", *sabotage)
    worker.start()
    producer = Producer({**kafka.client, "transactional.id": installation.name})
    producer.init_transactions(20)
    for end in (producer.commit_transaction, producer.abort_transaction, producer.commit_transaction):
        producer.begin_transaction()
        draft = command(b"k")
        producer.produce(installation.name, key=draft.key, value=draft.value, partition=0)
        producer.flush(20)
        end(20)
    # A marker follows each; so the commands stand at 0 and 4, and what never was at 2.
    eventually(lambda: _ended_at(installation, {0, 4}))
    assert worker.terminate() == 0
    assert "reading again" not in worker.log, "a marker is not a loss"
    return committed(installation, kafka)[0]


def _ended_at(installation: Installation, offsets: set[int]) -> None:
    ended = {place_of(outcome)[1] for outcome in installation.outcomes() if outcome["status"] == "succeeded"}
    assert ended == offsets


def test_markers_of_transactions_do_not_hinder_commits(install: Install, kafka: Kafka) -> None:
    assert commit_behind_an_aborted_transaction(install(partitions=1), kafka) >= 5


def test_stock_would_not_commit_behind_a_marker(install: Install, kafka: Kafka) -> None:
    assert commit_behind_an_aborted_transaction(install(partitions=1), kafka, "without_commit") < 5


# A frozen worker, called LEASE


def freeze_beyond_the_session(installation: Installation, *sabotage: str) -> list[Draft]:
    """Freeze a worker with rows on their way until another has taken over and written the same; let it wake."""
    frozen = installation.worker("frozen", "slower_changelog", *sabotage)
    frozen.start()
    other = installation.worker("other")
    sent = installation.send(*commands(120))
    eventually(lambda: _has_rows_in_hand(frozen), every_seconds=0.02)
    frozen.freeze()
    other.start()
    eventually(lambda: _owns(other, 4), seconds=60)
    eventually(lambda: _accepted(other, sent), seconds=60)
    frozen.thaw()
    return sent


def _has_rows_in_hand(worker: Worker) -> None:
    status = worker.get("/api/v1/status").json()
    assert status["folds"]["open"] > 0, status


def _has_nothing_in_hand(worker: Worker) -> None:
    status = worker.get("/api/v1/status").json()
    assert status["folds"]["open"] == 0, status


def _accepted(worker: Worker, sent: list[Draft]) -> None:
    status = worker.get("/api/v1/status").json()
    assert status["outcomes"].get("accepted", 0) == len(sent), status


STRANGE_RECORDS = "records that this worker neither wrote nor read"


def _some_run(installation: Installation, sent: list[Draft]) -> None:
    assert installation.statuses(sent)["succeeded"] > 5


def _owns(worker: Worker, partitions: int) -> None:
    status = worker.get("/api/v1/status").json()
    assert len(status["partitions"]) == partitions, status


def test_a_worker_that_wakes_too_late_writes_nothing(install: Install) -> None:
    installation = install()
    sent = freeze_beyond_the_session(installation)
    frozen, other = installation.workers.values()
    # Either it is about to write when it notices, or it is told first that its partitions are gone, with rows in hand.
    assert frozen.wait() in {exits.LEASE_LOST, exits.UNSAFE}
    installation.endings(sent, seconds=90)
    assert STRANGE_RECORDS not in frozen.log + other.log


def test_without_a_lease_it_writes_and_is_found_out(install: Install) -> None:
    installation = install()
    freeze_beyond_the_session(installation, "without_lease")
    frozen = installation.workers["frozen"]
    assert frozen.wait() == exits.UNSAFE
    assert STRANGE_RECORDS in frozen.log


def test_without_looking_who_writes_it_goes_on(install: Install) -> None:
    installation = install()
    freeze_beyond_the_session(installation, "without_lease", "without_sole_writer")
    frozen = installation.workers["frozen"]
    eventually(lambda: _has_nothing_in_hand(frozen), seconds=60)
    assert STRANGE_RECORDS not in frozen.log


# Backpressure, called HOLD


def take_in_while_airflow_is_away(installation: Installation, *sabotage: str) -> int:
    """Send a lot while nobody answers for Airflow; return how many commands the worker takes in."""
    installation.send(*[command(None, id=f"c{n}") for n in range(MANY)])
    worker = installation.worker("one", "small_buffers", *sabotage, ready_limit="20", airflow_url=NOBODY)
    worker.start()

    def settled() -> int:
        status = worker.get("/api/v1/status").json()
        taken = int(status["outcomes"].get("accepted", 0))
        assert taken == MANY or (status["held"] and status["folds"]["open"] == 0), status
        return taken

    eventually(settled, seconds=60)
    # Held, it still takes what was fetched before; once it acks the end of that, nothing more comes.
    return eventually(lambda: _unchanged(settled), seconds=60, every_seconds=1)


def _unchanged(count: Callable[[], int]) -> int:
    before = count()
    time.sleep(2)  # long beside a fetch
    assert count() == before
    return before


def test_commands_are_held_while_memory_is_full(install: Install) -> None:
    assert take_in_while_airflow_is_away(install(partitions=2)) < MANY / 2


def test_a_restart_while_they_are_held_takes_none_in(install: Install) -> None:
    installation = install(partitions=2)
    take_in_while_airflow_is_away(installation)
    worker = installation.workers["one"]
    worker.terminate()
    worker.start()
    assert _unchanged(lambda: int(worker.get("/api/v1/status").json()["outcomes"].get("accepted", 0))) == 0


def test_without_holding_all_are_taken_in(install: Install) -> None:
    assert take_in_while_airflow_is_away(install(partitions=2), "without_hold") == MANY


LARGE = 150
"""Commands of 200 kB: 30 MB."""


def take_in_large_ones(installation: Installation, *sabotage: str) -> int:
    """Send large commands while rows travel for long; return how many the worker has in hand."""
    installation.send(*commands(LARGE, pad="x" * 200_000))
    worker = installation.worker("one", "very_slow_changelog", *sabotage)
    worker.start()

    def in_hand() -> int:
        status = worker.get("/api/v1/status").json()
        assert "bytes" in status["held"], status
        return int(status["folds"]["open"])

    return eventually(lambda: _unchanged(in_hand), seconds=60)


def test_large_commands_are_held_by_their_bytes(install: Install) -> None:
    assert take_in_large_ones(install(partitions=2)) < LARGE / 2


def test_without_holding_all_large_ones_are_in_memory(install: Install) -> None:
    assert take_in_large_ones(install(partitions=2), "without_hold") > LARGE / 2


# A recovery that waits for ever, called WATCHDOG


def recover_in_spite_of_loss(installation: Installation, *sabotage: str) -> Worker:
    """Start a worker without its data, while some of the changelog gets lost on the way to it."""
    worker = installation.worker("one")
    worker.start()
    installation.endings(installation.send(*commands(40)))
    worker.terminate()
    worker.forget_data()
    again = installation.worker("one", "stuck_recovery", *sabotage)
    again.start(wait=False)
    return again


def test_a_stuck_recovery_is_mended(install: Install) -> None:
    worker = recover_in_spite_of_loss(install())
    worker.wait_ready()
    assert "makes no progress" in worker.log


def test_without_the_watchdog_it_hangs(install: Install) -> None:
    worker = recover_in_spite_of_loss(install(), "without_watchdog")
    with pytest.raises(AssertionError, match="not ready"):
        worker.wait_ready(seconds=20)


# Records that get lost while the table is restored, called RESTORE


def restore_with_losses(installation: Installation, *sabotage: str) -> list[Check]:
    """Start a worker without its data, while the middle of each changelog gets lost; compare the tables it restores."""
    worker = installation.worker("one")
    worker.start()
    installation.endings(installation.send(*commands(40)))
    worker.terminate()
    worker.forget_data()
    again = installation.worker("one", "lost_changelog", *sabotage)
    again.start()
    found = asyncio.run(tables_check(load_settings(installation.environment | {"STREAMAPP_WORKER_URL": again.url})))
    return [check for check in found if check.state != "ok"]


def test_what_gets_lost_on_the_way_to_the_table_is_read_again(install: Install) -> None:
    installation = install()
    assert restore_with_losses(installation) == []
    assert "reading again" in installation.workers["one"].log


def test_without_restoring_in_order_rows_are_missing(install: Install) -> None:
    found = restore_with_losses(install(), "without_restoring_in_order")
    assert "are missing" in str(found)


# Records that pass before the streams' queues are cleared, called FLOW


def test_nothing_passes_until_all_is_resumed_together(install: Install) -> None:
    worker = install().worker("one", "watch_flow")
    worker.start()
    eventually(lambda: _has_told(worker, "after the rebuild, records wait"))
    assert "after the rebuild, records pass" not in worker.log


def test_stock_lets_records_pass_too_early(install: Install) -> None:
    worker = install().worker("one", "watch_flow", "without_flow")
    worker.start()
    eventually(lambda: _has_told(worker, "after the rebuild, records pass"))


def _has_told(worker: Worker, line: str, *, times: int = 1) -> None:
    assert worker.log.count(line) >= times


# A rebalance that is announced although the next one is pending, called REBUILD


def rebuilt_in_vain(installation: Installation, *sabotage: str) -> bool:
    """Announce one rebalance too many when a second worker joins; answer whether the first one believes it."""
    first = installation.worker("first", "early_alarm", *sabotage)
    first.start()
    installation.worker("second").start()
    first.wait_ready()
    eventually(lambda: _has_told(first, "alarm ends"))
    alarm = first.log.split("alarm begins")[-1].partition("alarm ends")[0]
    return "partition rebuilt" in alarm


def test_an_early_announcement_is_not_believed(install: Install) -> None:
    assert not rebuilt_in_vain(install())


def test_without_the_guard_it_is(install: Install) -> None:
    assert rebuilt_in_vain(install(), "without_rebuild_guard")


# An index that takes longer to rebuild than a session lasts


def restarted_with_many_keys(installation: Installation, kafka: Kafka, *sabotage: str) -> Worker:
    """A worker that takes over 2,000 keys, for 10 s."""
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    first = installation.worker("one")
    first.start()
    sent = installation.send(*[command(b"k%d" % n, not_before=tomorrow) for n in range(2000)])
    eventually(lambda: all_read(installation, kafka, sent), seconds=60)
    assert first.terminate() == 0
    second = installation.worker("two", "slow_rebuild", *sabotage)
    second.start(wait=False)
    return second


def test_heartbeats_go_on_while_the_index_is_rebuilt(install: Install, kafka: Kafka) -> None:
    worker = restarted_with_many_keys(install(partitions=1), kafka)
    worker.wait_ready()
    assert worker.log.count("partition rebuilt") == 1
    assert "tracked=2000" in worker.log


def test_in_one_go_the_session_runs_out_again_and_again(install: Install, kafka: Kafka) -> None:
    worker = restarted_with_many_keys(install(partitions=1), kafka, "without_portions")
    eventually(lambda: _has_told(worker, "partition rebuilt", times=2), seconds=60)


# Records that Kafka refuses


def test_a_refused_row_stops_the_worker_and_loses_nothing(install: Install, kafka: Kafka) -> None:
    installation = install(partitions=2)
    worker = installation.worker("one")
    worker.start()
    admin = AdminClient(kafka.client)
    _limit_changelog(admin, installation, "200")
    sent = installation.send(*commands(30))
    assert worker.wait() == 71
    assert sum(committed(installation, kafka).values()) == 0
    assert not installation.outcomes()
    _limit_changelog(admin, installation, "1048588")
    worker.start()
    endings = installation.endings(sent)
    assert {ending["status"] for ending in endings.values()} == {"succeeded"}


def _limit_changelog(admin: AdminClient, installation: Installation, size: str) -> None:
    entry = ConfigEntry("max.message.bytes", size, incremental_operation=AlterConfigOpType.SET)
    name = f"{installation.name}-dispatches-changelog"
    resource = ConfigResource(ConfigResource.Type.TOPIC, name, incremental_configs=[entry])
    for future in admin.incremental_alter_configs([resource]).values():
        future.result(10)


# Topics that are not what they were


def test_a_recreated_topic_is_refused(install: Install, kafka: Kafka) -> None:
    installation = install(partitions=1)
    worker = installation.worker("one")
    worker.start()
    installation.endings(installation.send(*commands(10)))
    assert worker.terminate() == 0
    _recreate(AdminClient(kafka.client), installation.name)  # Kafka forgets what was committed, too
    installation.send(*commands(10))
    worker.start(wait=False)
    assert worker.wait() == 2
    assert "deleted and created again" in worker.log


def set_offset(kafka: Kafka, group: str, topic: str, offset: int) -> None:
    """Commit for a group of which no worker runs, once Kafka knows that none does."""
    offsets = ConsumerGroupTopicPartitions(group, [TopicPartition(topic, 0, offset)])
    admin = AdminClient(kafka.client)

    def commit() -> None:
        (done,) = admin.alter_consumer_group_offsets([offsets])[group].result(10).topic_partitions
        assert done.error is None, done.error

    eventually(commit)


def start_behind_the_end(installation: Installation, kafka: Kafka, *sabotage: str) -> Worker:
    """Start a worker for which more is committed than the topic has."""
    set_offset(kafka, installation.name, installation.name, 7)
    worker = installation.worker("one", *sabotage)
    worker.start(wait=False)
    return worker


def test_a_topic_that_ends_before_what_was_committed_is_refused(install: Install, kafka: Kafka) -> None:
    worker = start_behind_the_end(install(partitions=1), kafka)
    assert worker.wait() == 2
    assert "deleted and created again" in worker.log


def test_without_looking_it_is_believed(install: Install, kafka: Kafka) -> None:
    worker = start_behind_the_end(install(partitions=1), kafka, "without_recreation_check")
    worker.wait_ready()


def test_recreated_results_and_control_are_read_from_their_beginning_and_nothing_runs_again(
    install: Install, kafka: Kafka
) -> None:
    """What docs/operations.md says of topics that were created again."""
    installation = install(partitions=1)
    worker = installation.worker("one")
    worker.start()
    installation.endings(installation.send(*commands(10)))
    assert worker.terminate() == 0
    again = [f"{installation.name}-{end}" for end in ("results", "control")]
    for topic in again:
        _recreate(AdminClient(kafka.client), topic)
        set_offset(kafka, installation.name, topic, 99)  # as after a move to another cluster: Kafka itself forgets it
    worker.start(wait=False)
    assert worker.wait() == 2
    assert "Keep the app id" in worker.log
    for topic in again:
        set_offset(kafka, installation.name, topic, 0)
    (late,) = installation.send(command(b"k0", id="late"))
    worker.start()
    eventually(lambda: all_read(installation, kafka, [late]))
    eventually(lambda: _check_run(installation, late))
    assert len(installation.runs()) == 11
    assert worker.terminate() == 0


def _check_run(installation: Installation, draft: Draft) -> None:
    assert installation.run_of(draft) is not None


def _recreate(admin: AdminClient, topic: str) -> None:
    admin.delete_topics([topic])[topic].result(10)

    def create() -> None:
        try:
            admin.create_topics([NewTopic(topic, 1, 1)])[topic].result(10)
        except Exception as error:
            raise AssertionError(error) from error  # Kafka still deletes

    eventually(create)


def test_added_partitions_are_refused_until_all_topics_have_them(install: Install, kafka: Kafka) -> None:
    installation = install(partitions=2)
    admin = AdminClient(kafka.client)
    admin.create_partitions([NewPartitions(installation.name, 3)])[installation.name].result(10)
    worker = installation.worker("one")
    worker.start(wait=False)
    assert worker.wait() == 2
    assert "partitions" in worker.log


def test_commands_are_not_taken_over_where_nobody_was_given_the_results(install: Install) -> None:
    worker = install(partitions=2).worker("one", "unknown_results")
    worker.start(wait=False)
    assert worker.wait() == 71
    assert "other partitions were given out" in worker.log
    assert "partition rebuilt" not in worker.log


def test_a_table_of_a_newer_release_is_refused(install: Install, kafka: Kafka) -> None:
    installation = install(partitions=1)
    producer = Producer(kafka.client)
    newer = b'{"v":%d}\n' % (VERSION + 1)
    producer.produce(
        f"{installation.name}-dispatches-changelog", key=row_key(Queued(b"k", 0)), value=newer, partition=0
    )
    assert producer.flush(10) == 0
    worker = installation.worker("one")
    worker.start(wait=False)
    assert worker.wait() == 2
    assert "newer release" in worker.log


def rebuilt_for_others(installation: Installation) -> str:
    """What a worker tells between giving its partitions up, in mid-recovery, and getting new ones."""
    first, second = installation.worker("first", "late_ends"), installation.worker("second", "late_to_join")
    first.start()
    second.start()
    eventually(lambda: _has_told(first, "Setting newly assigned partitions", times=2))
    installation.worker("third").start(wait=False)
    eventually(lambda: _has_told(first, "Setting newly assigned partitions", times=3), seconds=60)
    _, _, after = first.log.rpartition("Revoking previously assigned partitions")
    return after.partition("Setting newly assigned partitions")[0]


def test_partitions_that_were_given_up_in_mid_recovery_are_not_taken_over(install: Install) -> None:
    told = rebuilt_for_others(install())
    assert "Restore complete!" in told, "it came to the moment"
    assert "partition rebuilt" not in told


# A group that does not take a worker in, called GROUP


def start_with_a_session_that_kafka_refuses(installation: Installation, *sabotage: str) -> Worker:
    worker = installation.worker("one", *sabotage)
    worker.start(wait=False)
    return worker


def test_a_session_that_kafka_does_not_take_is_told(install: Install) -> None:
    worker = start_with_a_session_that_kafka_refuses(install(session_timeout="3s"))
    assert worker.wait() == 2
    assert "STREAMAPP_SESSION_TIMEOUT: Kafka takes only" in worker.log


def test_stock_would_stand_there_for_good(install: Install) -> None:
    worker = start_with_a_session_that_kafka_refuses(install(session_timeout="3s"), "without_group")
    with pytest.raises(AssertionError, match="has not ended"):
        worker.wait(15)
    assert "InvalidSessionTimeoutError" in worker.log


def test_a_session_may_be_longer_than_requests_usually_may_take(install: Install) -> None:
    install(session_timeout="2m").worker("one").start()


# A broker that goes away, called EXIT


@pytest.fixture(scope="module")
def own_kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kafka]:
    with Kafka(tmp_path_factory.mktemp("own-kafka")) as kafka:
        yield kafka


def test_an_outage_of_the_broker_loses_nothing(install: Install, own_kafka: Kafka) -> None:
    installation = install(kafka=own_kafka)
    worker = installation.worker("one", "short_grace")
    worker.start()
    sent = installation.send(*commands(60, seconds=0.1))
    eventually(lambda: _some_run(installation, sent))
    own_kafka.kill()
    worker.terminate()  # it can neither commit nor leave its group, and must not wait for that
    own_kafka.start()
    worker.start()
    endings = installation.endings(sent, seconds=60)
    assert {ending["status"] for ending in endings.values()} == {"succeeded"}


def questions(installation: Installation, own_kafka: Kafka, *sabotage: str) -> int:
    """How often a worker asks who leads partitions, in the first two seconds in which no broker answers."""
    worker = installation.worker("one", "leaderless", *sabotage)
    worker.start()
    sent = installation.send(*commands(60, seconds=0.1))
    eventually(lambda: _some_run(installation, sent))
    own_kafka.kill()
    try:
        return eventually(lambda: _asked(worker, seconds=2))
    finally:
        worker.kill()
        own_kafka.start()


def _asked(worker: Worker, seconds: float) -> int:
    said = [line for line in worker.log.splitlines() if "nobody told who leads" in line]
    times = [datetime.fromisoformat(line.split()[0]) for line in said]
    assert times, "it has not asked yet"
    until = times[0] + timedelta(seconds=seconds)
    assert times[-1] > until, "it is not over yet"
    return sum(at <= until for at in times)


def test_a_worker_does_not_ask_again_and_again_who_leads(install: Install, own_kafka: Kafka) -> None:
    assert questions(install(kafka=own_kafka), own_kafka) <= 2 * 2 * 10 + 2  # two clients, ten times a second each


def test_without_a_pause_it_would(install: Install, own_kafka: Kafka) -> None:
    assert questions(install(kafka=own_kafka), own_kafka, "without_pace") > 200


def test_without_a_grace_it_would_wait_for_the_broker(install: Install, own_kafka: Kafka) -> None:
    installation = install(kafka=own_kafka)
    worker = installation.worker("one", "rare_commits", "without_exit")
    worker.start()
    installation.endings(installation.send(*commands(4)))
    own_kafka.kill()
    worker.signal(signal.SIGTERM)
    try:
        with pytest.raises(AssertionError, match="has not ended"):
            worker.wait(12)
    finally:
        worker.kill()
        own_kafka.start()
