"""The port to Airflow, as API v1 and v2 have it in common. Reads and writes HTTP; every answer becomes a type."""

import json
import logging
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, ClassVar
from urllib.parse import quote

import httpx

from streamapp.airflow.answers import (
    DETAIL_LENGTH,
    detail_of,
    document_of,
    is_elsewhere,
    is_missing,
    is_stale_token,
    page_of,
    parse_dag,
    parse_run,
    to_trigger_answer,
    was_started,
)
from streamapp.airflow.auth import Credentials
from streamapp.airflow.connection import LONGEST_ANSWER, Connection, NoAnswer, TooLong
from streamapp.airflow.port import (
    AirflowUnavailable,
    Dag,
    DagRun,
    Page,
    Refused,
    TriggerAnswer,
    TurnedAway,
    Uncertain,
    Withdrawn,
    always,
)
from streamapp.core.model import Reason

_log = logging.getLogger(__name__)

PAGE = 100
"""Rows asked for at a time: `[api] maximum_page_limit` unless an installation changes it; a lower one works too."""

PAGE_BYTES = 4 * 2**20
"""What a page of several rows may take: lists carry whole confs, and while JSON is read, nothing else is done."""

HIDDEN = 3
"""Runs in a row that a list passes over since Airflow can't show them: if even more fail, it is not for them."""

REFUSALS_KNOWN = 1000
"""Requests that Airflow refuses, each told once; anybody can name DAGs."""

_RUN = re.compile(r"(?<=/dagRuns/)[^/]+")

_DAG_ID = re.compile(r"(?!\.{1,2}$)[\w.-]{1,250}")


class _NoLongerDueError(Exception):
    """The request was not sent, by the will of who asked for it."""


class RestApi:
    """What both versions do alike. A subclass says where they differ.

    Args:
        connection: To Airflow.
        credentials: The log-in.
        moved: Called when an answer says that this version of the API isn't there.
    """

    root: ClassVar[str]
    """Where the API is."""
    health_path: ClassVar[str]
    created: ClassVar[str]
    """What lists call the moment in which a run was asked for."""
    new_run: ClassVar[Mapping[str, Any]] = {}
    """What a POST of a run says besides run id and conf."""
    run_id: ClassVar[re.Pattern[str]]
    """What can be asked for as a run's id."""

    def __init__(
        self, connection: Connection, credentials: Credentials, moved: Callable[[], None] = lambda: None
    ) -> None:
        self._connection = connection
        self._credentials = credentials
        self._moved = moved
        self._forbidden: set[tuple[str, str]] = set()
        """What Airflow refuses to this user, until it takes it: of each DAG, not of each run."""
        self._rows = PAGE
        """How many rows to ask for next: as many as fit into a page by the last one."""
        self._hidden_told = False
        """Whether it was said that Airflow can't show all runs."""
        self._welcome = False
        """Whether it has taken anything yet: it takes nothing with a wrong password, and saying so once will do."""

    async def trigger(
        self, dag_id: str, run_id: str, conf: Mapping[str, Any], still_due: Callable[[], bool] = always
    ) -> TriggerAnswer:
        """Ask for a run; never raises for what Airflow or the network does."""
        if not _DAG_ID.fullmatch(dag_id):
            return Refused(Reason.DAG_NOT_FOUND, f"{dag_id[:DETAIL_LENGTH]!r} can't be the id of a DAG")
        if not self.run_id.fullmatch(run_id):
            return Refused(Reason.REFUSED_BY_AIRFLOW, f"{run_id[:DETAIL_LENGTH]!r} can't be the id of a run")
        try:
            content = _encode({"dag_run_id": run_id, "conf": conf, **self.new_run})
        except (ValueError, RecursionError) as error:
            return Refused(Reason.REFUSED_BY_AIRFLOW, f"the conf can't be sent as JSON: {error}")
        try:
            answer = await self._send("POST", self._runs(dag_id), content=content, still_due=still_due)
        except _NoLongerDueError:
            return Withdrawn()
        except NoAnswer as error:
            return Uncertain(str(error))
        except AirflowUnavailable as error:
            return TurnedAway(str(error))
        return to_trigger_answer(answer, dag_id)

    async def get(self, dag_id: str, run_id: str) -> DagRun | None:
        """A run, or None when Airflow surely has none of this id."""
        if not _DAG_ID.fullmatch(dag_id) or not self.run_id.fullmatch(run_id):
            return None
        answer = await self._send("GET", self._run(dag_id, run_id))
        if is_missing(answer, run_id):
            return None
        return parse_run(document_of(answer))

    async def list_ended(self, dag_ids: Collection[str], since: datetime) -> Sequence[DagRun]:
        """All runs of these DAGs that ended at `since` or later, oldest end first; without their confs."""
        return await self._list(
            dag_ids, states=["success", "failed"], end_date_gte=since.isoformat(), order_by="end_date"
        )

    async def list_active(self, dag_ids: Collection[str] | None, since: datetime | None) -> Page:
        """One page of the queued and running runs created at `since` or later, oldest first; None stands for all."""
        filters: dict[str, object] = {"states": ["queued", "running"], "order_by": self.created}
        if dag_ids is not None:
            if not dag_ids:  # Airflow takes an empty list for "all"
                return Page([], more=False)
            filters["dag_ids"] = sorted(dag_ids)
        if since is not None:
            filters[f"{self.created}_gte"] = since.isoformat()
        rows, end, total = await self._page(0, filters)
        return Page([parse_run(row) for row in rows], more=total > end)

    async def any_task_started(self, dag_id: str, run_id: str) -> bool:
        """Whether at least one task of the run was ever started; True where Airflow can't tell any more."""
        seen = 0
        while True:
            params = {"limit": PAGE, "offset": seen}
            answer = await self._send("GET", self._run(dag_id, run_id) + "/taskInstances", params=params)
            if is_missing(answer, dag_id):
                return True
            page, total = page_of(document_of(answer), "task_instances")
            if any(was_started(task) for task in page):
                return True
            seen += len(page)
            if not page or seen >= total:
                # A run has its tasks from its creation on. Where there are none, it is gone (Airflow 2 does not answer
                # 404), or its tasks were cleaned up, or the user may not see them: they may have done something.
                return seen == 0

    async def cancel(self, dag_id: str, run_id: str) -> None:
        """Set a run to failed, so that Airflow stops its tasks; a run that has ended or is gone stays as it is."""
        run = await self.get(dag_id, run_id)
        if run is None or run.state.ended:  # Airflow would turn a success into a failure
            return
        answer = await self._send("PATCH", self._run(dag_id, run_id), content=_encode({"state": "failed"}))
        if not is_missing(answer, run_id):
            document_of(answer)

    async def dag(self, dag_id: str) -> Dag | None:
        """What Airflow says of a DAG, or None when it says that there is none."""
        if not _DAG_ID.fullmatch(dag_id):
            return None
        answer = await self._send("GET", f"{self.root}/dags/{quote(dag_id, safe='')}")
        # A proxy's 404 must not pass for an answer: the DAG would lose its cap. Airflow 2 names it without quotes here.
        if answer.status_code == 404 and dag_id in (detail_of(answer) or ""):
            return None
        return parse_dag(document_of(answer))

    async def health(self) -> str:
        """Airflow's version, once its database is healthy and the log-in works.

        The scheduler's health isn't asked for: runs are created without it and wait in Airflow.
        """
        if (await self.parts()).get("metadatabase") != "healthy":
            raise AirflowUnavailable("Airflow says that its database is not healthy")
        document_of(await self._send("GET", f"{self.root}/dags", params={"limit": 1}))
        version = await self.version()
        if version is None:
            raise AirflowUnavailable("Airflow does not tell its version")
        return version

    async def parts(self) -> dict[str, str]:
        """How Airflow's parts are by its own account; without those that it does not run."""
        answer = document_of(await self._ask(self.health_path))
        return {
            name: str(part["status"]) for name, part in answer.items() if isinstance(part, dict) and part.get("status")
        }

    async def version(self) -> str | None:
        """Airflow's version; None where this version of the API isn't."""
        answer = await self._ask("/version")
        if answer.status_code == 404:
            return None
        version = document_of(answer).get("version")
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
            page, seen, total = await self._page(seen, {"dag_ids": sorted(dag_ids), **filters})
            for run in map(parse_run, page):
                # A run may move to a later page while pages are read. Confs of all of them may be a lot.
                runs[run.dag_id, run.run_id] = replace(run, conf={})
            if not page or seen >= total:
                return list(runs.values())

    async def _page(self, offset: int, filters: Mapping[str, object]) -> tuple[list[Any], int, int]:
        """Rows from an offset on, the offset behind them, and how many rows there are in all.

        Fewer rows are asked for where they are large, or where Airflow answers 500: one run with a defect, whosever it
        is, is enough for that. It is found so, and passed over: else no list would show anything while it is in it.
        """
        rows, hidden = self._rows, 0
        while True:
            body = _encode({**filters, "page_limit": rows, "page_offset": offset})
            longest = PAGE_BYTES if rows > 1 else LONGEST_ANSWER
            try:
                answer = await self._send("POST", f"{self.root}/dags/~/dagRuns/list", content=body, longest=longest)
            except TooLong:
                if hidden == HIDDEN:
                    raise
            else:
                if answer.status_code != 500 or hidden == HIDDEN:
                    break
            if rows == 1:
                hidden, offset = hidden + 1, offset + 1
            rows = max(1, rows // 4)
        page, total = page_of(document_of(answer), "dag_runs")
        if hidden and not self._hidden_told:
            self._hidden_told = True
            _log.warning(
                "Airflow answers 500 to lists that one of its runs is in; it is passed over: see the API server's log",
                extra={"action": "run_hidden"},
            )
        fitting = PAGE_BYTES // 2 * len(page) // len(answer.content)
        self._rows = min(PAGE, 2 * rows, max(1, fitting)) if page else self._rows
        return page, offset + len(page), total

    async def _send(
        self,
        method: str,
        path: str,
        *,
        content: bytes | None = None,
        params: Mapping[str, int | str] | None = None,
        still_due: Callable[[], bool] = always,
        longest: int = LONGEST_ANSWER,
    ) -> httpx.Response:
        """Send with the log-in; once more with a new token when Airflow no longer takes this one."""

        async def send() -> httpx.Response:
            if not still_due():
                raise _NoLongerDueError
            return await self._connection.send(
                method, path, content=content, params=params, authorization=header, longest=longest
            )

        header = await self._credentials.header()
        answer = await send()
        if is_stale_token(answer) and self._credentials.reject(header):
            header = await self._credentials.header()
            answer = await send()
        self._note_permission(method, answer)
        if is_elsewhere(answer):
            self._moved()
        return answer

    async def _ask(self, path: str) -> httpx.Response:
        """Ask what Airflow tells everybody; what stands before it may want the log-in."""
        return await self._connection.send("GET", self.root + path, authorization=self._credentials.known)

    def _note_permission(self, method: str, answer: httpx.Response) -> None:
        forbidden = answer.status_code in {401, 403}
        what = method, _RUN.sub("", answer.request.url.path)
        if forbidden and what not in self._forbidden and (self._welcome or not self._forbidden):
            _log.warning(
                "Airflow refuses %s %s (%s): check the log-in, and give the user a role that may read and create runs",
                method,
                answer.request.url.path,
                detail_of(answer) or answer.status_code,
                extra={"action": "airflow_forbids"},
            )
        if forbidden:
            if len(self._forbidden) >= REFUSALS_KNOWN:
                self._forbidden.clear()
            self._forbidden.add(what)
        elif answer.is_success:  # it says nothing of other requests
            self._forbidden.discard(what)
            self._welcome = True

    def _runs(self, dag_id: str) -> str:
        return f"{self.root}/dags/{quote(dag_id, safe='')}/dagRuns"

    def _run(self, dag_id: str, run_id: str) -> str:
        return f"{self._runs(dag_id)}/{quote(run_id, safe='')}"


def _encode(body: Mapping[str, object]) -> bytes:
    return json.dumps(body, allow_nan=False, ensure_ascii=False, separators=(",", ":")).encode()
