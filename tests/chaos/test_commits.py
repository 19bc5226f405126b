"""That chaos notices what is committed too early, on each of the three logs, and nothing where all is well."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from tests.support.chaos_commits import Recorded, unrecorded
from tests.support.eventually import eventually
from tests.support.installation import Draft, Installation, command
from tests.support.stack import Kafka
from tests.support.tables import committed_of_all

Install = Callable[..., Installation]

EARLY = {
    "command": ("very_slow_results", "without_waiting_for_sends"),
    "result": ("very_slow_changelog", "without_waiting_for_rows"),
    "instruction": ("very_slow_changelog", "without_waiting_for_rows"),
}
"""For each log, a way to commit a record before what follows from it is on record."""


def judged(installation: Installation, kafka: Kafka, recorded: Recorded) -> list[str]:
    """What the judge says now."""
    offsets = committed_of_all(installation, kafka)
    recorded.look(installation)
    return unrecorded(offsets, recorded)


def some_of_all_kinds() -> list[Draft]:
    """Commands that run, that fail, that are none, and that wait for so long that their deadline passes."""
    now = datetime.now(UTC)
    late = {"not_before": now + timedelta(hours=1), "deadline": now + timedelta(seconds=4)}
    runs = [command(b"k%d" % n, id=f"c{n}", fail=n % 5 == 0) for n in range(20)]
    return [*runs, Draft(value=b"no command"), *[command(b"late", id=f"late{n}", **late) for n in range(3)]]


@pytest.mark.parametrize("log", EARLY)
def test_what_is_committed_too_early_is_noticed(install: Install, kafka: Kafka, log: str) -> None:
    installation, recorded = install(partitions=1), Recorded()
    installation.worker("one", *EARLY[log]).start()
    installation.send(*some_of_all_kinds())
    eventually(lambda: _some([found for found in judged(installation, kafka, recorded) if f" {log} " in found]))


def test_nothing_is_said_where_all_is_well(install: Install, kafka: Kafka) -> None:
    installation, recorded = install(partitions=1), Recorded()
    installation.worker("one", "slow_changelog").start()
    sent = installation.send(*some_of_all_kinds())

    def check_all_committed() -> None:
        assert judged(installation, kafka, recorded) == []
        ends = {
            log: 1 + max((offset for _, offset in places), default=-1)
            for log, places in (
                ("commands", {draft.place for draft in sent}),
                ("results", recorded.observations),
                ("control", recorded.deadlines),
            )
        }
        offsets = committed_of_all(installation, kafka)
        assert all(0 < end <= offsets[log][0] for log, end in ends.items()), (ends, offsets)

    installation.endings(sent, seconds=60)
    eventually(check_all_committed)


def _some(found: list[str]) -> None:
    assert found
