"""Standbys on a real broker: one takes over without restoring, and its tables are what the changelogs say."""

import asyncio
from collections.abc import Callable

from streamapp.cli.checks import Check
from streamapp.cli.tables import tables_check
from streamapp.settings import load_settings
from tests.support.eventually import eventually
from tests.support.installation import Draft, Installation, command
from tests.support.tables import compared
from tests.support.worker import Worker

Install = Callable[..., Installation]

PARTITIONS = 4


def commands(count: int, first: int = 0) -> list[Draft]:
    return [command(b"k%d" % (n % 20), id=f"c{n}") for n in range(first, first + count)]


def in_step(installation: Installation, *workers: Worker, own: int = 2) -> None:
    """Each of the workers owns as many partitions, and its copies of all others lack nothing."""

    def check() -> None:
        for worker in workers:
            worker.wait_ready()
            status = worker.get("/api/v1/status").json()
            assert len(status["partitions"]) == own, status
            if len(workers) > 1:
                assert len(status["standbys"]) == PARTITIONS - own, status
            assert not any(status["standbys"].values()), status

    eventually(check, seconds=90)


def tables(installation: Installation, worker: Worker) -> list[Check]:
    """What the table check says of all copies, as a worker knows them."""
    environment = installation.environment | {"STREAMAPP_WORKER_URL": worker.url}
    return asyncio.run(tables_check(load_settings(environment)))


def wrong(checks: list[Check]) -> list[str]:
    return [f"{check.part}: {check.what}" for check in checks if check.state != "ok"]


def test_ownership_goes_to_the_standby_and_back(install: Install) -> None:
    installation = install(standby_replicas="1")
    one, two = installation.start_workers("one", "two")
    in_step(installation, one, two)
    sent = 0
    for leaving, staying in ((one, two), (two, one), (one, two)):
        installation.endings(installation.send(*commands(40, sent)), seconds=60)
        in_step(installation, one, two)
        checks = tables(installation, one)
        assert len(checks) == 2 * PARTITIONS
        assert wrong(checks) == []
        underway = installation.send(*commands(40, sent + 40))
        leaving.kill()
        in_step(installation, staying, own=PARTITIONS)
        installation.endings(underway, seconds=60)
        assert wrong(tables(installation, staying)) == []
        leaving.start()
        in_step(installation, one, two)
        sent += 80
    assert installation.violations() == []
    assert one.terminate() == two.terminate() == 0
    for worker in (one, two):
        copies = compared(installation, worker)
        assert copies.keys() == set(range(PARTITIONS))
        assert all(copy.equal for copy in copies.values()), copies


def test_a_worker_that_owns_nothing_follows_and_takes_over(install: Install) -> None:
    installation = install(partitions=1, standby_replicas="1")
    owner, follower = installation.worker("owner"), installation.worker("follower")
    owner.start()
    installation.endings(installation.send(*commands(20)))
    follower.start()
    eventually(lambda: _follows(follower), seconds=60)
    underway = installation.send(*commands(20, 20))
    owner.kill()
    installation.endings(underway, seconds=60)
    assert wrong(tables(installation, follower)) == []
    assert installation.violations() == []


def _follows(worker: Worker) -> None:
    status = worker.get("/api/v1/status").json()
    assert status["ready"], status
    assert (status["partitions"], status["standbys"]) == ([], {"0": 0}), status


def take_over_after_losses(installation: Installation, *sabotage: str) -> list[str]:
    """Let a worker follow another one's changelogs, of which much gets lost on the way, and take over.

    Answers what is wrong with the tables that it had followed.
    """
    one = installation.worker("one")
    one.start()
    installation.endings(installation.send(*commands(80)))
    two = installation.worker("two", "lost_changelog", *sabotage)
    two.start()
    in_step(installation, one, two)
    followed = {f"table {number}" for number in two.get("/api/v1/status").json()["standbys"]}
    one.kill()
    in_step(installation, two, own=PARTITIONS)
    return wrong([check for check in tables(installation, two) if check.part in followed])


def test_what_gets_lost_on_the_way_to_a_standby_is_read_again(install: Install) -> None:
    installation = install(standby_replicas="1")
    assert take_over_after_losses(installation) == []
    assert installation.violations() == []


def test_without_following_in_order_a_standby_lacks_rows(install: Install) -> None:
    found = take_over_after_losses(install(standby_replicas="1"), "without_restoring_in_order")
    assert "are missing" in str(found)
