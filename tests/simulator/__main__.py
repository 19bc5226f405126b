"""Reads seeds from the command line; writes what was exercised, or one schedule's timeline.

python -m tests.simulator --seeds 50000        the first so many; the last line is a summary
python -m tests.simulator --seeds 17..99       from one to another
python -m tests.simulator --seed 17            its timeline; a failing one is made smaller first
"""

import argparse
import os
import sys

from tests.simulator.plan import make_plan
from tests.simulator.runner import run_all
from tests.simulator.shrink import shrink
from tests.simulator.world import simulate


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulator")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--seeds", type=_seeds, help="a number of seeds, or a range such as 17..99")
    what.add_argument("--seed", type=int, help="show this one")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    arguments = parser.parse_args()
    if arguments.seed is not None:
        return _show(arguments.seed)
    total = run_all(arguments.seeds, processes=arguments.processes)
    for seed, violation in total.failures:
        print(f"seed {seed}: {violation}")
    if total.failures:
        print(f"make simulate SEED={total.failures[0][0]} shows what happens")
    print(total)
    return 1 if total.failures else 0


def _seeds(text: str) -> range:
    first, dots, last = text.partition("..")
    return range(int(first), int(last) + 1) if dots else range(int(first))


def _show(seed: int) -> int:
    plan = make_plan(seed)
    report = simulate(plan)
    if report.violations:
        plan = shrink(plan)
        print("It fails:", *report.violations, "", "Made smaller:", sep="\n")
    report = simulate(plan, timeline=True)
    print(plan, "", *report.timeline, "", sep="\n")
    print(f"{report.events} events; {dict(sorted(report.counts.items()))}; {len(report.violations)} violations")
    return 1 if report.violations else 0


if __name__ == "__main__":
    sys.exit(main())
