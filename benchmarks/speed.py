"""Measures how fast commands go through everything but Airflow. Reads: a broker of its own. Writes: stdout.

    python -m benchmarks.speed [--commands 10000] [--workers 1 2 4] [--repeats 3] [--apart | --busy 4] [--rate 50]
                               [--pad 200000]

Real Kafka, real workers; their Airflow answers at once, in their own process (benchmarks/instant_worker.py). Commands
of many keys and DAGs are sent in one burst, or at a rate for each worker, and go all the way: taken in, started, seen
to have ended. Broker and workers share the processors of this machine: CPU for a command tells more than commands a
second. With `--apart` the workers share one processor, and broker and benchmark another one, however many workers there
are. With `--busy 4` there are always four busy processes: beside fewer workers others compute, without Kafka, so
that one worker has to share processors as four have to.
"""

import argparse
import json
import multiprocessing
import select
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Self

import psutil
from confluent_kafka import Consumer, TopicPartition

from streamapp import processor
from streamapp.core.model import Status
from tests.simulator.plan import make_plan
from tests.simulator.world import simulate
from tests.support.airflow_api import AirflowApi
from tests.support.eventually import eventually
from tests.support.installation import Draft, Installation, command, place_of
from tests.support.stack import Kafka
from tests.support.topics_reader import LATEST
from tests.support.worker import Worker

PARTITIONS = 8
KEYS = 2000
DAGS = 200
"""No DAG has more than 16 runs outstanding; many DAGs, and the cap is no bound here."""
MEASURED = "run"
"""What ids of the commands begin with that count; others went before, to warm up."""
OUTCOMES = 4
"""Of a whole command: accepted, triggered, run_ended, succeeded."""
SLICE_SECONDS = 0.01
"""At a rate, so often the commands are sent that are due."""
BROKERS, WORKERS = [0], [1]
"""The processors of each, where they are apart."""
SETTLED_SECONDS = 5.0
"""After the first commands: what a take-over brings with it, such as a walk through the rows of each partition."""
MIB = 2**20


class InstantWorker(Worker):
    """A worker that needs no Airflow."""

    def __init__(self, name: str, directory: Path, environment: dict[str, str]) -> None:
        self.counts_file = directory / f"{name}-counts.json"
        super().__init__(name, directory, environment | {"COUNTS_FILE": str(self.counts_file)})
        self._program = [sys.executable, "-m", "benchmarks.instant_worker"]


class Yardstick:
    """What a fixed piece of Python costs while others work: processors that share caches and cores slow each other."""

    def __enter__(self) -> Self:
        program = [sys.executable, "-c", "from benchmarks import speed; speed.hold_yardstick()"]
        self._process = subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()

    def milliseconds(self) -> float:
        """The median since the start; it ends with this."""
        return float(self._process.communicate()[0])


def hold_yardstick() -> None:
    """Do the same piece of work again and again, a twentieth of the time, until stdin ends; print its usual cost."""
    took = [0.01]
    while not select.select([sys.stdin], [], [], 19 * took[-1])[0]:
        began = time.process_time()
        rows = {str(number): [number, {"row": number}] for number in range(8000)}
        json.loads(json.dumps(rows))
        took.append(time.process_time() - began)
    print(1000 * statistics.median(took))


@contextmanager
def busy(count: int) -> Iterator[None]:
    """So many processes compute meanwhile."""
    processes = [multiprocessing.get_context("spawn").Process(target=compute, daemon=True) for _ in range(count)]
    for process in processes:
        process.start()
    try:
        yield
    finally:
        for process in processes:
            process.kill()


def compute() -> None:
    """Run schedules of the simulator, scheduled as workers are: the same code as theirs, and nothing to wait for."""
    processor.spare()
    plans = [make_plan(seed) for seed in range(60)]
    while True:
        for plan in plans:
            simulate(plan)


class Ends:
    """How many records a topic has, in one request: many disturb broker and workers at their work."""

    def __init__(self, kafka: Kafka, topic: str) -> None:
        self._consumer = Consumer({**kafka.client, "group.id": "nobody"})
        self._ends = [TopicPartition(topic, number, LATEST) for number in range(PARTITIONS)]

    def __call__(self) -> int:
        return sum(end.offset for end in self._consumer.offsets_for_times(self._ends, timeout=20))

    def close(self) -> None:
        self._consumer.close()


def main() -> None:
    """Measure with each number of workers, in turn."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--commands", type=int, default=10_000)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--rate", type=float, help="commands a second for each worker, not one burst")
    shared = parser.add_mutually_exclusive_group()
    shared.add_argument("--apart", action="store_true", help="one processor for the broker, one for all workers")
    shared.add_argument("--busy", type=int, default=0, help="busy processes in all, beside the broker")
    parser.add_argument("--pad", type=int, default=0, help="bytes that make each command larger")
    arguments = parser.parse_args()
    if arguments.apart:
        psutil.Process().cpu_affinity(BROKERS)  # whatever is started from here on inherits it
    found: dict[int, list[dict[str, float]]] = {count: [] for count in arguments.workers}
    with tempfile.TemporaryDirectory() as folder, Kafka(Path(folder, "kafka")) as kafka:
        for repeat in range(arguments.repeats):
            for workers in arguments.workers:
                name = f"speed-{repeat}-{workers}"
                with busy(arguments.busy - workers):
                    figures = measure(name, Path(folder), kafka, workers, arguments)
                found[workers].append(figures)
                print(name, {figure: round(value, 2) for figure, value in figures.items()}, flush=True)
    print(f"\nmedian of {arguments.repeats} (smallest to largest), {arguments.commands} commands")
    for figure in next(iter(found.values()))[0]:
        cells = []
        for workers, runs in found.items():
            values = sorted(run[figure] for run in runs)
            cells.append(f"{workers}: {statistics.median(values):.2f} ({values[0]:.2f} to {values[-1]:.2f})")
        print(f"{figure}, by workers: {'; '.join(cells)}")


def measure(name: str, folder: Path, kafka: Kafka, count: int, arguments: argparse.Namespace) -> dict[str, float]:
    """From the first record sent to the last outcome."""
    commands, rate, pad = arguments.commands, arguments.rate, "x" * arguments.pad
    nobody = AirflowApi("http://127.0.0.1:1", "nobody", "nothing")
    with ExitStack() as stack:
        site = stack.enter_context(Installation(name, folder, kafka, nobody, partitions=PARTITIONS))
        site.create_topics()
        results = Ends(kafka, f"{name}-results")
        stack.callback(results.close)
        workers = [InstantWorker(f"w{number}", folder / name, site.environment) for number in range(count)]
        for worker in workers:
            stack.callback(worker.kill)
            worker.start(wait=False)
            if arguments.apart:
                psutil.Process(worker.pid).cpu_affinity(WORKERS)
        for worker in workers:
            worker.wait_ready()
        run(site, results, "warm", commands // 10, already=0)
        time.sleep(SETTLED_SECONDS)
        processes = [psutil.Process(worker.pid) for worker in workers]
        print("to look inside: py-spy record --pid", *(process.pid for process in processes), flush=True)
        cpu, broker_cpu, before = cpu_of(processes), cpu_of_broker(processes), resident(processes)
        waits = made_to_wait(processes)
        with Yardstick() as yardstick:
            begun = time.monotonic()
            already = OUTCOMES * (commands // 10)
            run(site, results, MEASURED, commands, already=already, rate=rate and rate * count, pad=pad)
            seconds = time.monotonic() - begun
            beside = yardstick.milliseconds()
        cpu, broker_cpu = cpu_of(processes) - cpu, cpu_of_broker(processes) - broker_cpu
        started, ended = ages(site, Status.TRIGGERED), ages(site, Status.SUCCEEDED)
        after, waits = resident(processes), made_to_wait(processes) - waits
        for worker in workers:
            assert worker.terminate() == 0, worker.log_tail
        counts: Counter[str] = Counter()
        for worker in workers:
            counts.update(json.loads(worker.counts_file.read_text()))
    whole = commands + commands // 10
    operations: dict[str, float] = {f"{what} per command": counts[what] / whole for what in sorted(counts)}
    return {
        "commands a second": commands / seconds,
        "ms until the run is there, half of the commands": statistics.median(started),
        "ms until the run is there, 99 %": statistics.quantiles(started, n=100)[-1],
        "ms until it is over, half of the commands": statistics.median(ended),
        "ms until it is over, 99 %": statistics.quantiles(ended, n=100)[-1],
        "CPU ms per command, workers": 1000 * cpu / commands,
        "CPU ms per command, broker": 1000 * broker_cpu / commands,
        "times made to wait per CPU ms": waits / cpu / 1000,
        "CPU ms of a yardstick beside them": beside,
        "RSS MiB of a worker before": before / MIB,
        "RSS MiB of a worker after": after / MIB,
        **operations,
    }


def run(
    site: Installation,
    results: Ends,
    prefix: str,
    commands: int,
    *,
    already: int,
    rate: float | None = None,
    pad: str = "",
) -> None:
    """Send commands, so many a second or all at once; wait until each has all its outcomes."""
    drafts = [draft(prefix, number, pad) for number in range(commands)]
    begun, sent = time.monotonic(), 0
    while sent < commands:
        due = commands if rate is None else min(commands, int((time.monotonic() - begun) * rate))
        site.send(*drafts[sent:due])
        sent = due
        time.sleep(SLICE_SECONDS)
    wanted = already + OUTCOMES * commands
    eventually(lambda: check_there(results, wanted), seconds=600, every_seconds=0.2)
    assert results() == wanted, f"more outcomes than expected: {results()}"


def ages(site: Installation, status: Status) -> list[int]:
    """How many milliseconds older each measured command's record is than the outcome of this status."""
    sent = {record.place: record.timestamp_ms for record in site.records()}
    return [
        outcome["record"].timestamp_ms - sent[place_of(outcome)]
        for outcome in site.outcomes()
        if outcome["status"] == status and outcome["command_id"].startswith(MEASURED)
    ]


def draft(prefix: str, number: int, pad: str) -> Draft:
    """A small command, or one made larger."""
    key, name = b"key-%d" % (number % KEYS), f"app.dag_{number % DAGS}"
    return command(key, name=name, id=f"{prefix}-{number}", n=number, pad=pad)


def check_there(results: Ends, wanted: int) -> None:
    """All outcomes are there."""
    there = results()
    assert there >= wanted, f"{there} of {wanted}"


def cpu_of(processes: list[psutil.Process]) -> float:
    """Seconds of CPU."""
    return sum(sum(process.cpu_times()[:2]) for process in processes)


def made_to_wait(processes: list[psutil.Process]) -> int:
    """How often another process took the place of one of these."""
    return sum(process.num_ctx_switches().involuntary for process in processes)


def cpu_of_broker(processes: list[psutil.Process]) -> float:
    """Seconds of CPU of this process's children that are neither workers nor compute."""
    workers = {process.pid for process in processes}
    computing = {process.pid for process in multiprocessing.active_children()}
    children = psutil.Process().children(recursive=True)
    others = [child for child in children if child.pid not in workers | computing]
    return cpu_of(others)


def resident(processes: list[psutil.Process]) -> float:
    """Bytes in memory, of the largest."""
    return float(max(process.memory_info().rss for process in processes))


if __name__ == "__main__":
    main()
