"""Reads: Airflow's runs, the topics, the live tables. Writes: nothing. What has to hold after every fault."""

import asyncio
from collections.abc import Callable
from typing import TypeVar

import httpx
from confluent_kafka import KafkaException

from streamapp.cli.tables import tables_check
from streamapp.core.model import TERMINAL
from streamapp.settings import load_settings
from tests.support.chaos_commits import Recorded, unrecorded
from tests.support.chaos_load import Place
from tests.support.chaos_scene import Scene
from tests.support.installation import place_of
from tests.support.tables import committed_of_all

T = TypeVar("T")

ENDED_WITHIN_SECONDS = 300.0
WRONG = "rows are missing"
"""What the table check says of a table that does not equal its rebuild, whatever the figures."""


class Told:
    """What the results topic says of each command; each look goes on where the last one ended."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._seen = 0
        self.status: dict[Place, str] = {}
        """Of each command the ending, or what was told last."""

    def look(self) -> None:
        """Read on."""
        outcomes = _answered(self._scene.site.outcomes)
        for outcome in outcomes[self._seen :]:
            if self.status.get(place_of(outcome)) not in TERMINAL:
                self.status[place_of(outcome)] = outcome["status"]
        self._seen = len(outcomes)

    def check_ended(self) -> None:
        """Fail while a command has no ending."""
        self.look()
        sent = set(self._scene.load.sent)
        missing = {place: self.status.get(place, "unread") for place in sent if self.status.get(place) not in TERMINAL}
        shown = dict(sorted(missing.items())[:8])
        assert not missing, f"{len(missing)} of {len(sent)} have no ending; (partition, offset): {shown}"


def forgotten(scene: Scene, recorded: Recorded) -> list[str]:
    """Committed records of which nothing is on record: at any time, also while everything goes wrong."""
    offsets = scene.crew.wait(lambda: _answered(lambda: committed_of_all(scene.site, scene.broker)))
    scene.crew.wait(lambda: _answered(lambda: recorded.look(scene.site)))
    return unrecorded(offsets, recorded)


def _answered(ask: Callable[[], T]) -> T:
    """Take a broker that has just come back, and does not know its groups yet, for a condition to be waited for."""
    try:
        return ask()
    except KafkaException as error:
        raise AssertionError(f"the broker does not answer: {error!r}") from error


def settle(scene: Scene, told: Told) -> None:
    """Stop sending, and wait until everybody takes part and every command has its ending."""
    scene.load.pause()
    scene.crew.wait(scene.load.check_acknowledged)
    scene.crew.wait(scene.crew.check_ready, 180)
    scene.crew.wait(told.check_ended, ENDED_WITHIN_SECONDS)


def history(scene: Scene) -> list[str]:
    """What breaks a guarantee, by Airflow's own account and the topics."""
    scene.site.airflow.log_out()  # Airflow may have forgotten the token
    return scene.crew.wait(lambda: _answered(scene.site.violations))


def tables(scene: Scene) -> list[str]:
    """Live tables that do not equal their rebuilds from the changelog."""
    return scene.crew.wait(lambda: _compared(scene), 180)


def _compared(scene: Scene) -> list[str]:
    scene.crew.check_ready()
    scene.crew.check_all_owned(scene.partitions)
    settings = scene.site.environment | {"STREAMAPP_WORKER_URL": scene.crew.workers[0].url}
    try:
        found = asyncio.run(tables_check(load_settings(settings)))
    except httpx.HTTPError as error:
        raise AssertionError(f"a worker does not answer: {error!r}") from error
    wrong = [f"{check.part}: {check.what}" for check in found if WRONG in check.what]
    unclear = [check for check in found if check.state != "ok"]
    assert wrong or not unclear, unclear
    assert len(found) == scene.partitions * (1 + scene.standbys), found
    return wrong
