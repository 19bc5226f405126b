"""The order of a fold on a real broker: a worker that dies at the worst moment leaves neither phantoms nor lies."""

from collections.abc import Callable

from tests.support.eventually import eventually
from tests.support.installation import Installation, command, place_of
from tests.support.tables import changelog, compared, unlogged_effects

COMMANDS = 120


def die_while_the_changelog_is_slow(installation: Installation, deaths: int, *sabotage: str) -> tuple[int, int]:
    """Kill a worker while rows are on their way; count phantom rows and outcomes whose rows nobody has."""
    phantoms = lies = 0
    for death in range(deaths):
        worker = installation.worker("one", "slow_changelog", *sabotage)
        worker.start()
        before = len(installation.outcomes()), len(changelog(installation))
        installation.send(*[command(f"k{n % 30}".encode(), id=f"c{death}-{n}") for n in range(COMMANDS)])

        def under_way(before: tuple[int, int] = before) -> None:
            assert (len(installation.outcomes()), len(changelog(installation))) > before

        eventually(under_way, every_seconds=0.02)
        worker.kill()
        phantoms += sum(found.phantom + found.different for found in compared(installation, worker).values())
        lies += len(unlogged_effects(installation))
    return phantoms, lies


def test_neither_rows_nor_effects_are_ahead_of_the_changelog(install: Callable[..., Installation]) -> None:
    installation = install(partitions=2)
    assert die_while_the_changelog_is_slow(installation, 2) == (0, 0)
    installation.worker("one").start()
    sent = {record.place for record in installation.records()}
    eventually(lambda: _ended(installation, sent), seconds=60)


def test_the_stock_order_would_leave_phantoms_and_lies(install: Callable[..., Installation]) -> None:
    phantoms, lies = die_while_the_changelog_is_slow(install(partitions=2), 1, "without_log_first")
    assert phantoms > 0
    assert lies > 0


def _ended(installation: Installation, sent: set[tuple[int, int]]) -> None:
    assert {place_of(outcome) for outcome in installation.outcomes() if outcome["status"] == "succeeded"} == sent
