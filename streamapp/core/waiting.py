"""Why a command waits, in one sentence for a person. Reads and writes nothing."""

from datetime import datetime

from streamapp.core.model import Entry, Status


def waiting_for(entry: Entry, *, head: int | None, running: int, now: datetime) -> str | None:
    """What has to happen next for a command; None once it has ended.

    Args:
        entry: The command as it now stands.
        head: The offset of the first command in its key's queue, if there is a queue.
        running: Runs of its DAG that its worker has started and that have not ended.
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
        return f"the end of its run {entry.run_id or ''}".rstrip()
    source = entry.source
    if entry.ordered and head is not None and head < source.offset:
        return f"its turn: {source.topic}-{source.partition}-{head} is the first in the queue of its key"
    if entry.not_before is not None and entry.not_before > now:
        what = "its next attempt" if entry.status is Status.ATTEMPT_FAILED else "its time"
        at = entry.not_before.replace(tzinfo=None).isoformat(timespec="milliseconds")
        return f"{what}: not before {at}Z"
    assert entry.policy is not None
    dag, cap = entry.policy.dag_id, entry.policy.max_in_flight
    return f"its start, which comes next; {running} runs of {dag} are under way here, {cap} may be on all workers"
