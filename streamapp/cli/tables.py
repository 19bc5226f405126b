"""Reads: the live tables of all workers, and the changelog. Writes: nothing. For `streamapp doctor --tables`."""

import httpx

from streamapp.cli.checks import Check
from streamapp.kafka import audit, topics
from streamapp.settings import Settings

SNAPSHOT_SECONDS = 120.0
"""For a worker to fingerprint a partition: some hundred thousand rows a second."""
MEND = "stop the worker that owns it, delete its data directory, start it again: it is restored from the changelog"


async def tables_check(settings: Settings) -> list[Check]:
    """Compare the table of every partition with a rebuild from its changelog. Changes nothing, stops nobody."""
    found = await topics.describe(settings)
    if "changelog" not in found:
        return [Check("tables", "problem", "there is no changelog topic", "streamapp topics --create")]
    async with httpx.AsyncClient(timeout=SNAPSHOT_SECONDS) as client:
        workers = await _workers(client, settings)
        return [
            await _partition_check(client, settings, workers, number) for number in range(found["changelog"].partitions)
        ]


async def _workers(client: httpx.AsyncClient, settings: Settings) -> dict[int, str]:
    """Who owns which partition."""
    answer = await client.get(f"{settings.worker_url}/api/v1/workers")
    answer.raise_for_status()
    return {partition: worker["worker"] for worker in answer.json()["workers"] for partition in worker["partitions"]}


async def _partition_check(
    client: httpx.AsyncClient, settings: Settings, workers: dict[int, str], number: int
) -> Check:
    part = f"table {number}"
    if number not in workers:
        return Check(part, "problem", "no worker that answers owns it", "see the workers' /health/ready")
    answer = await client.get(f"{workers[number].rstrip('/')}/api/v1/tables/{number}")
    if answer.status_code == httpx.codes.NOT_FOUND:
        return Check(part, "problem", "it moved to another worker meanwhile", "run the check again")
    answer.raise_for_status()
    live = audit.Snapshot.parse(answer.text.splitlines())
    found = audit.compare(live, await audit.rebuild(settings, number, live.offset))
    if found.equal:
        return Check(part, "ok", f"{found.compared} rows equal their changelog up to offset {live.offset}")
    what = f"{found.missing} rows are missing, {found.phantom} are phantoms, {found.different} differ"
    return Check(part, "problem", f"of {found.compared} rows, {what}", MEND)
