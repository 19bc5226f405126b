"""Reads: a plan of faults. Writes: what it did, and a summary as the last line. Chaos on a real Kafka, and its judges.

    python -m tests.support.chaos --minutes 30 [--seed 7] [--partitions 4] [--workers 2] [--standbys 1]

The plan follows from the seed; when exactly a fault strikes does not.
"""

import argparse
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import takewhile
from pathlib import Path

from tests.support import chaos_judges as judges
from tests.support.airflow_api import FakeAirflowProcess
from tests.support.chaos_commits import Recorded
from tests.support.chaos_crew import UnforeseenEnd
from tests.support.chaos_faults import FAULTS, Blow, for_ever, victim
from tests.support.chaos_scene import Scene, Size, stage
from tests.support.stack import Registry


@dataclass
class Report:
    """What was done, and what it led to."""

    begun: float
    seconds: float = 0.0
    injected: Counter[str] = field(default_factory=Counter)
    blows: int = 0
    commands: int = 0
    endings: Counter[str] = field(default_factory=Counter)
    exits: Counter[int] = field(default_factory=Counter)
    settled: int = 0
    tables: int = 0
    violations: list[str] = field(default_factory=list)

    def say(self, what: str) -> None:
        """Tell it at once."""
        print(f"{time.monotonic() - self.begun:7.1f} s  {what}", flush=True)

    def __str__(self) -> str:
        return (
            f"{self.seconds / 60:.1f} min: {self.commands} commands ({_counts(self.endings)}); "
            f"{self.blows} blows ({_counts(self.injected)}); worker exits ({_counts(self.exits)}); "
            f"{self.settled} times settled and judged, {self.tables} tables compared; "
            f"{len(self.violations)} violations"
        )


def _counts(counter: Counter[str] | Counter[int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counter.most_common())


def play(scene: Scene, blows: Iterable[Blow], *, settle_every: int) -> Report:
    """Strike blow after blow, judge in between and in the end; stop at the first violation."""
    report = Report(begun=time.monotonic())
    try:
        _play(scene, blows, settle_every, report)
    except (AssertionError, UnforeseenEnd) as error:
        report.violations.append("\n".join([f"{type(error).__name__}: {error}", *getattr(error, "__notes__", [])]))
    report.commands = len(scene.load.sent)
    report.exits = scene.crew.exits
    report.seconds = time.monotonic() - report.begun
    for violation in report.violations:
        report.say(violation)
    return report


def _play(scene: Scene, blows: Iterable[Blow], settle_every: int, report: Report) -> None:
    told, recorded = judges.Told(scene), Recorded()
    for worker in scene.crew.workers:
        scene.crew.join(worker)
    scene.crew.wait(scene.crew.check_ready, 180)
    scene.load.resume()
    for blow in blows:
        report.say(f"{victim(scene, blow).name}: {blow}")
        _strike(scene, blow)
        report.injected.update(blow.faults)
        report.blows += 1
        report.violations += judges.forgotten(scene, recorded)
        if report.blows % settle_every == 0:
            _judge(scene, told, report)
            scene.load.resume()
        if report.violations:
            return
    if report.blows % settle_every:
        _judge(scene, told, report)


def _judge(scene: Scene, told: judges.Told, report: Report) -> None:
    judges.settle(scene, told)
    report.violations += [*judges.history(scene), *judges.tables(scene), *scene.load.problems]
    report.settled += 1
    report.tables += scene.partitions * (1 + scene.standbys)
    report.endings = Counter(told.status.values())
    report.say(f"judged: {report.endings.total()} commands have ended, {len(report.violations)} violations")


def _strike(scene: Scene, blow: Blow) -> None:
    with ExitStack() as faults:
        for name in blow.faults:
            faults.enter_context(FAULTS[name].act(scene, blow))
        scene.crew.hold(blow.seconds)
    if blow.wait:
        scene.crew.wait(scene.crew.check_ready, 180)


def main() -> int:
    """Play for some minutes."""
    parser = argparse.ArgumentParser(description="Chaos on a real Kafka: faults, and judges of what they led to.")
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--seed", type=int, default=random.randrange(10_000))
    parser.add_argument("--partitions", type=int, default=4)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--standbys", type=int, default=0, help="copies of each partition's table beside its owner's")
    parser.add_argument("--settle-every", type=int, default=10, help="blows")
    parser.add_argument("--sabotage", action="append", default=[], help="see tests.support.sabotage")
    chosen = parser.parse_args()
    size = Size(
        partitions=chosen.partitions,
        workers=chosen.workers,
        seed=chosen.seed,
        standbys=chosen.standbys,
        sabotage=tuple(chosen.sabotage),
    )
    directory = Path(tempfile.mkdtemp(prefix="chaos-"))
    print(f"{size}\nlogs of the workers: {directory}", flush=True)
    with ExitStack() as opened:
        airflow = opened.enter_context(FakeAirflowProcess())
        registry = opened.enter_context(Registry(directory / "registry"))
        scene = opened.enter_context(stage(directory, airflow, registry, size))
        end = time.monotonic() + chosen.minutes * 60
        blows = takewhile(lambda _: time.monotonic() < end, for_ever(random.Random(chosen.seed)))
        report = play(scene, blows, settle_every=chosen.settle_every)
    print(f"seed {chosen.seed}, {chosen.partitions} partitions, {chosen.workers} workers and one more, {report}")
    return 1 if report.violations else 0


if __name__ == "__main__":
    sys.exit(main())
