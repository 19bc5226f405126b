"""Airflow's answers in HTTP, read into the types of the port. Reads responses of API v1 and v2, writes nothing."""

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import httpx

from streamapp.airflow.port import (
    AirflowUnavailable,
    Created,
    Dag,
    DagMissing,
    DagRun,
    DagRunState,
    Exists,
    Refused,
    TriggerAnswer,
    TurnedAway,
    Uncertain,
)
from streamapp.core.model import Reason

DETAIL_LENGTH = 500
"""Airflow's refusals may quote the whole conf; an outcome needs the beginning."""

_STARTED_STATES = frozenset(
    {"running", "restarting", "up_for_retry", "up_for_reschedule", "deferred", "awaiting_input"}
)


def to_trigger_answer(answer: httpx.Response, dag_id: str) -> TriggerAnswer:
    """What the answer to a POST of a run means."""
    status, detail = answer.status_code, detail_of(answer)
    text = f"{status}: {detail}" if detail else f"{status}"
    match status:
        case 200 | 201:
            try:
                return Created(parse_run(document_of(answer)))
            except AirflowUnavailable as error:
                return Uncertain(str(error))
        case 409 if detail and "logical date:" in detail:  # Airflow 2: another run was asked for in this microsecond
            return TurnedAway(f"Airflow answers {text}")
        case 409 if detail:
            return Exists()
        case 404 if is_missing(answer, dag_id):
            return DagMissing(text)
        case 400 if detail and "has import errors" in detail:  # until the next deploy mends the file
            return DagMissing(text)
        case 400 | 422 if detail:
            return Refused(Reason.REFUSED_BY_AIRFLOW, detail)
        case 413:
            return Refused(Reason.REFUSED_BY_AIRFLOW, detail or "the params are too large for Airflow")
        case _ if status >= 500 or status == 409:  # not Airflow's 409: it must not say that the run exists
            return Uncertain(f"Airflow answers {text}")
        case _:
            return TurnedAway(f"Airflow answers {text}")


def document_of(answer: httpx.Response) -> dict[str, Any]:
    """The document of a good answer."""
    if not answer.is_success:
        detail = detail_of(answer)
        text = f"{answer.status_code}: {detail}" if detail else f"{answer.status_code}"
        raise AirflowUnavailable(f"Airflow answers {text}")
    try:
        document = answer.json()
    except (ValueError, RecursionError) as error:
        raise AirflowUnavailable("Airflow's answer is not JSON, or too deep") from error
    if not isinstance(document, dict):
        raise AirflowUnavailable("Airflow's answer is not a JSON object")
    return document


def detail_of(answer: httpx.Response) -> str | None:
    """The short text in Airflow's refusal; None when the answer isn't Airflow's."""
    try:
        detail = answer.json()["detail"]
        if isinstance(detail, list):
            parts = [
                f"{'.'.join(map(str, item.get('loc', ())))}: {item.get('msg')}"
                for item in detail
                if isinstance(item, dict)
            ]
            detail = "; ".join(parts)
        elif isinstance(detail, dict):
            detail = detail.get("reason") or detail.get("message")
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    return None if detail is None else str(detail)[:DETAIL_LENGTH]


def is_missing(answer: httpx.Response, name: str) -> bool:
    """Whether Airflow itself says that it has no such thing: the 404 of a proxy or a wrong address says nothing."""
    if answer.status_code != 404:
        return False
    try:
        detail = str(answer.json()["detail"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return False
    return f"`{name}`" in detail or f"'{name}'" in detail


def is_elsewhere(answer: httpx.Response) -> bool:
    """Whether this is the 404 of an address that isn't there, rather than of a DAG or a run: those are quoted."""
    return answer.status_code == 404 and not re.search(r"[`'].*[`']", detail_of(answer) or "", re.DOTALL)


def is_stale_token(answer: httpx.Response) -> bool:
    """Whether Airflow no longer takes the token; 403 stands for a missing permission, too."""
    return answer.status_code == 401 or (answer.status_code == 403 and detail_of(answer) == "Invalid JWT token")


def page_of(document: Mapping[str, Any], name: str) -> tuple[list[Any], int]:
    """One page of rows, and how many rows there are in all."""
    rows, total = document.get(name), document.get("total_entries")
    if not isinstance(rows, list) or not isinstance(total, int):
        raise AirflowUnavailable(f"Airflow's answer has no {name}")
    return rows, total


def parse_run(document: Any) -> DagRun:
    """A run from its document."""
    try:
        conf = document["conf"]
        return DagRun(
            dag_id=document["dag_id"],
            run_id=document["dag_run_id"],
            state=DagRunState(document["state"]),
            conf=conf if isinstance(conf, dict) else {},  # Airflow 2's command line takes any JSON
            # Airflow 2 dates a run by the moment of its POST, unless the POST names another date: ours never do.
            created_at=_parse_time(document["run_after"] if "run_after" in document else document["logical_date"]),
            started_at=_parse_time(document["start_date"]),
            ended_at=_parse_time(document["end_date"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise AirflowUnavailable(f"Airflow's answer is not a run: {error}") from error


def parse_dag(document: Any) -> Dag:
    """A DAG from its document. 0 or nothing in place of a number of runs means that there is no bound."""
    try:
        runs = document["max_active_runs"]
        return Dag(max_active_runs=int(runs) if runs and runs > 0 else None, paused=bool(document["is_paused"]))
    except (KeyError, TypeError, ValueError) as error:
        raise AirflowUnavailable(f"Airflow's answer is not a DAG: {error}") from error


def _parse_time(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text is not None else None


def was_started(task: Mapping[str, Any]) -> bool:
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
