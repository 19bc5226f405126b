"""Why a command waits, in one sentence for a person. Reads and writes nothing.

A sentence is what follows "it waits for". What a command of a key waits for is mostly what the first of its key waits
for, so that is part of the sentence of all others.
"""

from dataclasses import dataclass
from datetime import datetime

from streamapp.core.model import Entry, Standing, Status

KEY = "its key"
ALL_DAGS = "all DAGs"


def its_dag(dag_id: str) -> str:
    """What a pause of one DAG stops."""
    return f"the DAG {dag_id}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ahead:
    """What stands before a command in the queue of its key."""

    first: Entry
    waits: str | None
    """What the first one waits for."""
    count: int | None = None
    """How many there are, the first among them; None: not counted."""
    more: bool = False
    """Whether there are more than were counted."""


@dataclass(frozen=True, slots=True)
class Stop:
    """An operator has stopped something that a command is one of."""

    what: str
    """KEY, ALL_DAGS, or what `its_dag` says."""
    standing: Standing


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What a command may be waiting for, apart from itself."""

    ahead: Ahead | None = None
    stops: tuple[Stop, ...] = ()
    trouble: str | None = None
    """Why its worker starts nothing just now."""
    outage: str | None = None
    """Why nothing is sent to Airflow just now."""
    outage_since: datetime | None = None
    asked: bool = False
    """Whether Airflow is being asked for its run, or has just answered."""
    next_try: datetime | None = None
    """When Airflow is asked again, after a try in vain."""
    running: int = 0
    """Runs of its DAG that its worker has started and that have not ended."""
    cap: int | None = None
    """How many there may be on its worker; None where it doesn't say."""
    paused: bool = False
    """Whether the DAG is paused in Airflow."""


def waiting_for(entry: Entry, *, around: Surroundings, now: datetime) -> str | None:
    """What has to happen next for a command; None once it has ended.

    Args:
        entry: The command as it now stands.
        around: What else there is.
        now: The present time.
    """
    if entry.status.terminal:
        return None
    if entry.status is Status.BLOCKED:
        return _blocked(entry)
    if entry.settling:
        return f"word from Airflow whether a run was created; without one it ends as {entry.ending}"
    if entry.status is Status.TRIGGERED:
        return _run(entry, around)
    if around.ahead is not None:
        return _turn(around.ahead)
    put_off = [_time(entry, now), *(_stop(stop) for stop in around.stops)]
    if any(put_off):
        return ", and for ".join(filter(None, put_off))
    return _start(entry, around, now)


def _blocked(entry: Entry) -> str:
    why = ": ".join(part for part in (entry.reason, entry.detail) if part)
    return f"an operator: it has failed, and blocks its key since {_at(entry.at)}" + (f" ({why})" if why else "")


def _run(entry: Entry, around: Surroundings) -> str:
    run = f"the end of its run {entry.run_id or ''}".rstrip()
    if entry.ending is not None:
        return f"{run}, which is being stopped"
    return f"{run}: the DAG is paused in Airflow" if around.paused else run


def _turn(ahead: Ahead) -> str:
    first = f"{ahead.first.id} ({ahead.first.source})"
    waits = f" waits for {ahead.waits}" if ahead.waits else " is about to leave"
    if ahead.count is None:
        return f"its turn: {first}, the first of its key,{waits}"
    if ahead.count == 1 and not ahead.more:
        return f"its turn: one command of its key is before it, {first}, and{waits}"
    number = f"at least {ahead.count}" if ahead.more else str(ahead.count)
    return f"its turn: {number} commands of its key are before it; the first, {first},{waits}"


def _time(entry: Entry, now: datetime) -> str | None:
    if entry.not_before is None or entry.not_before <= now:
        return None
    what = "its next attempt" if entry.status is Status.ATTEMPT_FAILED else "its time"
    return f"{what}: not before {_at(entry.not_before)}"


def _stop(stop: Stop) -> str:
    said = stop.standing
    how, verb = ("on hold", "released") if stop.what == KEY else ("paused", "resumed")
    why = f": {said.reason}" if said.reason else ""
    return f"{stop.what} to be {verb}: {how} since {_at(said.at)} by {said.by}{why}"


def _start(entry: Entry, around: Surroundings, now: datetime) -> str:
    assert entry.policy is not None
    if around.trouble is not None:
        return f"its worker, which starts nothing just now: {around.trouble}"
    if around.outage is not None:
        since = f" since {_at(around.outage_since)}" if around.outage_since else " just now"
        return f"Airflow, to which nothing is sent{since}: {around.outage}"
    if around.next_try is not None and around.next_try > now:
        return f"the next try: Airflow was asked for its run in vain, and is asked again at {_at(around.next_try)}"
    if around.asked:
        return "its run: Airflow is being asked for it"
    dag, running, cap = entry.policy.dag_id, around.running, around.cap
    under_way = f"{running} runs of {dag} are under way here" + ("" if cap is None else f", {cap} may be")
    if cap is not None and running >= cap:
        paused = f"; {dag} is paused in Airflow" if around.paused else ""
        return f"the end of another run: {under_way}{paused}"
    return f"its start, which comes next; {under_way}"


def _at(time: datetime) -> str:
    return f"{time.replace(tzinfo=None).isoformat(timespec='milliseconds')}Z"
