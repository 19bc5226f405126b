"""Reads: a way's runs, as Airflow's database has them. Writes: commands. One run of the benchmark, to its verdict."""

import statistics
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import astuple
from typing import Any

from benchmarks.peers.faults import Fault, Faults
from benchmarks.peers.judge import Execution, Sent, judge, pace, start_to_start
from benchmarks.peers.site import Request, Site
from benchmarks.peers.ways import Dispatcher, Way
from benchmarks.peers.workload import TASK_SECONDS, Workload, value

LOOK_EVERY_SECONDS = 0.5
QUIET_SECONDS = 3.0
"""Without a new run, when all have ended: a way that repeats commands does so soon."""
QUIET_AFTER_KILLS_SECONDS = 12.0
"""A killed consumer's partitions are given out again after the session's 6 s."""
QUIET_WHILE_MISSING_SECONDS = 45.0
"""streamapp tries a run that never started a task again after up to 30 s."""
CLEAR_WITHIN_SECONDS = 60.0
LONE_RUNS = 8
CHAINED_RUNS = 15
IDLE_PAUSES_SECONDS = (0.1, 0.25, 0.4)
"""Between the end of a run and the next command: not in step with anybody's polls."""


def deadline_seconds(commands: int) -> float:
    """After which a run is ended as it is. The slowest way that works needs less than a second for a command."""
    return 90 + commands


def run(site: Site, way: Way, name: str, workload: Workload, kind: Fault) -> dict[str, Any]:
    """Send the workload through a way; return its figures."""
    workload = workload.first(way.most_commands or workload.commands)
    mark, began = site.mark(), time.monotonic()
    dispatcher = way.make(site, name)
    try:
        dispatcher.start()
        started = time.monotonic() - began
        numbers = range(workload.commands)
        delivered = site.send(name, [(workload.keys[number], workload.value(name, number)) for number in numbers])
        faults = Faults(kind, site, dispatcher)
        try:
            executions, unfinished = _watch(site, dispatcher, faults, name, workload.commands)
        finally:
            faults.close()
        requests = site.requests(mark)
    finally:
        dispatcher.stop()
    stuck = not site.answers()
    if stuck or unfinished or not _clear(site, name):
        # The next way finds an Airflow in order.
        site.restart_airflow(name)
    sent = [Sent(key, one.timestamp) for key, one in zip(workload.keys, delivered, strict=True)]
    return {
        **judge(sent, executions).fields,
        "hottest": workload.hottest,
        "stuck": stuck,
        "unfinished": unfinished,
        "kills": faults.kills,
        "away_seconds": faults.away_seconds,
        "restarts": dispatcher.restarts,
        "start_seconds": round(started, 1),
        "whole_seconds": round(time.monotonic() - began, 1),
        **_counts(requests),
        "sent_at": [one.timestamp for one in delivered],
        "executions": [astuple(one) for one in executions],
    }


def ceiling(site: Site, name: str, commands: int) -> dict[str, Any]:
    """Airflow's pace with everything queued up front: nobody dispatches."""
    confs = [_conf(name, number, fails=False) for number in range(commands)]
    executions = _queued(site, "bench", name, confs)
    return {"per_minute": pace(executions), "executions": [astuple(one) for one in executions]}


def own_time(site: Site, name: str) -> dict[str, Any]:
    """Airflow's own time for a run: when it does queued runs one by one; and of a lone run, from POST to end."""
    chained = _queued(site, "bench_chain", name, [_conf(name, number, fails=False) for number in range(CHAINED_RUNS)])
    lone = []
    for number in range(LONE_RUNS):
        posted = time.time()
        site.trigger("bench", _conf(f"{name}-lone", number, fails=False))
        ended = _wait_ended(site, f"{name}-lone", number + 1)
        lone.append(max(one.end or 0 for one in ended) - posted)
    return {"chained_seconds": start_to_start(chained), "lone_seconds": statistics.median(lone), "lone": lone}


def idle(site: Site, way: Way, name: str, commands: int) -> dict[str, Any]:
    """Send commands singly, each after the end of the one before; return how long until the POST came."""
    dispatcher = way.make(site, name)
    waits, acks, starts = [], [], []
    try:
        dispatcher.start()
        # The first one finds consumers that have not fetched yet: it does not count.
        for number in range(commands + 1):
            mark = site.mark()
            key = f"key-{number}"
            (sent,) = site.send(name, [(key, value(name, number, key))])
            ended = _wait_ended(site, name, number + 1, every_seconds=0.1)
            post = next(one for one in site.requests(mark) if is_trigger(one))
            if number:
                waits.append(post.at - sent.timestamp)
                acks.append(sent.acked_after)
                starts += [one.start - post.at for one in ended if one.number == number and one.start is not None]
            time.sleep(IDLE_PAUSES_SECONDS[number % len(IDLE_PAUSES_SECONDS)])
        taken = dispatcher.taken_in_after()
    finally:
        dispatcher.stop()
    accepted = [taken[f"key-{number}"] for number in range(1, commands + 1)] if taken else []
    return {"waits": waits, "acks": acks, "accepted": accepted, "post_to_start": starts}


def is_trigger(request: Request) -> bool:
    """Whether a request asks for a run."""
    return request.method == "POST" and request.path.endswith("/dagRuns")


def _watch(
    site: Site, dispatcher: Dispatcher, faults: Faults, name: str, commands: int
) -> tuple[list[Execution], bool]:
    """Wait until nothing more is to come, or the deadline; also tell whether runs were left that had not ended."""
    deadline = time.monotonic() + deadline_seconds(commands)
    seen, changed = -1, time.monotonic()
    while True:
        now = time.monotonic()
        dispatcher.tick(now)
        executions = site.executions(name)
        if (count := len(executions) + sum(one.end is not None for one in executions)) != seen:
            seen, changed = count, now
        faults.tick(len({one.number for one in executions}) / commands, len(executions))
        active = any(one.end is None for one in executions)
        missing = commands - len({one.number for one in executions if one.done})
        quiet = QUIET_AFTER_KILLS_SECONDS if faults.kills else QUIET_SECONDS
        needed = QUIET_WHILE_MISSING_SECONDS if missing else quiet
        # Runs may hang for ever once Airflow's API is stuck.
        if now - changed > needed and (not active or missing) and (faults.over or now - changed > 2 * needed):
            return executions, active
        if now > deadline:
            return executions, True
        time.sleep(LOOK_EVERY_SECONDS)


def _queued(site: Site, dag_id: str, name: str, confs: Sequence[dict[str, Any]]) -> list[Execution]:
    """Make runs while the DAG is paused, then let it go."""
    site.pause(dag_id, paused=True)
    try:
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(lambda conf: site.trigger(dag_id, conf), confs))
    finally:
        site.pause(dag_id, paused=False)
    return _wait_ended(site, name, len(confs))


def _wait_ended(site: Site, name: str, commands: int, *, every_seconds: float = 0.3) -> list[Execution]:
    deadline = time.monotonic() + deadline_seconds(commands)
    while True:
        executions = site.executions(name)
        if sum(one.end is not None for one in executions) >= commands:
            return executions
        if time.monotonic() > deadline:
            raise TimeoutError(f"{name}: {len(executions)} runs of {commands}, not all have ended")
        time.sleep(every_seconds)


def _clear(site: Site, name: str) -> bool:
    """Whether everything ends soon: what has not would disturb the next run."""
    deadline = time.monotonic() + CLEAR_WITHIN_SECONDS
    while any(row["end"] is None for row in site.rows(name)):
        if time.monotonic() > deadline:
            return False
        time.sleep(LOOK_EVERY_SECONDS)
    return True


def _conf(name: str, number: int, *, fails: bool) -> dict[str, Any]:
    return {"bench": name, "n": number, "seconds": TASK_SECONDS, "fail": fails}


def _counts(requests: Sequence[Request]) -> dict[str, Any]:
    statuses = Counter(str(one.status) if one.status else "none" for one in requests)
    posts = [one.ms for one in requests if is_trigger(one)]
    return {
        "statuses": dict(statuses),
        "post_ms": round(statistics.median(posts), 1) if posts else None,
        "posts": len(posts),
    }
