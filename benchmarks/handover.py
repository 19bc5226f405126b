"""Measures the time from a run's end to the POST of its key's next command. Reads: a real Airflow. Writes: stdout.

    python -m benchmarks.handover [--commands 40] [--keys 1] [--modes own poll hint] [--repeats 3]

Airflow 3 on PostgreSQL, one Kafka broker and one worker, all started here. All figures are differences of Airflow's own
dates: a run's end is its `end_date`, the POST of the next one is its `run_after`, which Airflow sets when it handles
the request. `own` is Airflow without streamapp: the next run is asked for as soon as a GET every 20 ms shows the end.
"""

import argparse
import contextlib
import os
import statistics
import tempfile
import time
from collections import defaultdict
from contextlib import closing
from datetime import datetime
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import psutil

from stack.config import HOST, ROOT
from tests.support.airflow_api import AirflowApi
from tests.support.installation import Installation, command
from tests.support.stack import Airflow, Kafka, free_port

SECRET = "only-for-this-benchmark"
LOOK_SECONDS = 0.02
DEADLINE_SECONDS = 600.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--commands", type=int, default=40, help="for each key")
    parser.add_argument("--keys", type=int, default=1)
    parser.add_argument("--modes", nargs="+", default=["own", "poll", "hint"])
    parser.add_argument("--repeats", type=int, default=1, help="the modes in turn, so that all meet the same machine")
    parser.add_argument("--seconds", type=float, default=0.0, help="how long a run's task sleeps")
    parser.add_argument("--poll-interval", default="")
    asked = parser.parse_args()
    print(f"load {os.getloadavg()[0]:.1f}, {psutil.cpu_count()} cores", flush=True)
    hint_port = free_port()
    os.environ |= {
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(ROOT / "airflow_plugin"),
        "STREAMAPP_HINT_TARGETS": f"{HOST}:{hint_port}",
        "STREAMAPP_HINT_SECRET": SECRET,
    }
    with (
        tempfile.TemporaryDirectory() as folder,
        Kafka(Path(folder) / "kafka") as kafka,
        Airflow(Path(folder) / "airflow") as server,
        closing(AirflowApi(server.url, server.username, server.password)) as airflow,
    ):
        airflow.trigger("probe", "warm-up", {"seconds": 0})
        wait_for_end(airflow, "warm-up")
        show_requests(airflow)
        measured: defaultdict[str, list[list[dict[str, Any]]]] = defaultdict(list)
        for number, mode in enumerate(asked.modes * asked.repeats):
            print(f"{mode}, load {os.getloadavg()[0]:.1f}", flush=True)
            if mode == "own":
                measured[mode].append(measure_own(airflow, asked.commands, asked.seconds, f"own-{number}"))
                continue
            settings = {"poll_interval": asked.poll_interval} if asked.poll_interval else {}
            if mode == "hint":
                settings |= {"hint_listen": f"{HOST}:{hint_port}", "hint_secret": SECRET}
            with Installation(f"handover-{mode}-{number}", Path(folder), kafka, airflow, **settings) as site:
                site.create_topics()
                [worker] = site.start_workers("w1")
                names = [b"key-%d" % key for key in range(asked.keys)]
                drafts = [command(key, seconds=asked.seconds) for _ in range(asked.commands) for key in names]
                site.endings(site.send(*drafts), seconds=DEADLINE_SECONDS)
                by_key: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
                for run in site.runs():
                    by_key[run["conf"]["_command"]["key"]].append(run)
                measured[mode] += by_key.values()
                print_metrics(worker.get("/metrics").text)
                worker.terminate()
    for mode, keys in measured.items():
        show(mode, keys)


def show_requests(airflow: AirflowApi) -> None:
    """How long the two ways take in which an end can be asked for."""
    since = airflow.run("probe", "warm-up")["end_date"]
    body = {"dag_ids": ["probe"], "states": ["success", "failed"], "end_date_gte": since, "order_by": "end_date"}
    took = defaultdict(list)
    for _ in range(50):
        for name, ask in (
            ("GET of one run", partial(airflow.ask, "GET", "/dags/probe/dagRuns/warm-up")),
            ("list of ended runs", partial(airflow.ask, "POST", "/dags/~/dagRuns/list", body)),
        ):
            begun = time.monotonic()
            ask().raise_for_status()
            took[name].append(1000 * (time.monotonic() - begun))
    for name, values in took.items():
        print(f"{name}: {figures(values)}")


def measure_own(airflow: AirflowApi, count: int, seconds: float, name: str) -> list[dict[str, Any]]:
    """Runs one after another, without streamapp."""
    runs = []
    for number in range(count):
        airflow.trigger("probe", f"{name}-{number}", {"seconds": seconds})
        runs.append(wait_for_end(airflow, f"{name}-{number}"))
    return runs


def wait_for_end(airflow: AirflowApi, run_id: str) -> dict[str, Any]:
    """Look until a run has ended."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while time.monotonic() < deadline:
        with contextlib.suppress(httpx.HTTPError):
            run = airflow.run("probe", run_id)
            if run["state"] in {"success", "failed"}:
                return run
        time.sleep(LOOK_SECONDS)
    raise AssertionError(f"{run_id} has not ended")


def show(mode: str, keys: list[list[dict[str, Any]]]) -> None:
    """Print the figures of one mode."""
    whole, gaps, starts = [], [], []
    for runs in keys:
        runs.sort(key=lambda run: run["run_after"])
        whole += [between(run["run_after"], run["end_date"]) for run in runs]
        gaps += [between(one["end_date"], two["run_after"]) for one, two in pairwise(runs)]
        starts += [between(one["start_date"], two["start_date"]) for one, two in pairwise(runs)]
    print(f"{mode}: {sum(map(len, keys))} runs in {len(keys)} queues")
    print(f"  POST to end (Airflow's own time): {figures(whole)}")
    print(f"  end to POST of the next:          {figures(gaps)}")
    print(f"  start to start:                   {figures(starts)}")
    print(f"  end to POST / own time, p50:      {statistics.median(gaps) / statistics.median(whole):.1%}", flush=True)


def between(one: str, two: str) -> float:
    return 1000 * (datetime.fromisoformat(two) - datetime.fromisoformat(one)).total_seconds()


def figures(values: list[float]) -> str:
    cut = statistics.quantiles(values, n=20)
    return f"p50 {statistics.median(values):.0f} ms, p95 {cut[18]:.0f}, min {min(values):.0f}, max {max(values):.0f}"


def print_metrics(text: str) -> None:
    """What the worker says of its requests."""
    for line in text.splitlines():
        if line.startswith(("streamapp_airflow_reads", "streamapp_hints")):
            print(f"  {line}")


if __name__ == "__main__":
    main()
