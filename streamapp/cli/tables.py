"""Reads: the live tables of all workers, and the changelog. Writes: nothing. For `streamapp doctor --tables`."""

from collections import defaultdict

import httpx

from streamapp.cli.checks import Check
from streamapp.cli.output import reason_of
from streamapp.kafka import audit, topics
from streamapp.settings import Settings

Holders = defaultdict[int, list[str]]
"""Addresses of workers by partition."""
SNAPSHOT_SECONDS = 120.0
"""For a worker to fingerprint a partition: some hundred thousand rows a second."""
MEANWHILE: dict[int, str] = {
    httpx.codes.NOT_FOUND: "it moved to another worker meanwhile",
    httpx.codes.SERVICE_UNAVAILABLE: "its worker reads a table for somebody else just now",
}
AGAIN = "run the check again"
SEE = "see the workers' /health/ready"
MEND = "stop the worker that has it, delete its data directory, start it again: it is restored from the changelog"


async def tables_check(settings: Settings) -> list[Check]:
    """Compare every partition's table, and standbys' copies, with a rebuild from its changelog. Changes nothing."""
    found = await topics.describe(settings)
    if "changelog" not in found:
        return [Check("tables", "problem", "there is no changelog topic", "streamapp topics --create")]
    async with httpx.AsyncClient(timeout=SNAPSHOT_SECONDS) as client:
        owners, standbys = await _holders(client, settings)
        checks = []
        for number in range(found["changelog"].partitions):
            part = f"table {number}"
            if number not in owners:
                what = "no worker that answers owns it"
                checks.append(Check(part, "problem", what, SEE))
            copies = [(part, url) for url in owners[number]] + [
                (f"{part} of a standby", url) for url in standbys[number]
            ]
            checks += [await _copy_check(client, settings, name, url, number) for name, url in copies]
        return checks


async def _holders(client: httpx.AsyncClient, settings: Settings) -> tuple[Holders, Holders]:
    """Who owns which partition, and who keeps a copy of it."""
    answer = await client.get(f"{settings.worker_url}/api/v1/workers")
    answer.raise_for_status()
    owners: Holders = defaultdict(list)
    standbys: Holders = defaultdict(list)
    for worker in answer.json()["workers"]:
        for number in worker["partitions"]:
            owners[number].append(worker["worker"])
        for number in worker.get("standbys", ()):
            standbys[int(number)].append(worker["worker"])
    return owners, standbys


async def _copy_check(client: httpx.AsyncClient, settings: Settings, part: str, worker: str, number: int) -> Check:
    try:
        answer = await client.get(f"{worker.rstrip('/')}/api/v1/tables/{number}")
    except (httpx.ReadError, httpx.RemoteProtocolError):  # the body lacks its end
        return Check(part, "problem", f"{worker} broke its answer off", AGAIN)
    except httpx.HTTPError as error:  # any worker may be away, not only the one that was asked for all of them
        return Check(part, "problem", f"{worker} does not answer ({reason_of(error)})", SEE)
    if answer.status_code in MEANWHILE:
        return Check(part, "problem", MEANWHILE[answer.status_code], AGAIN)
    if answer.status_code != httpx.codes.OK:
        return Check(part, "problem", f"{worker} answers {answer.status_code}", SEE)
    live = audit.Snapshot.parse(answer.text)
    found = audit.compare(live, await audit.rebuild(settings, number, live.offset))
    if found.equal:
        return Check(part, "ok", _equal(found.compared, live.offset))
    what = f"{found.missing} rows are missing, {found.phantom} are phantoms, {found.different} differ"
    return Check(part, "problem", f"of {found.compared} rows, {what}", MEND)


def _equal(compared: int, offset: int | None) -> str:
    if offset is None:
        return "it is empty, and so is its changelog"
    return f"{compared} rows equal their changelog up to offset {offset}"
