"""What may follow what in a fold, on a real broker: an offset is committed only once everything has arrived."""

from collections.abc import Callable

import pytest
from confluent_kafka import Producer

from streamapp.core.model import Outcome, Reason, RunState, Source, Status
from streamapp.wire.outcomes import OutcomeCodec
from tests.support.eventually import eventually
from tests.support.installation import Draft, Installation, command, place_of
from tests.support.stack import Kafka
from tests.support.tables import committed
from tests.support.worker import Worker

Install = Callable[..., Installation]

NOBODY = "http://127.0.0.1:1"
"""An Airflow that does not answer."""
BAD_FIRST = [Draft(value=b"no command"), *[command(b"k%d" % n, id=f"c{n}") for n in range(20)]]


def forgotten(installation: Installation, kafka: Kafka, *sabotage: str) -> list[int]:
    """Kill a worker once something is committed; answer the committed records of which nothing, or too little, came."""
    worker = installation.worker("one", *sabotage)
    worker.start()
    installation.send(*BAD_FIRST)
    eventually(lambda: _some(committed(installation, kafka)))
    worker.kill()
    told = {place_of(outcome)[1] for outcome in installation.outcomes()}
    buried = {dict(record.headers)["dlq.offset"] for record in installation.dead_letters()}
    done = range(committed(installation, kafka)[0])
    return [offset for offset in done if offset not in told or (offset == 0 and b"0" not in buried)]


def _some(offsets: dict[int, int]) -> None:
    assert offsets[0] > 0


@pytest.mark.parametrize("fault", ["very_slow_changelog", "very_slow_results", "very_slow_dead_letters"])
def test_what_is_committed_has_arrived(install: Install, kafka: Kafka, fault: str) -> None:
    assert forgotten(install(partitions=1), kafka, fault) == []


@pytest.mark.parametrize(
    ("fault", "left_out"),
    [
        ("very_slow_changelog", "without_waiting_for_rows"),
        ("very_slow_results", "without_waiting_for_sends"),
        ("very_slow_dead_letters", "without_ack_order"),
    ],
)
def test_without_each_wait_something_is_forgotten(install: Install, kafka: Kafka, fault: str, left_out: str) -> None:
    assert forgotten(install(partitions=1), kafka, fault, left_out) != []


# Partitions are given up only with nothing under way, called DRAIN


def hand_over(installation: Installation, *sabotage: str) -> tuple[Worker, list[Draft]]:
    """Let a second worker join while the first has rows on their way; answer the first, and what was sent."""
    first = installation.worker("first", "slow_changelog", *sabotage)
    first.start()
    sent: list[Draft] = []

    def send_until_it_has_joined() -> None:
        numbers = range(len(sent), len(sent) + 10)
        sent.extend(installation.send(*[command(b"k%d" % (n % 200), id=f"c{n}", seconds=0.5) for n in numbers]))
        assert not first.running or first.log.count("Setting newly assigned partitions") > 1

    installation.worker("second").start(wait=False)
    eventually(send_until_it_has_joined, seconds=60, every_seconds=0.2)
    return first, sent


def test_a_join_under_load_ends_nobody(install: Install) -> None:
    installation = install()
    first, sent = hand_over(installation)
    installation.endings(sent, seconds=90)
    assert installation.violations() == []
    assert first.running


def test_without_draining_the_worker_has_to_leave(install: Install) -> None:
    first, _ = hand_over(install(), "without_drain")
    assert first.wait(seconds=60) != 0


# What the worker before has seen is folded first


def take_over_after_a_refusal(installation: Installation, kafka: Kafka, *sabotage: str) -> str:
    """Let a worker die whose report of a refusal nobody has read yet; answer how its command ends with the next one."""
    (draft,) = installation.send(command(b"k", id="refused"))
    before = installation.worker("before", airflow_url=NOBODY)
    before.start()
    eventually(lambda: _accepted(installation))
    before.kill()
    (accepted,) = installation.outcomes()
    seen = Outcome(
        command_id="refused",
        key=b"k",
        command=accepted["command"],
        dag_id=accepted["dag_id"],
        dag_run_id=None,
        round=1,
        attempt=1,
        status=Status.RUN_ENDED,
        reason=Reason.REFUSED_BY_AIRFLOW,
        result=RunState.NOT_CREATED,
        at=accepted["at"],
        source=Source(installation.name, *draft.place),
    )
    record = OutcomeCodec(None, "").encode(seen)
    producer = Producer(kafka.client)
    producer.produce(f"{installation.name}-results", key=record.key, value=record.value, partition=0)
    assert producer.flush(10) == 0
    installation.worker("after", *sabotage).start()
    status: str = installation.ending(draft)["status"]
    return status


def _accepted(installation: Installation) -> None:
    assert [outcome["status"] for outcome in installation.outcomes()] == ["accepted"]


def test_a_refusal_that_was_not_read_yet_is_folded_first(install: Install, kafka: Kafka) -> None:
    installation = install(partitions=1)
    assert take_over_after_a_refusal(installation, kafka) == "rejected"
    assert installation.runs() == []


def test_without_catching_up_a_rejected_command_runs(install: Install, kafka: Kafka) -> None:
    installation = install(partitions=1)
    assert take_over_after_a_refusal(installation, kafka, "without_catching_up") == "rejected"
    assert len(installation.runs()) == 1
