"""The port to Airflow 3. Reads and writes its REST API v2 over HTTP; every answer becomes one of the port's types."""

import json
import logging
import re
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import quote

import httpx

from streamapp.airflow.answers import (
    DETAIL_LENGTH,
    detail_of,
    document_of,
    is_missing,
    is_stale_token,
    page_of,
    parse_run,
    to_trigger_answer,
    was_started,
)
from streamapp.airflow.auth import Login
from streamapp.airflow.connection import Connection, NoAnswer
from streamapp.airflow.port import AirflowUnavailable, DagRun, Refused, TriggerAnswer, TurnedAway, Uncertain
from streamapp.clock import Clock
from streamapp.core.model import Reason

_log = logging.getLogger(__name__)

PAGE = 100
"""Rows asked for at a time: `[api] maximum_page_limit` unless an installation changes it; a lower one works too."""

_DAG_ID = re.compile(r"(?!\.{1,2}$)[\w.-]{1,250}")
_RUN_ID = re.compile(r"(?!\.{1,2}$)[^/\\?#%\s]+")


class AirflowV2:
    """Airflow's API v2.

    Args:
        url: Where Airflow's pages are.
        username: For `POST /auth/token`.
        password: Never shown.
        clock: For the token's age.
        connect_timeout: For opening a connection.
        request_timeout: For a whole request. A worker that takes a partition over waits as long before it believes that
            a run was not created.
        transport: Another way to carry requests, for tests.

    Raises:
        ConfigError: The address can't be used.
    """

    def __init__(
        self,
        url: str,
        *,
        username: str,
        password: str,
        clock: Clock,
        connect_timeout: timedelta = timedelta(seconds=5),
        request_timeout: timedelta = timedelta(seconds=30),
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._connection = Connection(
            url, connect_timeout=connect_timeout, request_timeout=request_timeout, transport=transport
        )
        self._login = Login(self._connection, username, password, clock)
        self._forbidden = False

    async def trigger(self, dag_id: str, run_id: str, conf: Mapping[str, Any]) -> TriggerAnswer:
        """Ask for a run; never raises for what Airflow or the network does."""
        if not _DAG_ID.fullmatch(dag_id):
            return Refused(Reason.DAG_NOT_FOUND, f"{dag_id[:DETAIL_LENGTH]!r} can't be the id of a DAG")
        if not _RUN_ID.fullmatch(run_id):
            return Refused(Reason.REFUSED_BY_AIRFLOW, f"{run_id[:DETAIL_LENGTH]!r} can't be the id of a run")
        try:
            content = _encode({"dag_run_id": run_id, "conf": conf, "logical_date": None})
        except (ValueError, RecursionError) as error:
            return Refused(Reason.REFUSED_BY_AIRFLOW, f"the conf can't be sent as JSON: {error}")
        try:
            answer = await self._send("POST", _runs(dag_id), content=content)
        except NoAnswer as error:
            return Uncertain(str(error))
        except AirflowUnavailable as error:
            return TurnedAway(str(error))
        return to_trigger_answer(answer, dag_id)

    async def get(self, dag_id: str, run_id: str) -> DagRun | None:
        """A run, or None when Airflow surely has none of this id."""
        if not _DAG_ID.fullmatch(dag_id) or not _RUN_ID.fullmatch(run_id):
            return None
        answer = await self._send("GET", _run(dag_id, run_id))
        if is_missing(answer, run_id):
            return None
        return parse_run(document_of(answer))

    async def list_ended(self, dag_ids: Collection[str], since: datetime) -> Sequence[DagRun]:
        """All runs of these DAGs that ended at `since` or later, oldest end first."""
        return await self._list(
            dag_ids, states=["success", "failed"], end_date_gte=since.isoformat(), order_by="end_date"
        )

    async def list_active(self, dag_ids: Collection[str]) -> Sequence[DagRun]:
        """All queued and running runs of these DAGs."""
        return await self._list(dag_ids, states=["queued", "running"], order_by="run_after")

    async def any_task_started(self, dag_id: str, run_id: str) -> bool:
        """Whether at least one task of the run was ever started; True where Airflow can't tell any more."""
        seen = 0
        while True:
            params = {"limit": PAGE, "offset": seen}
            answer = await self._send("GET", _run(dag_id, run_id) + "/taskInstances", params=params)
            if is_missing(answer, dag_id):
                return True
            page, total = page_of(document_of(answer), "task_instances")
            if any(was_started(task) for task in page):
                return True
            seen += len(page)
            if not page or seen >= total:
                return False

    async def cancel(self, dag_id: str, run_id: str) -> None:
        """Set a run to failed, so that Airflow stops its tasks; a run that has ended or is gone stays as it is."""
        run = await self.get(dag_id, run_id)
        if run is None or run.state.ended:  # Airflow would turn a success into a failure
            return
        answer = await self._send("PATCH", _run(dag_id, run_id), content=_encode({"state": "failed"}))
        if not is_missing(answer, run_id):
            document_of(answer)

    async def health(self) -> str:
        """Airflow's version, once its database is healthy and the log-in works.

        The scheduler's health isn't asked for: runs are created without it and wait in Airflow.
        """
        health = document_of(await self._connection.send("GET", "/api/v2/monitor/health"))
        database = health.get("metadatabase")
        if not isinstance(database, dict) or database.get("status") != "healthy":
            raise AirflowUnavailable("Airflow says that its database is not healthy")
        document_of(await self._send("GET", "/api/v2/dags", params={"limit": 1}))
        version = document_of(await self._connection.send("GET", "/api/v2/version")).get("version")
        if not isinstance(version, str):
            raise AirflowUnavailable("Airflow does not tell its version")
        return version

    async def close(self) -> None:
        """Close connections."""
        await self._connection.close()

    async def _list(self, dag_ids: Collection[str], **filters: object) -> list[DagRun]:
        if not dag_ids:  # Airflow takes an empty list for "all"
            return []
        runs: dict[tuple[str, str], DagRun] = {}
        seen = 0
        while True:
            body = {"dag_ids": sorted(dag_ids), "page_limit": PAGE, "page_offset": seen, **filters}
            page, total = page_of(
                document_of(await self._send("POST", "/api/v2/dags/~/dagRuns/list", content=_encode(body))), "dag_runs"
            )
            for run in map(parse_run, page):
                runs[run.dag_id, run.run_id] = run  # a run may move to a later page while pages are read
            seen += len(page)
            if not page or seen >= total:
                return list(runs.values())

    async def _send(
        self, method: str, path: str, *, content: bytes | None = None, params: Mapping[str, int | str] | None = None
    ) -> httpx.Response:
        """Send with a token; once more with a new one when Airflow no longer takes it."""
        token = await self._login.token()
        answer = await self._connection.send(method, path, content=content, params=params, token=token)
        if is_stale_token(answer):
            self._login.reject(token)
            token = await self._login.token()
            answer = await self._connection.send(method, path, content=content, params=params, token=token)
        self._note_permission(method, answer)
        return answer

    def _note_permission(self, method: str, answer: httpx.Response) -> None:
        forbidden = answer.status_code in {401, 403}
        if forbidden and not self._forbidden:
            _log.warning(
                "Airflow refuses %s %s (%s): give the user a role that may read and create runs",
                method,
                answer.request.url.path,
                detail_of(answer) or answer.status_code,
                extra={"action": "airflow_forbids"},
            )
        if forbidden or answer.is_success:
            self._forbidden = forbidden


def _runs(dag_id: str) -> str:
    return f"/api/v2/dags/{quote(dag_id, safe='')}/dagRuns"


def _run(dag_id: str, run_id: str) -> str:
    return f"{_runs(dag_id)}/{quote(run_id, safe='')}"


def _encode(body: Mapping[str, object]) -> bytes:
    return json.dumps(body, allow_nan=False, ensure_ascii=False, separators=(",", ":")).encode()
