"""The port to whichever Airflow is there. Reads its version, again after an upgrade; leaves the rest to adapters."""

import asyncio
import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

from streamapp.airflow.api_v1 import AirflowV1
from streamapp.airflow.api_v2 import AirflowV2
from streamapp.airflow.auth import Credentials
from streamapp.airflow.connection import Connection, NotSent
from streamapp.airflow.port import AirflowUnavailable, Dag, DagRun, Page, TriggerAnswer, TurnedAway, always
from streamapp.airflow.rest import RestApi
from streamapp.clock import Clock

_log = logging.getLogger(__name__)

PAUSE_AFTER_FAILURE_SECONDS = 1.0
"""How long "nobody tells a version" stands for everybody who waits for it."""

PAUSE_AFTER_CHOICE_SECONDS = 10.0
"""How long a choice stands, whatever is answered: a wrong address answers 404 to everything."""


class ChosenAirflow:
    """Asks for the version at first use, and again once answers say that the API in use isn't there any more.

    Args:
        connection: To Airflow.
        credentials_v1: The log-in at API v1.
        credentials_v2: The log-in at API v2.
        clock: For the pauses.
        api: "v1" or "v2" is taken without asking.
    """

    def __init__(
        self,
        connection: Connection,
        *,
        credentials_v1: Credentials,
        credentials_v2: Credentials,
        clock: Clock,
        api: str = "auto",
    ) -> None:
        self._connection = connection
        self._clock = clock
        v1 = AirflowV1(connection, credentials_v1, self._doubt)
        v2 = AirflowV2(connection, credentials_v2, self._doubt)
        self._adapters: dict[str, RestApi] = {"v2": v2, "v1": v1}
        self._forced = api in self._adapters
        self._adapter = self._adapters.get(api)
        self._in_doubt = not self._forced
        self._ask_at: float | None = None
        self._failure = ""
        self._lock = asyncio.Lock()

    async def trigger(
        self, dag_id: str, run_id: str, conf: Mapping[str, Any], still_due: Callable[[], bool] = always
    ) -> TriggerAnswer:
        """Ask for a run; never raises for what Airflow or the network does."""
        try:
            adapter = await self._choose()
        except AirflowUnavailable as error:
            return TurnedAway(str(error))
        return await adapter.trigger(dag_id, run_id, conf, still_due)

    async def get(self, dag_id: str, run_id: str) -> DagRun | None:
        """A run, or None when Airflow surely has none of this id."""
        return await (await self._choose()).get(dag_id, run_id)

    async def list_ended(self, dag_ids: Collection[str], since: datetime) -> Sequence[DagRun]:
        """All runs of these DAGs that ended at `since` or later, oldest end first."""
        return await (await self._choose()).list_ended(dag_ids, since)

    async def list_active(self, dag_ids: Collection[str] | None, since: datetime | None) -> Page:
        """One page of the queued and running runs created at `since` or later, oldest first; None stands for all."""
        return await (await self._choose()).list_active(dag_ids, since)

    async def any_task_started(self, dag_id: str, run_id: str) -> bool:
        """Whether at least one task of the run was ever started; True where Airflow can't tell any more."""
        return await (await self._choose()).any_task_started(dag_id, run_id)

    async def cancel(self, dag_id: str, run_id: str) -> None:
        """Set a run to failed, so that Airflow stops its tasks; a run that has ended or is gone stays as it is."""
        await (await self._choose()).cancel(dag_id, run_id)

    async def dag(self, dag_id: str) -> Dag | None:
        """What Airflow says of a DAG, or None when it says that there is none."""
        return await (await self._choose()).dag(dag_id)

    async def health(self) -> str:
        """Airflow's version, once its database is healthy and the log-in works."""
        return await (await self._choose()).health()

    async def parts(self) -> dict[str, str]:
        """How Airflow's parts are by its own account; without those that it does not run."""
        return await (await self._choose()).parts()

    async def close(self) -> None:
        """Close connections."""
        await self._connection.close()

    def _doubt(self) -> None:
        self._in_doubt = not self._forced

    async def _choose(self) -> RestApi:
        async with self._lock:
            if self._adapter is not None and not self._in_doubt:
                return self._adapter
            if self._ask_at is None or self._clock.monotonic() >= self._ask_at:
                await self._ask()
            if self._adapter is None:
                raise NotSent(self._failure)
            return self._adapter

    async def _ask(self) -> None:
        """Find the API that is there; while nobody says, an earlier choice stands."""
        try:
            for name, adapter in self._adapters.items():
                if (version := await adapter.version()) is not None:
                    if adapter is not self._adapter:
                        _log.info("Airflow %s: API %s", version, name, extra={"action": "airflow_chosen"})
                    self._adapter, self._in_doubt = adapter, False
                    self._ask_at = self._clock.monotonic() + PAUSE_AFTER_CHOICE_SECONDS
                    return
            self._failure = "Airflow's version is neither at /api/v2/version nor at /api/v1/version"
        except AirflowUnavailable as error:
            self._failure = f"Airflow's version: {error}"
        self._ask_at = self._clock.monotonic() + PAUSE_AFTER_FAILURE_SECONDS
