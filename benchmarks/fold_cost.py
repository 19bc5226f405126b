"""Measures what the log-first fold costs beside Faust's stock order. Reads: a broker of its own. Writes: stdout.

    python -m benchmarks.fold_cost [--commands 3000] [--repeats 3]

Commands that must wait are only accepted: two rows and one outcome each. The orders take turns, A B A B …, so that a
machine that gets slower or faster meanwhile does both the same harm; compare the ratios, not the figures.
"""

import argparse
import statistics
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psutil

from tests.support.airflow_api import AirflowApi
from tests.support.eventually import eventually
from tests.support.installation import Draft, Installation, command
from tests.support.stack import Kafka

ORDERS = {"log first": (), "stock order": ("without_log_first",)}
IDLE_COMMANDS = 100
IDLE_PER_SECOND = 20.0


def main() -> None:
    """Measure both orders in turn."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--commands", type=int, default=3000)
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    found: dict[str, list[dict[str, float]]] = {order: [] for order in ORDERS}
    with tempfile.TemporaryDirectory() as folder, Kafka(Path(folder, "kafka")) as kafka:
        for repeat in range(arguments.repeats):
            for order, sabotage in ORDERS.items():
                name = f"cost-{repeat}-{order.replace(' ', '-')}"
                found[order].append(measure(name, sabotage, Path(folder), kafka, arguments.commands))
    print(f"median of {arguments.repeats} (smallest to largest); {arguments.commands} commands in a burst")
    for figure in next(iter(found.values()))[0]:
        values = {order: sorted(run[figure] for run in runs) for order, runs in found.items()}
        cells = [f"{order} {statistics.median(v):.2f} ({v[0]:.2f} to {v[-1]:.2f})" for order, v in values.items()]
        ratio = statistics.median(values["log first"]) / statistics.median(values["stock order"])
        print(f"{figure}: {', '.join(cells)}; ratio {ratio:.2f}")


def measure(name: str, sabotage: tuple[str, ...], folder: Path, kafka: Kafka, commands: int) -> dict[str, float]:
    """One worker, fresh topics: a burst, then a trickle."""
    nobody = AirflowApi("http://127.0.0.1:1", "nobody", "nothing")
    with Installation(name, folder, kafka, nobody, partitions=4) as site:
        site.create_topics()
        worker = site.worker("one", *sabotage)
        worker.start()
        process = psutil.Process(worker.pid)
        cpu_before, begun = process.cpu_times(), time.monotonic()
        site.send(*waiting("burst", commands))
        eventually(lambda: accepted(site, commands), seconds=300, every_seconds=0.2)
        seconds = time.monotonic() - begun
        cpu = sum(process.cpu_times()[:2]) - sum(cpu_before[:2])
        rows = len(site.records_of(f"{name}-dispatches-changelog"))
        for draft in waiting("trickle", IDLE_COMMANDS):
            site.send(draft)
            time.sleep(1 / IDLE_PER_SECOND)
        eventually(lambda: accepted(site, commands + IDLE_COMMANDS))
        delays = trickle_delays_ms(site)
        worker.terminate()
    return {
        "changelog records per command": rows / commands,
        "CPU ms per command": 1000 * cpu / commands,
        "commands a second": commands / seconds,
        "ms from command to outcome at 20 a second, p50": statistics.median(delays),
        "ms from command to outcome at 20 a second, p99": delays[int(len(delays) * 0.99)],
    }


def waiting(prefix: str, count: int) -> list[Draft]:
    """Commands that nothing follows from for a day."""
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    return [command(b"k%d" % (n % 200), id=f"{prefix}-{n}", not_before=tomorrow) for n in range(count)]


def accepted(site: Installation, count: int) -> None:
    """All of them have their first outcome."""
    there = len(site.records("-results"))
    assert there >= count, f"{there} of {count}"


def trickle_delays_ms(site: Installation) -> list[float]:
    """From the command's timestamp to its outcome's, as Kafka has them."""
    sent = {record.place: record.timestamp_ms for record in site.records()}
    return sorted(
        float(outcome["record"].timestamp_ms - sent[outcome["source"]["partition"], outcome["source"]["offset"]])
        for outcome in site.outcomes()
        if outcome["command_id"].startswith("trickle")
    )


if __name__ == "__main__":
    main()
