"""Reads: the active runs in Airflow, the workers' answers. Writes: nothing. What `streamapp doctor --runs` looks at."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import httpx

from streamapp.airflow.connect import connect
from streamapp.airflow.port import AirflowPort, DagRun
from streamapp.cli.checks import HTTP_SECONDS, Check
from streamapp.cli.workers import command_path
from streamapp.clock import SystemClock
from streamapp.core.errors import Unavailable
from streamapp.core.run_id import run_prefix
from streamapp.settings import Settings

PAGES = 100
"""Of active runs, of all DAGs and whoever made them, that are read at most."""

ASKED = 500
"""Runs of ours, the oldest first, whose commands are asked for at most."""

NAMED = 5
"""Runs that are named; the number tells how many there are."""

ONE_TICK = timedelta(microseconds=1)


async def runs_check(settings: Settings) -> list[Check]:
    """Each active run of ours has a command that waits for it; each run that a worker follows is there."""
    airflow = connect(settings, SystemClock())
    try:
        runs, complete = await _active(airflow, run_prefix(settings.app_id))
    finally:
        await airflow.close()
    async with httpx.AsyncClient(base_url=settings.worker_url, timeout=HTTP_SECONDS) as worker:
        strays = [run for run in runs[:ASKED] if not _waits(run, await _command(worker, run))]
        checks = await _missing(worker)
    if strays:
        named = ", ".join(run.run_id for run in strays[:NAMED])
        what = f"{len(strays)} active in Airflow that no command waits for: {named}"
        mend = "they were cleared, or made again, by hand: let them end, or set them to failed in Airflow"
        checks.append(Check("runs", "problem", what + ("" if len(strays) <= NAMED else ", …"), mend))
    if not complete or len(runs) > ASKED:
        what = f"only the oldest {min(len(runs), ASKED)} active runs were looked at"
        checks.append(Check("runs", "note", what))
    return checks or [Check("runs", "ok", f"{len(runs)} active in Airflow, a command waits for each of them")]


async def _active(airflow: AirflowPort, prefix: str) -> tuple[list[DagRun], bool]:
    """The active runs of an installation, and whether these are all."""
    found: dict[tuple[str, str], DagRun] = {}
    since: datetime | None = None
    for _ in range(PAGES):
        page = await airflow.list_active(None, since)
        found |= {(run.dag_id, run.run_id): run for run in page.runs if run.run_id.startswith(prefix)}
        last = max((run.created_at for run in page.runs if run.created_at is not None), default=None)
        if not page.more or last is None:
            return list(found.values()), not page.more
        since = last if since is None or last > since else since + ONE_TICK
    return list(found.values()), False


async def _command(worker: httpx.AsyncClient, run: DagRun) -> Mapping[str, Any] | None:
    mark = run.conf.get("_command")
    if not isinstance(mark, Mapping) or not isinstance(mark.get("id"), str):
        return None
    answer = await worker.get(f"/api/v1/{command_path(mark['id'])}", follow_redirects=True)
    if answer.status_code == httpx.codes.NOT_FOUND:
        return None
    if answer.status_code != httpx.codes.OK:
        raise Unavailable(f"the worker at {worker.base_url} answers {answer.status_code}")
    fields: dict[str, Any] = answer.json()
    return fields


def _waits(run: DagRun, command: Mapping[str, Any] | None) -> bool:
    """Whether a command waits for this run, or has asked for it and not heard yet."""
    if command is None:
        return False
    if command["status"] == "triggered":
        return bool(command["dag_run_id"] == run.run_id)
    return command["status"] in {"accepted", "attempt_failed"} and command["dag_run_id"] != run.run_id


async def _missing(worker: httpx.AsyncClient) -> list[Check]:
    answer = await worker.get("/api/v1/workers")
    if answer.status_code != httpx.codes.OK:
        raise Unavailable(f"the worker at {worker.base_url} answers {answer.status_code}")
    count = sum(one["airflow"]["missing"] for one in answer.json()["workers"])
    if not count:
        return []
    mend = "they were deleted in Airflow: unless they show again, their commands soon end with run_deleted"
    return [Check("runs", "problem", f"{count} that commands wait for, and Airflow does not have", mend)]
