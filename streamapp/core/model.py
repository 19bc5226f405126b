"""The frozen values of the core: commands, policies, entries, outcomes, dead letters. Reads and writes nothing."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum


class Status(StrEnum):
    """What an outcome says of a command; also where its entry stands."""

    ACCEPTED = "accepted"
    TRIGGERED = "triggered"
    RUN_ENDED = "run_ended"
    ATTEMPT_FAILED = "attempt_failed"
    BLOCKED = "blocked"
    INSTRUCTION_APPLIED = "instruction_applied"
    INSTRUCTION_REFUSED = "instruction_refused"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    REJECTED = "rejected"
    DUPLICATE = "duplicate"
    EXPIRED = "expired"
    CANCELLED = "cancelled"
    SKIPPED = "skipped"

    @property
    def terminal(self) -> bool:
        """Whether nothing follows it in the same round."""
        return self in TERMINAL


TERMINAL = frozenset(
    {
        Status.SUCCEEDED,
        Status.FAILED,
        Status.REJECTED,
        Status.DUPLICATE,
        Status.EXPIRED,
        Status.CANCELLED,
        Status.SKIPPED,
    }
)

OBSERVATIONS = frozenset({Status.TRIGGERED, Status.RUN_ENDED})
"""What the sink and the follower report; everything else is a verdict and comes from a fold alone."""

ANSWERS = frozenset({Status.INSTRUCTION_APPLIED, Status.INSTRUCTION_REFUSED})
"""What is said of an instruction; the command stands as it did."""


class Reason(StrEnum):
    """Why a command did not succeed. The list is closed: it is part of the public contract."""

    UNDECODABLE = "undecodable"
    UNKNOWN_SCHEMA = "unknown_schema"
    INVALID_COMMAND = "invalid_command"
    INVALID_PARAMS = "invalid_params"
    TOO_LARGE = "too_large"
    TOMBSTONE = "tombstone"
    UNKNOWN_ROUTE = "unknown_route"
    DAG_NOT_FOUND = "dag_not_found"
    REFUSED_BY_AIRFLOW = "refused_by_airflow"
    RUN_ID_CONFLICT = "run_id_conflict"
    RUN_FAILED = "run_failed"
    RUN_NOT_STARTED = "run_not_started"
    RUN_DELETED = "run_deleted"
    STOPPED_OUTSIDE = "stopped_outside"


RETRYABLE = frozenset({Reason.RUN_FAILED, Reason.RUN_NOT_STARTED, Reason.DAG_NOT_FOUND, Reason.REFUSED_BY_AIRFLOW})
"""What a route may have tried again. The rest would fail again (a bad record), or might run twice what somebody else
began or took away (a run that was deleted, or whose id is taken)."""


class Ordering(StrEnum):
    """When a command lets the next one of its key start; each follows the one before it, whatever its own ordering."""

    COMPLETED = "completed"
    """Once the run before it has ended."""
    TRIGGERED = "triggered"
    """Once the run before it exists."""
    NONE = "none"
    """At once: it neither waits nor makes others wait."""


class OnFailure(StrEnum):
    """What happens to the key of a command that finally failed."""

    DEAD_LETTER = "dead_letter"
    """The command is recorded as a dead letter and the key goes on."""
    BLOCK = "block"
    """The key is held until an operator acts."""


class Paused(StrEnum):
    """What happens to a command whose DAG is paused."""

    WAIT = "wait"
    """Its run is created and stays queued in Airflow, up to the DAG's cap; further commands wait here."""
    REJECT = "reject"
    """It is rejected."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """How one command is run; fixed when the command is accepted and stored with it."""

    dag_id: str
    """The DAG that the route names."""
    ordering: Ordering = Ordering.COMPLETED
    on_failure: OnFailure = OnFailure.DEAD_LETTER
    max_attempts: int = 1
    """Runs that may fail; runs in which no task started are not counted."""
    retry_delay: timedelta = timedelta(seconds=30)
    """The wait before the second attempt; it doubles from there."""
    retry_delay_max: timedelta = timedelta(hours=1)
    """Doubling stops here; a longer `retry_delay` never doubles."""
    retry_on: frozenset[Reason] = frozenset({Reason.RUN_FAILED, Reason.RUN_NOT_STARTED})
    """Failures that are worth another attempt; of `RETRYABLE`."""
    not_before: timedelta | None = None
    """How long after its acceptance it starts at the earliest; a command's own time goes before."""
    deadline: timedelta | None = None
    """How long after its acceptance it may still start; a command's own time goes before."""
    dedupe_for: timedelta | None = None
    """How long it is remembered after its end; None: as long as the settings say."""
    max_in_flight: int | None = None
    """Runs of the DAG outstanding in Airflow at a time; None: as many as the DAG's own `max_active_runs`."""
    paused: Paused = Paused.WAIT


@dataclass(frozen=True, slots=True)
class Source:
    """The place of a record in Kafka."""

    topic: str
    partition: int
    offset: int

    def __str__(self) -> str:
        return f"{self.topic}-{self.partition}-{self.offset}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """A decoded and checked command."""

    command: str
    """Its name, such as `app.send_email_alert`."""
    params: str
    """A JSON object as text: the run's `conf`."""
    id: str
    """The idempotency key."""
    not_before: datetime | None = None
    deadline: datetime | None = None
    correlation_id: str | None = None
    causation_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejection:
    """A record that can never run, and why."""

    reason: Reason
    detail: str
    id: str
    """The command id as far as it could be read, else the one derived from the record's position."""
    command: str | None = None


@dataclass(frozen=True, slots=True)
class Original:
    """A record's bytes as they came, kept until the command has ended."""

    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...] = ()


@dataclass(frozen=True, slots=True)
class Reopens:
    """The round of a command that a record follows with the next one: a redrive, or part of a replay."""

    source: Source
    """The record of the round before, on the same partition."""
    round: int
    """The round before."""
    replay_id: str | None = None
    """None for a redrive: only what failed or was rejected is redriven, everything that has ended is replayed."""

    def __str__(self) -> str:
        return f"{self.source}-{self.round}"


ANSWERS_KEPT = 64
"""Instructions that a command, a key or a DAG remembers. More than were given to it since the last commit, about a
second ago, or a session where commits fail: read again after a crash, one that is forgotten would be followed again."""
ANSWER_IDS_KEPT = 6_000
"""Characters of their control ids, of which each may have a thousand: the row has to fit into Kafka."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of an instruction."""

    control_id: str
    refused: str | None = None
    """Why; None when it was applied."""
    about: int | None = None
    """The offset of the command that it was about; for a key, of the one that was ended to let it go on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What operators have said of a command, a key or a DAG, and were told; kept until it is lifted and old."""

    stopped: bool
    """Whether nothing of it is started: a key on hold, a paused DAG."""
    by: str
    """Who said so last."""
    reason: str | None = None
    at: datetime
    """When it was folded."""
    answers: tuple[Answer, ...] = ()


class RunState(StrEnum):
    """How an attempt ended, as the sink or the follower saw it."""

    SUCCESS = "success"
    FAILED = "failed"
    DELETED = "deleted"
    """Airflow no longer has the run."""
    NOT_CREATED = "not_created"
    """Airflow refused the run for good, or it was never asked for."""
    DUPLICATE = "duplicate"
    """The run exists for the same command from another position."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Timings:
    """When a command passed its stations."""

    accepted_at: datetime | None = None
    triggered_at: datetime | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """What the table knows of one record of the commands topic."""

    source: Source
    key: bytes | None
    recorded_at: datetime
    """The record's own timestamp: tells a recreated topic from the one that was read."""
    id: str
    command: str | None
    status: Status
    policy: Policy | None = None
    """None for what was never runnable."""
    params: str | None = None
    """None once ended."""
    round: int = 1
    attempt: int = 0
    """The last attempt that came to a run, or was refused and another one may follow; 0 before the first."""
    unstarted: int = 0
    """Attempts of this round in which no task started."""
    refused: int = 0
    """Those of this round that Airflow refused, where another one followed or may do so: they came to no run."""
    not_before: datetime | None = None
    """Earliest dispatch: the producer's wish, or the time of the next attempt."""
    deadline: datetime | None = None
    ending: Status | None = None
    """The verdict that waits until a POST that may be in flight is settled."""
    run_id: str | None = None
    """The run of the last attempt, as it was observed."""
    reason: Reason | None = None
    detail: str | None = None
    at: datetime
    """When the status was pronounced."""
    timings: Timings = field(default_factory=Timings)
    correlation_id: str | None = None
    causation_id: str | None = None
    duplicate_of: str | None = None
    reopens: Reopens | None = None
    """With a redriven or replayed record: the round that this one follows."""
    instructed: str | None = None
    """The control id of the last instruction that was followed for it, or for the rounds before."""
    original: Original | None = None
    """Kept until the command ends, and with a failed one, so that its dead letter can be written again."""

    @property
    def ordered(self) -> bool:
        """Whether it takes part in its key's queue, as the first or behind others."""
        if self.key is None or self.policy is None or self.policy.ordering is Ordering.NONE:
            return False
        return self.policy.ordering is Ordering.COMPLETED or self.attempt == self.refused

    @property
    def dispatchable(self) -> bool:
        """Whether its next step is a run that does not exist yet."""
        return self._without_run and self.ending is None

    @property
    def settling(self) -> bool:
        """Whether its verdict waits for word whether a run was created."""
        return self._without_run and self.ending is not None

    @property
    def _without_run(self) -> bool:
        return self.status in {Status.ACCEPTED, Status.ATTEMPT_FAILED}

    @property
    def run_attempt(self) -> int:
        """The attempt that its present or next run belongs to."""
        return self.attempt + 1 if self._without_run else self.attempt


@dataclass(frozen=True, slots=True)
class Holder:
    """Who holds a command id: the value of an id row."""

    key: bytes | None
    offset: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """One change of a command's state, or one observation, as it stands on the results topic."""

    command_id: str
    key: bytes | None
    command: str | None
    dag_id: str | None
    dag_run_id: str | None
    round: int
    attempt: int
    status: Status
    reason: Reason | None = None
    detail: str | None = None
    at: datetime
    source: Source
    timings: Timings = field(default_factory=Timings)
    correlation_id: str | None = None
    causation_id: str | None = None
    duplicate_of: str | None = None
    replay_id: str | None = None
    control_id: str | None = None
    result: RunState | None = None
    """On `run_ended`: how the attempt ended."""

    @property
    def id(self) -> str:
        """Deterministic: an outcome that is delivered twice has the same id twice.

        An answer to an instruction names neither round nor attempt: they may have gone on when it is given again.
        """
        if self.control_id is not None:
            return f"{self.source}-{self.status}-{self.control_id}"
        return f"{self.source}-{self.round}.{self.attempt}-{self.status}"


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetter:
    """A record that could not be run, for the dead-letter topic."""

    source: Source
    key: bytes | None
    original: Original
    round: int
    reason: Reason
    detail: str
    at: datetime

    @property
    def id(self) -> str:
        """Deterministic: `dlq.id`, one for each round of a record."""
        return f"{self.source}-{self.round}"


class Action(StrEnum):
    """What a control record asks for."""

    RETRY = "retry"
    SKIP = "skip"
    CANCEL = "cancel"
    RELEASE = "release"
    HOLD = "hold"
    PAUSE = "pause"
    RESUME = "resume"
    EXPIRE = "expire"
    """Sent by a worker when the deadline of the first command of a key has passed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Instruction:
    """A control record: what an operator, or a worker's timer, asks for."""

    control_id: str
    action: Action
    command_id: str | None = None
    key: bytes | None = None
    dag_id: str | None = None
    by: str
    reason: str | None = None
    at: datetime
