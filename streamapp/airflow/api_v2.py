"""The port to Airflow 3. Reads and writes its REST API v2 over HTTP; every answer becomes one of the port's types."""

import json
import logging
import re
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import quote

import httpx

from streamapp.airflow.auth import Login
from streamapp.airflow.connection import Connection, NoAnswer
from streamapp.airflow.port import (
    AirflowUnavailable,
    Created,
    DagMissing,
    DagRun,
    DagRunState,
    Exists,
    Refused,
    TriggerAnswer,
    TurnedAway,
    Uncertain,
)
from streamapp.clock import Clock
from streamapp.core.model import Reason

_log = logging.getLogger(__name__)

PAGE = 100
"""Rows asked for at a time: `[api] maximum_page_limit` unless an installation changes it; a lower one works too."""

DETAIL_LENGTH = 500
"""Airflow's refusals may quote the whole conf; an outcome needs the beginning."""

_DAG_ID = re.compile(r"(?!\.{1,2}$)[\w.-]{1,250}")
_RUN_ID = re.compile(r"(?!\.{1,2}$)[^/\\?#%\s]+")
_STARTED_STATES = frozenset(
    {"running", "restarting", "up_for_retry", "up_for_reschedule", "deferred", "awaiting_input"}
)


class ApiV2:
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
        return _trigger_answer(answer, dag_id)

    async def get(self, dag_id: str, run_id: str) -> DagRun | None:
        """A run, or None when Airflow surely has none of this id."""
        if not _DAG_ID.fullmatch(dag_id) or not _RUN_ID.fullmatch(run_id):
            return None
        answer = await self._send("GET", _run(dag_id, run_id))
        if _is_missing(answer, run_id):
            return None
        return _parse_run(_json(answer))

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
            if _is_missing(answer, dag_id):
                return True
            page, total = _page(_json(answer), "task_instances")
            if any(_was_started(task) for task in page):
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
        if not _is_missing(answer, run_id):
            _json(answer)

    async def health(self) -> str:
        """Airflow's version, once its database is healthy and the log-in works.

        The scheduler's health isn't asked for: runs are created without it and wait in Airflow.
        """
        health = _json(await self._connection.send("GET", "/api/v2/monitor/health"))
        database = health.get("metadatabase")
        if not isinstance(database, dict) or database.get("status") != "healthy":
            raise AirflowUnavailable("Airflow says that its database is not healthy")
        _json(await self._send("GET", "/api/v2/dags", params={"limit": 1}))
        version = _json(await self._connection.send("GET", "/api/v2/version")).get("version")
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
            page, total = _page(
                _json(await self._send("POST", "/api/v2/dags/~/dagRuns/list", content=_encode(body))), "dag_runs"
            )
            for run in map(_parse_run, page):
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
        if _is_stale_token(answer):
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
                _detail(answer) or answer.status_code,
                extra={"action": "airflow_forbids"},
            )
        if forbidden or answer.is_success:
            self._forbidden = forbidden


def _trigger_answer(answer: httpx.Response, dag_id: str) -> TriggerAnswer:
    status, detail = answer.status_code, _detail(answer)
    text = f"{status}: {detail}" if detail else f"{status}"
    match status:
        case 200 | 201:
            try:
                return Created(_parse_run(_json(answer)))
            except AirflowUnavailable as error:
                return Uncertain(str(error))
        case 409:
            return Exists()
        case 404 if _is_missing(answer, dag_id):
            return DagMissing(text)
        case 400 if detail and "has import errors" in detail:  # until the next deploy mends the file
            return DagMissing(text)
        case 400 | 422 if detail:
            return Refused(Reason.REFUSED_BY_AIRFLOW, detail)
        case 413:
            return Refused(Reason.REFUSED_BY_AIRFLOW, detail or "the params are too large for Airflow")
        case _ if status >= 500:
            return Uncertain(f"Airflow answers {text}")
        case _:
            return TurnedAway(f"Airflow answers {text}")


def _runs(dag_id: str) -> str:
    return f"/api/v2/dags/{quote(dag_id, safe='')}/dagRuns"


def _run(dag_id: str, run_id: str) -> str:
    return f"{_runs(dag_id)}/{quote(run_id, safe='')}"


def _encode(body: Mapping[str, object]) -> bytes:
    return json.dumps(body, allow_nan=False, ensure_ascii=False, separators=(",", ":")).encode()


def _json(answer: httpx.Response) -> dict[str, Any]:
    """The document of a good answer."""
    if not answer.is_success:
        detail = _detail(answer)
        text = f"{answer.status_code}: {detail}" if detail else f"{answer.status_code}"
        raise AirflowUnavailable(f"Airflow answers {text}")
    try:
        document = answer.json()
    except ValueError as error:
        raise AirflowUnavailable("Airflow's answer is not JSON") from error
    if not isinstance(document, dict):
        raise AirflowUnavailable("Airflow's answer is not a JSON object")
    return document


def _detail(answer: httpx.Response) -> str | None:
    """The short text in Airflow's refusal; None when the answer isn't Airflow's."""
    try:
        detail = answer.json()["detail"]
    except (ValueError, KeyError, TypeError):
        return None
    if isinstance(detail, list):
        parts = [
            f"{'.'.join(map(str, item.get('loc', ())))}: {item.get('msg')}" for item in detail if isinstance(item, dict)
        ]
        detail = "; ".join(parts)
    elif isinstance(detail, dict):
        detail = detail.get("reason") or detail.get("message")
    return str(detail)[:DETAIL_LENGTH]


def _is_missing(answer: httpx.Response, name: str) -> bool:
    """Whether Airflow itself says that it hasn't got a thing: a proxy's 404, or a wrong address, says nothing about runs."""
    return answer.status_code == 404 and name[:DETAIL_LENGTH] in _whole_detail(answer)


def _whole_detail(answer: httpx.Response) -> str:
    try:
        return str(answer.json()["detail"])
    except (ValueError, KeyError, TypeError):
        return ""


def _is_stale_token(answer: httpx.Response) -> bool:
    return answer.status_code == 401 or (answer.status_code == 403 and _detail(answer) == "Invalid JWT token")


def _page(document: Mapping[str, Any], name: str) -> tuple[list[Any], int]:
    rows, total = document.get(name), document.get("total_entries")
    if not isinstance(rows, list) or not isinstance(total, int):
        raise AirflowUnavailable(f"Airflow's answer has no {name}")
    return rows, total


def _parse_run(document: Any) -> DagRun:  # noqa: ANN401
    try:
        return DagRun(
            dag_id=document["dag_id"],
            run_id=document["dag_run_id"],
            state=DagRunState(document["state"]),
            conf=document["conf"] or {},
            created_at=_parse_time(document["run_after"]),
            started_at=_parse_time(document["start_date"]),
            ended_at=_parse_time(document["end_date"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise AirflowUnavailable(f"Airflow's answer is not a run: {error}") from error


def _parse_time(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text is not None else None


def _was_started(task: Mapping[str, Any]) -> bool:
    """Whether a task instance ever ran. Its start date can't tell: Airflow dates tasks that it skips, too."""
    return bool(
        task.get("pid")
        or task.get("hostname")
        or task.get("state") in _STARTED_STATES
        or (task.get("try_number") or 0) > 1  # an earlier try may have run
        or (
            task.get("state") in {"success", "failed"} and task.get("duration")
        )  # ran without a worker: in the triggerer
    )
