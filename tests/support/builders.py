"""Values of the core with every field filled in: a test names only what it is about."""

from datetime import UTC, datetime, timedelta
from typing import Any

from streamapp.core.events import CommandReceived, Instructed, Observed
from streamapp.core.model import (
    Action,
    Command,
    Entry,
    Instruction,
    Original,
    Outcome,
    Policy,
    Reason,
    Rejection,
    RunState,
    Source,
    Status,
    Timings,
)

TOPIC = "commands"
AT = datetime(2026, 1, 1, 12, tzinfo=UTC)
"""When everything happens, unless told otherwise."""
RECORDED = AT - timedelta(seconds=1)
SECOND = timedelta(seconds=1)


def policy(**fields: Any) -> Policy:
    return Policy(**({"dag_id": "probe"} | fields))


def source(offset: int = 0, partition: int = 0) -> Source:
    return Source(TOPIC, partition, offset)


def command(**fields: Any) -> Command:
    return Command(**({"command": "app.probe", "params": "{}", "id": "c0"} | fields))


def rejection(reason: Reason = Reason.UNDECODABLE, **fields: Any) -> Rejection:
    return Rejection(**({"reason": reason, "detail": "not to be read", "id": "c0"} | fields))


def received(
    offset: int = 0,
    *,
    key: bytes | None = b"k",
    content: Command | Rejection | None = None,
    partition: int = 0,
    at: datetime = AT,
    recorded_at: datetime = RECORDED,
    original: Original | None = None,
    policy: Policy | None = None,
    **fields: Any,
) -> CommandReceived:
    """A record of the commands topic; `fields` are the command's, its id is `c<offset>` unless told otherwise."""
    if content is None:
        content = command(**({"id": f"c{offset}"} | fields))
    if isinstance(content, Command) and policy is None:
        policy = Policy(dag_id="probe")
    return CommandReceived(
        source=source(offset, partition),
        key=key,
        recorded_at=recorded_at,
        original=original or Original(b"value %d" % offset, (("h", b"1"),)),
        content=content,
        policy=policy,
        at=at,
    )


def entry(offset: int = 0, **fields: Any) -> Entry:
    """An accepted command."""
    values: dict[str, Any] = {
        "source": source(offset),
        "key": b"k",
        "recorded_at": RECORDED,
        "id": f"c{offset}",
        "command": "app.probe",
        "status": Status.ACCEPTED,
        "policy": policy(),
        "params": "{}",
        "at": AT,
        "timings": Timings(accepted_at=AT),
        "original": Original(b"value %d" % offset, (("h", b"1"),)),
    }
    return Entry(**(values | fields))


def outcome(about: Entry, status: Status, **fields: Any) -> Outcome:
    """What the sink or the follower says of the present or next attempt of an entry."""
    values: dict[str, Any] = {
        "command_id": about.id,
        "key": about.key,
        "command": about.command,
        "dag_id": about.policy and about.policy.dag_id,
        "dag_run_id": f"run-{about.id}-{about.round}.{about.run_attempt}",
        "round": about.round,
        "attempt": about.run_attempt,
        "status": status,
        "at": AT,
        "source": about.source,
    }
    return Outcome(**(values | fields))


def triggered(about: Entry, **fields: Any) -> Outcome:
    return outcome(about, Status.TRIGGERED, **({"timings": Timings(triggered_at=AT + SECOND)} | fields))


def run_ended(about: Entry, result: RunState = RunState.SUCCESS, **fields: Any) -> Outcome:
    """The end of a run, with the reason that the sink or the follower gives."""
    values: dict[str, Any] = {"result": result}
    match result:
        case RunState.FAILED:
            values |= {"reason": Reason.RUN_FAILED, "detail": "the run failed"}
        case RunState.DELETED:
            values |= {"reason": Reason.RUN_DELETED, "detail": "Airflow no longer has the run"}
        case RunState.DUPLICATE:
            values |= {"duplicate_of": "commands-0-99"}
    if result in {RunState.SUCCESS, RunState.FAILED}:
        values |= {"timings": Timings(started_at=AT + 2 * SECOND, ended_at=AT + 3 * SECOND)}
    return outcome(about, Status.RUN_ENDED, **(values | fields))


def refused(about: Entry, reason: Reason = Reason.REFUSED_BY_AIRFLOW, **fields: Any) -> Outcome:
    return run_ended(about, RunState.NOT_CREATED, **({"reason": reason, "detail": "Airflow said no"} | fields))


def not_created(about: Entry) -> Outcome:
    """What the sink says of an ending entry for which Airflow has no run."""
    return run_ended(about, RunState.NOT_CREATED)


def unstarted(about: Entry) -> Outcome:
    return run_ended(about, RunState.FAILED, reason=Reason.RUN_NOT_STARTED)


def observed(seen: Outcome, *, at: datetime = AT) -> Observed:
    return Observed(key=seen.key, outcome=seen, at=at)


def instructed(action: Action, *, offset: int = 0, at: datetime = AT, **fields: Any) -> Instructed:
    values: dict[str, Any] = {"control_id": f"control-{offset}", "action": action, "by": "ann", "at": at}
    return Instructed(source=Source("control", 0, offset), instruction=Instruction(**(values | fields)), at=at)


def expire(about: Entry, *, at: datetime = AT) -> Instructed:
    return instructed(
        Action.EXPIRE, command_id=about.id, key=about.key, by="streamapp", control_id=f"expire-{about.source}", at=at
    )
