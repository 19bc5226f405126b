"""Runs the same commands through several ways. Reads: results so far. Writes: results.jsonl, then tables and plots.

    python -m benchmarks.peers [--commands 120] [--keys zipf] [--ways …] [--faults none kills restart] [--out FOLDER]
    python -m benchmarks.peers report --out FOLDER

Real Kafka, PostgreSQL and Airflow, started once. Ways are interleaved within a repeat. What the folder has already is
not run again, so a run that was stopped goes on with the same command.
"""

import argparse
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import get_args

from benchmarks.peers import report
from benchmarks.peers.faults import FAULTS, Fault
from benchmarks.peers.results import Line, Results
from benchmarks.peers.runner import ceiling, idle, own_time, run
from benchmarks.peers.site import Site
from benchmarks.peers.ways import WAYS, Way, defined, streamapp
from benchmarks.peers.workload import Distribution, Workload

IDLE_WAYS = ("loop", "hold", "streamapp-1")
QUICK = {"commands": [24], "repeats": 1, "idle": 5, "faults": list(FAULTS)}
Step = tuple[Line, Callable[[Site, str], Line]]


def main() -> None:
    """Run what is missing, or report."""
    if sys.argv[1:2] == ["report"]:
        report.main(sys.argv[2:])
        return
    arguments = _arguments()
    results = Results(arguments.out)
    todo = [(names, step) for names, step in steps(arguments) if not results.has(**names)]
    print(f"{len(todo)} runs to do", flush=True)
    if not todo:
        return
    # So that everything that was started ends, and the folder goes.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    environment = dict(text.split("=", 1) for text in arguments.airflow_env)
    with tempfile.TemporaryDirectory(prefix="peers-") as folder, Site(Path(folder), environment) as site:
        prefix = f"peers-{int(time.time())}"
        for number, (names, step) in enumerate(todo):
            began = time.monotonic()
            name = f"{prefix}-{number}"
            try:
                figures = step(site, name)
            except Exception as error:
                # One way's failure is a result; the others go on.
                traceback.print_exc()
                figures = {"error": repr(error)}
                site.restart_airflow(name)
            results.add(names, figures)
            shown = {name: value for name, value in figures.items() if not isinstance(value, list)}
            print(f"{time.monotonic() - began:.0f} s", *names.values(), shown, flush=True)


def steps(arguments: argparse.Namespace) -> Iterator[Step]:
    """Everything, in the order in which it is run."""
    known = {way.name: way for way in [*WAYS, *(streamapp(*defined(text)) for text in arguments.define)]}
    ways = [known[name] for name in arguments.ways or known]
    for repeat in range(arguments.repeats):
        yield _names("own-time", repeat), own_time
        for commands in arguments.commands:
            yield _names("ceiling", repeat) | {"of": commands}, _ceiling(commands)
            for distribution in arguments.keys:
                workload = Workload(commands, distribution)
                for faults in arguments.faults:
                    if faults != "none" and repeat >= arguments.fault_repeats:
                        continue
                    for way in ways:
                        names = _names("run", repeat, way=way, workload=workload, faults=faults)
                        yield names, _run(way, workload, faults)
        if arguments.idle and repeat == 0:
            for way in ways:
                if way.name in IDLE_WAYS or way.name in {text.partition("=")[0] for text in arguments.define}:
                    yield _names("idle", repeat, way=way), _idle(way, arguments.idle)


def _names(
    kind: str, repeat: int, *, way: Way | None = None, workload: Workload | None = None, faults: Fault | None = None
) -> Line:
    return {
        "kind": kind,
        "repeat": repeat,
        "way": way.name if way else None,
        "of": workload.commands if workload else None,
        "distribution": workload.distribution if workload else None,
        "faults": faults,
    }


def _run(way: Way, workload: Workload, faults: Fault) -> Callable[[Site, str], Line]:
    return lambda site, name: run(site, way, name, workload, faults)


def _ceiling(commands: int) -> Callable[[Site, str], Line]:
    return lambda site, name: ceiling(site, name, commands)


def _idle(way: Way, commands: int) -> Callable[[Site, str], Line]:
    return lambda site, name: idle(site, way, name, commands)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--commands", type=int, nargs="+", default=[120])
    parser.add_argument("--keys", nargs="+", choices=get_args(Distribution), default=["zipf"])
    parser.add_argument("--ways", nargs="+", help=f"default: all of {', '.join(way.name for way in WAYS)}")
    parser.add_argument("--faults", nargs="+", choices=FAULTS, default=["none"])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--fault-repeats", type=int, default=1, help="of kills and restart")
    parser.add_argument("--idle", type=int, default=0, help="commands sent singly, for the latency when idle; 0: none")
    parser.add_argument("--out", type=Path, default=Path("peers"), help="folder of the results")
    parser.add_argument("--quick", action="store_true", help="24 commands, all faults, once: to see that it works")
    define = "a further way of this project: NAME=WORKERS[:STREAMAPP_SETTING=VALUE,…]; {worker}: its number"
    parser.add_argument("--define", action="append", default=[], help=define)
    parser.add_argument("--airflow-env", action="append", default=[], help="NAME=VALUE for Airflow's processes")
    arguments = parser.parse_args()
    if arguments.quick:
        for name, value in QUICK.items():
            setattr(arguments, name, value)
    return arguments


if __name__ == "__main__":
    main()
