"""Measures memory and time of a worker's core beside much that is stored. Writes: databases in a folder, and stdout.

    python -m benchmarks.bounded [--commands 60000]

The real folds, table state, index and pruner on a real RocksDB; Kafka answers at once and keeps nothing. Each scene is
filled by one process and measured in another, so that what filling took is not counted. What the operations are, and
that they do not change, is a test: tests/unit/dispatch/test_bounded.py.
"""

import argparse
import gc
import multiprocessing
import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import psutil

from streamapp.core.model import Status
from tests.support.builders import entry
from tests.support.counted import RETENTION, CountedRocks, Stage

MIB = 2**20
WARM_UP = 30_000
"""Commands until write buffers and caches are as full as they get."""
SAMPLES = 6
KEYS = 200


def remembered(stage: Stage) -> None:
    stage.fill(ended=1_000_000)


def hot(stage: Stage) -> None:
    stage.fill(queued=100_000)


def blocked(stage: Stage) -> None:
    stage.fill(queued=100_000, first=entry(status=Status.BLOCKED, attempt=1))


SCENES: dict[str, Callable[[Stage], None]] = {
    "empty table": lambda _: None,
    "1,000,000 ended commands": remembered,
    "1,000,000 ended commands, being forgotten": remembered,
    "100,000 commands in the queue of one key": hot,
    "100,000 commands behind a blocked one": blocked,
}


def main() -> None:
    """Measure scene after scene."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--commands", type=int, default=60_000)
    arguments = parser.parse_args()
    print(f"after {WARM_UP} commands to warm up, {arguments.commands} commands")
    for name in SCENES:
        with tempfile.TemporaryDirectory() as folder:
            in_a_process(fill, name, Path(folder, "table.db"))
            found = in_a_process(measure, name, Path(folder, "table.db"), arguments.commands)
        sizes = [round(size / MIB) for size in found["rss"]]
        print(
            f"{name}: RSS {sizes[0]} MiB, then {sizes[1:]} MiB; {found['us']:.0f} us of CPU for a command; "
            f"{found['forgotten']} forgotten; table readers {found['readers'] / MIB:.1f} MiB",
            flush=True,
        )


def fill(name: str, path: Path) -> None:
    """Prepare the database of a scene."""
    with closing(CountedRocks(path)) as ledger:
        SCENES[name](Stage(ledger))
        ledger.database.flush()


def measure(name: str, path: Path, commands: int) -> dict[str, Any]:
    """Let commands flow; look at the memory now and then."""
    with closing(CountedRocks(path)) as ledger:
        stage = Stage(ledger)
        stage.offset = 2_000_000
        if "forgotten" in name:
            stage.clock.advance(RETENTION)
        on_hot_key = "queue of one key" in name
        flow(stage, WARM_UP, on_hot_key=on_hot_key)
        sizes, micros = [resident()], []
        for _ in range(SAMPLES):
            begun = time.process_time()
            flow(stage, commands // SAMPLES, on_hot_key=on_hot_key)
            micros.append((time.process_time() - begun) / (commands // SAMPLES) * 1e6)
            sizes.append(resident())
        return {
            "rss": sizes,
            "us": statistics.median(micros),
            "forgotten": stage.pruner.pruned,
            "readers": ledger.database.property_int_value("rocksdb.estimate-table-readers-mem"),
        }


def flow(stage: Stage, commands: int, *, on_hot_key: bool) -> None:
    """Whole commands, one after another, with the pruner's turns between."""
    for number in range(commands):
        stage.accept(b"hot" if on_hot_key else b"key %d" % (number % KEYS))
        stage.end(stage.start())
        if number % 50 == 0:
            stage.prune()


def resident() -> int:
    """What this process has in memory."""
    gc.collect()
    size: int = psutil.Process().memory_info().rss
    return size


def in_a_process(work: Callable[..., Any], *arguments: Any) -> Any:
    """What it returns when a fresh process does it."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(work, arguments)


if __name__ == "__main__":
    main()
