"""G2: runs of one key never overlap and start in offset order; also G1 and G3, since one history tells all three."""

import random
from collections import Counter
from collections.abc import Callable

import pytest

from tests.support.avro_producer import AvroCommands
from tests.support.installation import Installation

COMMANDS = 200
KEYS = 20


@pytest.mark.timeout(500, func_only=True)
def test_skewed_keys_through_two_workers(install: Callable[..., Installation]) -> None:
    site = install()
    workers = site.start_workers("one", "two")
    chance = random.Random(20)
    keys = chance.choices([b"key-%d" % n for n in range(KEYS)], [1 / (n + 1) for n in range(KEYS)], k=COMMANDS)
    avro = AvroCommands(site.registry_url, site.name)
    drafts = [avro.command(key, id=f"c-{n}", seconds=0, fail=n % 20 == 7) for n, key in enumerate(keys)]
    sent = site.send(*drafts)
    endings = site.endings(sent, seconds=400)
    assert Counter(ending["status"] for ending in endings.values()) == {"succeeded": 190, "failed": 10}
    assert site.violations() == []
    assert len(site.runs()) == COMMANDS
    for worker in workers:
        assert "run created" in worker.log, f"{worker.name} had no share"
