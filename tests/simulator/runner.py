"""Many schedules: reads seeds, runs them in some processes, answers what was exercised in all, and which seeds fail."""

import gc
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from multiprocessing import get_context

from tests.simulator.plan import ALL_FAULTS, make_plan
from tests.simulator.world import Report, simulate

CHUNK = 50
"""Seeds that a process takes. It leaves its garbage to its end: to look for it would be an eighth of the time."""
STRUCK = ("crash", "wipe")
"""What ends a process from outside; `left` counts those that ended by their own decision."""


@dataclass
class Total:
    """Of all schedules so far."""

    schedules: int = 0
    events: int = 0
    fewest_events: int = 10**9
    counts: Counter[str] = field(default_factory=Counter)
    failures: list[tuple[int, str]] = field(default_factory=list)
    """Seeds, each with its first violation."""

    def add(self, report: Report) -> None:
        self.schedules += 1
        self.events += report.events
        self.fewest_events = min(self.fewest_events, report.events)
        self.counts += report.counts
        if report.violations:
            self.failures.append((report.plan.seed, report.violations[0]))

    def merge(self, other: "Total") -> None:
        self.schedules += other.schedules
        self.events += other.events
        self.fewest_events = min(self.fewest_events, other.fewest_events)
        self.counts += other.counts
        self.failures = sorted([*self.failures, *other.failures])

    def __str__(self) -> str:
        crashes = sum(self.counts[name] for name in STRUCK) + self.counts["left"]
        faults = ", ".join(f"{name} {self.counts[name]}" for name in sorted(ALL_FAULTS))
        others = ", ".join(f"{name} {self.counts[name]}" for name in ("folds", "redelivered", "runs", "pruned"))
        return (
            f"{self.schedules} schedules, {self.events} events ({self.fewest_events} or more in each), "
            f"{crashes} crashes, {self.counts['takeovers']} takeovers; {others}; {faults}; "
            f"{len(self.failures)} violations"
        )


def run_all(seeds: Sequence[int], *, processes: int) -> Total:
    """Run the schedule of each seed."""
    chunks = [seeds[at : at + CHUNK] for at in range(0, len(seeds), CHUNK)]
    total = Total()
    if processes == 1 or len(chunks) == 1:
        for chunk in chunks:
            total.merge(_run(chunk))
        return total
    context = get_context("forkserver")
    context.set_forkserver_preload([__name__])
    with context.Pool(processes, initializer=gc.disable, maxtasksperchild=1) as pool:
        for part in pool.imap_unordered(_run, chunks):
            total.merge(part)
    return total


def _run(seeds: Sequence[int]) -> Total:
    total = Total()
    for seed in seeds:
        total.add(simulate(make_plan(seed)))
    return total
