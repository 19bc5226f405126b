"""Why a command waits, in one sentence for a person. Reads and writes nothing."""

from dataclasses import dataclass
from datetime import datetime

from streamapp.core.model import Entry, Status


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What a command that could start may be waiting for."""

    running: int = 0
    """Runs of its DAG that its worker has started and that have not ended."""
    cap: int | None = None
    """How many there may be on its worker; None where it doesn't say."""
    paused: bool = False
    """Whether the DAG is paused in Airflow."""
    outage: str | None = None
    """Why nothing is sent to Airflow just now."""


def waiting_for(entry: Entry, *, head: int | None, around: Surroundings, now: datetime) -> str | None:
    """What has to happen next for a command; None once it has ended.

    Args:
        entry: The command as it now stands.
        head: The offset of the first command in its key's queue, if there is a queue.
        around: How its DAG and Airflow stand.
        now: The present time.
    """
    if entry.status.terminal:
        return None
    if entry.status is Status.BLOCKED:
        return "an operator: it has failed and holds its key"
    if entry.settling:
        return f"word from Airflow whether a run was created; without one it ends as {entry.ending}"
    if entry.status is Status.TRIGGERED and entry.ending is not None:
        return f"the end of its run {entry.run_id or ''}, which is being stopped".replace("  ", " ")
    if entry.status is Status.TRIGGERED:
        run = f"the end of its run {entry.run_id or ''}".rstrip()
        return f"{run}: the DAG is paused in Airflow" if around.paused else run
    source = entry.source
    if entry.ordered and head is not None and head < source.offset:
        return f"its turn: {source.topic}-{source.partition}-{head} is the first in the queue of its key"
    if entry.not_before is not None and entry.not_before > now:
        what = "its next attempt" if entry.status is Status.ATTEMPT_FAILED else "its time"
        at = entry.not_before.replace(tzinfo=None).isoformat(timespec="milliseconds")
        return f"{what}: not before {at}Z"
    assert entry.policy is not None
    if around.outage is not None:
        return f"Airflow, to which nothing is sent just now: {around.outage}"
    dag, running, cap = entry.policy.dag_id, around.running, around.cap
    under_way = f"{running} runs of {dag} are under way here" + ("" if cap is None else f", {cap} may be")
    if cap is not None and running >= cap:
        paused = f"; {dag} is paused in Airflow" if around.paused else ""
        return f"the end of another run: {under_way}{paused}"
    return f"its start, which comes next; {under_way}"
