"""G1: one run for each command, and G4: nothing lost, though a worker is killed in the middle of its work."""

from collections.abc import Callable

import pytest

from streamapp.core.model import TERMINAL
from tests.support.avro_producer import AvroCommands
from tests.support.eventually import eventually
from tests.support.installation import Draft, Installation

COMMANDS = 40
KEYS = 10


@pytest.mark.timeout(300, func_only=True)
def test_a_worker_is_killed_in_the_middle(install: Callable[..., Installation]) -> None:
    site = install()
    one, two = site.start_workers("one", "two")
    avro = AvroCommands(site.registry_url, site.name)
    sent = site.send(*[avro.command(b"key-%d" % (n % KEYS), id=f"c-{n}", seconds=0.5) for n in range(COMMANDS)])
    eventually(lambda: check_ended(site, sent, 4), seconds=120)
    one.kill()
    assert check_ended(site, sent, 4) < COMMANDS, "too late to tell anything"
    eventually(lambda: check_ended(site, sent, 12), seconds=120)
    two.kill()
    one.start(wait=False)
    two.start(wait=False)
    endings = site.endings(sent, seconds=200)
    assert {ending["status"] for ending in endings.values()} == {"succeeded"}
    assert len(site.runs()) == COMMANDS
    assert site.violations() == []


def check_ended(site: Installation, sent: list[Draft], least: int) -> int:
    statuses = site.statuses(sent)
    ended = sum(statuses[status] for status in TERMINAL)
    assert ended >= least, f"{ended} have ended, not {least}: {statuses}"
    return ended
