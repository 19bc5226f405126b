"""Measures what it costs to share processors, whatever the program. Writes: stdout.

    python -m benchmarks.neighbours [--processes 1 2 4] [--repeats 5] [--schedules 60]

So many processes at a time run the same schedules of the simulator: the product's decisions, folds and index, without
Kafka, without a network, without anything to wait for. Once alone, and once beside two processes that wake up a
thousand times a second for a fifth of a millisecond each, as the threads of a broker do. The CPU that this takes is
what the machine makes of it; `benchmarks.speed` with as many workers can do no better.
"""

import argparse
import multiprocessing
import os
import resource
import statistics
import time
from contextlib import ExitStack
from multiprocessing.synchronize import Barrier
from typing import Any

from tests.simulator.plan import make_plan
from tests.simulator.world import simulate

WAKERS = 2
PAUSE_SECONDS = 0.0008
WORK_SECONDS = 0.0002
SPAWN = multiprocessing.get_context("spawn")


def main() -> None:
    """Measure with each number of processes, in turn."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--schedules", type=int, default=60)
    arguments = parser.parse_args()
    cases = [(wakers, count) for wakers in (0, WAKERS) for count in arguments.processes]
    found: dict[tuple[int, int], list[tuple[float, float]]] = {case: [] for case in cases}
    for _ in range(arguments.repeats):
        for case in cases:
            found[case].append(measure(*case, arguments.schedules))
            print(case, "CPU {:.2f} s each, made to wait {:.2f} times for each ms".format(*found[case][-1]), flush=True)
    print(f"\nmedian of {arguments.repeats} (smallest to largest), {arguments.schedules} schedules in each process")
    for case in cases:
        cpu = sorted(seconds for seconds, _ in found[case])
        waits = statistics.median(times for _, times in found[case])
        first = statistics.median(seconds for seconds, _ in found[case[0], arguments.processes[0]])
        print(
            f"{case[1]} processes beside {case[0]} that wake up often: {statistics.median(cpu):.2f} s "
            f"({cpu[0]:.2f} to {cpu[-1]:.2f}), {statistics.median(cpu) / first - 1:+.0%}; "
            f"made to wait {waits:.2f} times for each ms"
        )


def measure(wakers: int, count: int, schedules: int) -> tuple[float, float]:
    """Of a process, on average: its CPU in seconds, and how often another took its place, for each ms of that."""
    results, together = SPAWN.SimpleQueue(), SPAWN.Barrier(count)
    with ExitStack() as stack:
        for _ in range(wakers):
            waker = SPAWN.Process(target=wake_often, daemon=True)
            waker.start()
            stack.callback(waker.kill)
        computing = [SPAWN.Process(target=compute, args=(schedules, together, results)) for _ in range(count)]
        for process in computing:
            process.start()
        figures = [results.get() for _ in computing]
        for process in computing:
            process.join()
    return statistics.mean(cpu for cpu, _ in figures), statistics.mean(waits / cpu / 1000 for cpu, waits in figures)


def compute(schedules: int, together: Barrier, results: Any) -> None:
    """Run the schedules, scheduled as a worker is; answer the CPU in seconds and the times another took its place."""
    os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
    plans = [make_plan(seed) for seed in range(schedules)]
    simulate(plans[0])
    together.wait()
    before, cpu = resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw, time.process_time()
    for plan in plans:
        simulate(plan)
    waits = resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw - before
    results.put((time.process_time() - cpu, waits))


def wake_often() -> None:
    """Sleep and work, again and again."""
    while True:
        time.sleep(PAUSE_SECONDS)
        until = time.perf_counter() + WORK_SECONDS
        while time.perf_counter() < until:
            pass


if __name__ == "__main__":
    main()
