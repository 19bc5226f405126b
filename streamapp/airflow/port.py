"""The port to Airflow: a few verbs, every answer a type. Reads and writes nothing itself; adapters do."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Protocol

from streamapp.core.errors import Unavailable
from streamapp.core.model import Reason


class AirflowUnavailable(Unavailable):
    """Airflow did not answer, or not with something that settles the question. Ask again later."""


class DagRunState(StrEnum):
    """Airflow's own states of a run."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCESS = "success"
    FAILED = "failed"

    @property
    def ended(self) -> bool:
        """Whether the run is over (a person may still clear it)."""
        return self in {DagRunState.SUCCESS, DagRunState.FAILED}


@dataclass(frozen=True, slots=True, kw_only=True)
class DagRun:
    """A run as Airflow shows it."""

    dag_id: str
    run_id: str
    state: DagRunState
    conf: Mapping[str, Any]
    created_at: datetime | None = None
    """When it was asked for, by Airflow's clock; it can't have ended earlier. None where Airflow doesn't say."""
    started_at: datetime | None = None
    ended_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """Some of the runs that were asked for."""

    runs: Sequence[DagRun]
    more: bool
    """Whether there are others behind these."""


@dataclass(frozen=True, slots=True)
class Created:
    """The run was created by this request."""

    run: DagRun


@dataclass(frozen=True, slots=True)
class Exists:
    """A run with this id exists; whose it is, `get` tells."""


@dataclass(frozen=True, slots=True)
class Refused:
    """Airflow will never take this request."""

    reason: Reason
    detail: str


@dataclass(frozen=True, slots=True)
class DagMissing:
    """Airflow does not know the DAG; right after a deploy it may learn of it."""

    detail: str


@dataclass(frozen=True, slots=True)
class Uncertain:
    """No usable answer (time-out, broken connection, 5xx): the run may or may not have been created."""

    detail: str


@dataclass(frozen=True, slots=True)
class TurnedAway:
    """Airflow surely created nothing and asks to come back (429, 401 or 403, no connection)."""

    detail: str


@dataclass(frozen=True, slots=True)
class Withdrawn:
    """Nothing was asked of Airflow: the run was no longer due when the request was to leave. It says nothing of it."""


TriggerAnswer = Created | Exists | Refused | DagMissing | Uncertain | TurnedAway | Withdrawn


@dataclass(frozen=True, slots=True)
class Dag:
    """What Airflow says of a DAG."""

    max_active_runs: int | None
    """Runs of it that Airflow lets run at a time; None where it sets no number."""
    paused: bool
    """Whether its runs stay queued until a person unpauses it."""


def always() -> bool:
    """Nothing can come in between."""
    return True


class AirflowPort(Protocol):
    """What streamapp asks of Airflow. Every verb but `trigger` raises `AirflowUnavailable` for want of an answer."""

    async def trigger(
        self, dag_id: str, run_id: str, conf: Mapping[str, Any], still_due: Callable[[], bool] = always
    ) -> TriggerAnswer:
        """Ask for a run; never raises for what Airflow or the network does.

        Args:
            dag_id: Of which DAG.
            run_id: The id that it is to have.
            conf: Its params.
            still_due: Asked last of all, when nothing but the request itself is left to be done (a log-in may take
                long); what it raises passes through. Where it says no, the answer is `Withdrawn`.
        """

    async def get(self, dag_id: str, run_id: str) -> DagRun | None:
        """A run, or None when Airflow surely has none of this id."""

    async def list_ended(self, dag_ids: Collection[str], since: datetime) -> Sequence[DagRun]:
        """All runs of these DAGs that ended at `since` or later, oldest end first; confs may be left out."""

    async def list_active(self, dag_ids: Collection[str] | None, since: datetime | None) -> Page:
        """One page of the queued and running runs created at `since` or later, oldest first; None stands for all."""

    async def any_task_started(self, dag_id: str, run_id: str) -> bool:
        """Whether at least one task of the run was ever started; True when Airflow can no longer tell."""

    async def cancel(self, dag_id: str, run_id: str) -> None:
        """Set a run to failed, so that Airflow stops its tasks; a run that has ended or is gone stays as it is."""

    async def dag(self, dag_id: str) -> Dag | None:
        """What Airflow says of a DAG, or None when it says that there is none."""

    async def health(self) -> str:
        """Airflow's version, once its database is healthy and the log-in works."""

    async def close(self) -> None:
        """Close connections."""
