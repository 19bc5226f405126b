"""Topics that change under a worker, on a real broker: created again, grown, emptied by retention, cut off."""

import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from confluent_kafka import Consumer, ConsumerGroupTopicPartitions, TopicPartition
from confluent_kafka.admin import AdminClient, NewPartitions

from streamapp.kafka import recreated
from tests.support.airflow_api import FakeAirflowProcess
from tests.support.eventually import eventually
from tests.support.installation import Draft, Installation, command
from tests.support.stack import Kafka
from tests.support.tables import committed
from tests.support.worker import Worker

Install = Callable[..., Installation]

CHANGELOG = "-dispatches-changelog"
OLD, NEW = 10, 30
"""Commands before a topic is created again, and after that."""


def commands(name: str, count: int) -> list[Draft]:
    """Each with a key of its own: the table knows none of the others at these offsets."""
    return [command(f"{name}{n}".encode(), id=f"{name}{n}") for n in range(count)]


def at_work(installation: Installation, kafka: Kafka, *sabotage: str) -> Worker:
    """A worker that has done and committed what there was."""
    worker = installation.worker("one", *sabotage)
    worker.start()
    installation.endings(installation.send(*commands("old", OLD)))
    eventually(lambda: check_committed(installation, kafka, OLD))
    return worker


def check_committed(installation: Installation, kafka: Kafka, offset: int) -> None:
    assert committed(installation, kafka) == {0: offset}


def recreate(installation: Installation, kafka: Kafka, end: str = "") -> None:
    """Delete one of its topics and create it again."""
    name, admin = installation.name + end, AdminClient(kafka.client)
    admin.delete_topics([name])[name].result(10)
    eventually(lambda: check_gone(admin, name))
    installation.create_topics()


def check_gone(admin: AdminClient, name: str) -> None:
    assert name not in admin.list_topics(timeout=10).topics


def recreate_while_frozen(installation: Installation, kafka: Kafka, worker: Worker, end: str, count: int) -> None:
    """A worker that looks away for a moment finds a topic of the old name; Kafka's client sees no change."""
    worker.freeze()
    thawed_at = time.monotonic() + 1.5 * recreated.FRESH.total_seconds()
    recreate(installation, kafka, end)
    installation.send(*commands("new", count))
    time.sleep(max(0.0, thawed_at - time.monotonic()))
    worker.thaw()


def commit(installation: Installation, kafka: Kafka, offset: int, mark: str = "") -> None:
    """Commit for commands, once Kafka knows that no worker runs; by hand, without a mark."""
    place = TopicPartition(installation.name, 0, offset, mark)
    offsets = ConsumerGroupTopicPartitions(installation.name, [place])

    admin = AdminClient(kafka.client)

    def done() -> None:
        answer = admin.alter_consumer_group_offsets([offsets])[installation.name].result(10)
        assert answer.topic_partitions[0].error is None, answer.topic_partitions

    eventually(done)


def mark_of(installation: Installation, kafka: Kafka) -> str:
    """What the worker has committed beside its offset."""
    consumer = Consumer({**kafka.client, "group.id": installation.name})
    try:
        (found,) = consumer.committed([TopicPartition(installation.name, 0)], timeout=20)
    finally:
        consumer.close()
    return found.metadata or ""


# Created again while a worker runs


@pytest.mark.parametrize("count", [OLD // 2, NEW])
@pytest.mark.parametrize(
    ("end", "advice"), [("", "Use a new app id"), ("-results", "--to-earliest"), ("-control", "--to-earliest")]
)
def test_a_topic_that_is_created_again_under_a_worker_ends_it(
    install: Install, kafka: Kafka, end: str, advice: str, count: int
) -> None:
    """Also where the new one has grown beyond what was read of the old one; and no command of it is run."""
    installation = install(partitions=1)
    worker = at_work(installation, kafka)
    recreate_while_frozen(installation, kafka, worker, end, count)
    assert worker.wait() == 2
    assert re.search(f"{installation.name}{end} has the id .* the topic was deleted and created again", worker.log)
    assert advice in worker.log
    assert end or len(installation.runs()) == OLD


def test_without_looking_commands_are_lost_for_good(install: Install, kafka: Kafka) -> None:
    installation = install(partitions=1)
    worker = at_work(installation, kafka, "without_recreation_check")
    recreate_while_frozen(installation, kafka, worker, "", NEW)
    eventually(lambda: check_committed(installation, kafka, NEW))
    eventually(lambda: check_runs(installation, NEW))  # ten before, and twenty of thirty after that
    assert worker.running


def check_runs(installation: Installation, count: int) -> None:
    assert len(installation.runs()) == count


def test_a_worker_that_has_nothing_to_do_sees_that_its_changelog_was_created_again(
    install: Install, kafka: Kafka
) -> None:
    installation = install(partitions=1)
    worker = at_work(installation, kafka)
    worker.freeze()
    recreate(installation, kafka, CHANGELOG)
    worker.thaw()
    assert worker.wait() == 2
    assert "--to-current" in worker.log


def test_a_deleted_topic_is_named_at_the_next_start(install: Install, kafka: Kafka) -> None:
    installation = install(partitions=1)
    worker = at_work(installation, kafka)
    admin = AdminClient(kafka.client)
    admin.delete_topics([installation.name])[installation.name].result(10)
    assert worker.wait() == 71
    worker.start(wait=False)
    assert worker.wait() == 2
    assert f"{installation.name}: does not exist" in worker.log


# Created again while no worker runs


def start_after_a_late_commit(installation: Installation, kafka: Kafka, *sabotage: str) -> Worker:
    """Kafka forgets the offsets of a deleted topic. A worker that runs may commit its own after that."""
    worker = at_work(installation, kafka, *sabotage)
    assert worker.terminate() == 0
    mark = mark_of(installation, kafka)
    recreate(installation, kafka)
    installation.send(*commands("new", NEW))
    commit(installation, kafka, OLD, mark)
    worker.start(wait=False)
    return worker


def test_a_commit_tells_which_topic_it_was_made_for(install: Install, kafka: Kafka) -> None:
    installation = install(partitions=1)
    worker = start_after_a_late_commit(installation, kafka)
    assert worker.wait() == 2
    assert "at the last commit: the topic was deleted and created again" in worker.log
    assert len(installation.runs()) == OLD


def test_without_a_look_at_it_the_first_commands_are_lost(install: Install, kafka: Kafka) -> None:
    installation = install(partitions=1)
    start_after_a_late_commit(installation, kafka, "without_recreation_check")
    eventually(lambda: check_committed(installation, kafka, NEW))
    eventually(lambda: check_runs(installation, NEW))


@pytest.mark.parametrize("kept", [True, False])
def test_a_changelog_that_was_created_again_is_refused_until_told_otherwise(
    install: Install, kafka: Kafka, *, kept: bool
) -> None:
    """Whether the data directory is still there or not; and what docs/operations.md says of it."""
    installation = install(partitions=1)
    worker = at_work(installation, kafka)
    assert worker.terminate() == 0
    recreate(installation, kafka, CHANGELOG)
    if not kept:
        worker.forget_data()
    worker.start(wait=False)
    assert worker.wait() == 2
    assert f"{CHANGELOG} " in worker.log
    assert "deleted and created again" in worker.log
    if kept:
        worker.forget_data()
    commit(installation, kafka, OLD)
    worker.start()
    installation.endings(installation.send(*commands("new", 1)))
    assert len(installation.runs()) == OLD + 1


# More partitions, and fewer records


def test_added_partitions_are_seen_within_seconds(install: Install, kafka: Kafka) -> None:
    """Kafka's client looks every five minutes; until then nobody would read them."""
    installation = install(partitions=1)
    worker = at_work(installation, kafka)
    admin = AdminClient(kafka.client)
    admin.create_partitions([NewPartitions(installation.name, 2)])[installation.name].result(10)
    assert worker.wait() == 2
    assert "these topics must have the same number of partitions" in worker.log


def test_records_that_retention_took_before_they_were_read_are_told(install: Install, kafka: Kafka) -> None:
    installation = install(partitions=1)
    worker = at_work(installation, kafka)
    assert worker.terminate() == 0
    sent = installation.send(*commands("new", NEW))
    place, admin = TopicPartition(installation.name, 0, OLD + 20), AdminClient(kafka.client)
    admin.delete_records([place])[place].result(10)
    worker.start()
    installation.endings(sent[20:])
    told = f"ERROR .*up to 20 records of {installation.name} partition 0, from offset {OLD} on, were deleted before"
    eventually(lambda: check_told(worker, told))
    assert len(installation.runs()) == OLD + NEW - 20


def check_told(worker: Worker, pattern: str) -> None:
    assert re.search(pattern, worker.log), worker.log_tail


@pytest.fixture
def own_kafka(tmp_path: Path) -> Iterator[Kafka]:
    with Kafka(tmp_path / "kafka") as kafka:
        yield kafka


def test_a_broker_that_has_lost_what_was_read_is_found_out(
    own_kafka: Kafka, airflow: FakeAirflowProcess, tmp_path: Path
) -> None:
    """As after an unclean election: the topic is the same, and shorter."""
    with Installation("lossy", tmp_path, own_kafka, airflow, partitions=1) as installation:
        installation.create_topics()
        worker = at_work(installation, own_kafka)
        own_kafka.stop()
        (directory,) = own_kafka.config.state.rglob(f"{installation.name}-0")
        for file in directory.iterdir():
            if file.name != "partition.metadata":
                file.unlink()
        own_kafka.start()
        installation.send(*commands("new", 5))
        assert worker.wait() == 2
        assert "was read up to offset 10, but it ends at 5: a broker has lost records" in worker.log
        assert len(installation.runs()) == OLD
