"""Where API v1 differs from v2."""

import json
import logging
from datetime import UTC, datetime

import httpx
import pytest

from streamapp.airflow.port import (
    AirflowUnavailable,
    Created,
    DagMissing,
    Exists,
    Refused,
    TurnedAway,
    Uncertain,
)
from tests.support.airflow_answers import AirflowAnswers, opened

RUN = {
    "dag_id": "probe",
    "dag_run_id": "r1",
    "state": "queued",
    "conf": {"a": 1},
    "logical_date": "2026-11-23T11:22:49.968769+00:00",
    "execution_date": "2026-11-23T11:22:49.968769+00:00",
    "start_date": None,
    "end_date": None,
}


@pytest.fixture
def server():
    return AirflowAnswers()


@pytest.fixture
async def airflow(server):
    async with opened(server, "v1") as airflow:
        yield airflow


def problem(status, detail, title="Bad Request"):
    return httpx.Response(status, json={"detail": detail, "status": status, "title": title, "type": "about:blank"})


async def test_a_run_is_asked_for_with_basic_auth_and_is_dated_by_airflow(airflow, server):
    server.answers = [httpx.Response(200, json=RUN)]
    answer = await airflow.trigger("probe", "r1", {"a": 1})
    assert isinstance(answer, Created)
    assert answer.run.created_at == datetime(2026, 11, 23, 11, 22, 49, 968769, tzinfo=UTC)
    [request] = server.requests
    assert request.url.path == "/api/v1/dags/probe/dagRuns"
    assert json.loads(request.content) == {"dag_run_id": "r1", "conf": {"a": 1}}
    assert httpx.BasicAuth("ann", "x")._auth_header == request.headers["Authorization"]
    assert server.tokens == 0


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (problem(409, "DAGRun with DAG ID: 'probe' and DAGRun ID: 'r1' already exists"), Exists),
        # Two runs in one microsecond: of this id there is none.
        (problem(409, "DAGRun with DAG ID: 'probe' and DAGRun logical date: '2026-01-01' already exists"), TurnedAway),
        (problem(404, "DAG with dag_id: 'probe' not found"), DagMissing),
        (problem(404, "The requested URL was not found on the server."), TurnedAway),
        (httpx.Response(404, text="<title>Airflow 404 = lots of circles</title>"), TurnedAway),
        (problem(400, "DAG with dag_id: 'probe' has import errors"), DagMissing),
        (problem(400, "Invalid input for param email: None is not of type 'string'"), Refused),
        (problem(400, None), TurnedAway),
        (problem(401, None, "Unauthorized"), TurnedAway),
        (problem(403, None, "Forbidden"), TurnedAway),
        (httpx.Response(500, text="<html>Ooops!</html>"), Uncertain),
    ],
)
async def test_every_answer_to_a_trigger_has_its_type(airflow, server, answer, kind):
    server.answers = [answer]
    assert isinstance(await airflow.trigger("probe", "r1", {}), kind)


@pytest.mark.parametrize("run_id", ["é", "a..b", "a/b", "", ".", "x" * 251])
async def test_a_run_id_that_airflow_answers_with_500_is_refused_without_a_request(airflow, server, run_id):
    assert isinstance(await airflow.trigger("probe", run_id, {}), Refused)
    assert await airflow.get("probe", run_id) is None
    assert server.requests == []


async def test_a_refused_user_is_asked_for_once_and_logged_once(airflow, server, caplog):
    caplog.set_level(logging.WARNING, "streamapp")
    server.answers = [problem(401, None, "Unauthorized")]
    for _ in range(2):
        assert await airflow.trigger("probe", "r1", {}) == TurnedAway("Airflow answers 401")
    assert len(server.requests) == 2
    assert [record.action for record in caplog.records] == ["airflow_forbids"]


async def test_active_runs_are_listed_in_an_order_that_airflow_2_has(airflow, server):
    server.answers = [httpx.Response(200, json={"dag_runs": [RUN], "total_entries": 1})]
    page = await airflow.list_active(["probe"], datetime(2026, 1, 2, tzinfo=UTC))
    assert [run.run_id for run in page.runs] == ["r1"]
    asked = json.loads(server.requests[0].content)
    assert (asked["order_by"], asked["execution_date_gte"]) == ("execution_date", "2026-01-02T00:00:00+00:00")


async def test_a_run_without_tasks_may_have_been_deleted_and_counts_as_started(airflow, server):
    server.answers = [httpx.Response(200, json={"task_instances": [], "total_entries": 0})]
    assert await airflow.any_task_started("probe", "r1")


async def test_a_dag_that_airflow_2_does_not_have_is_named_without_quotes(airflow, server):
    server.answers = [problem(404, "The DAG with dag_id: probe was not found", "DAG not found")]
    assert await airflow.dag("probe") is None


async def test_a_run_that_goes_while_it_is_stopped_is_asked_for_again_later(airflow, server):
    server.answers = [httpx.Response(200, json=RUN), problem(404, None, "Dag Run id r1 not found in dag probe")]
    with pytest.raises(AirflowUnavailable, match="404"):
        await airflow.cancel("probe", "r1")


async def test_parts_that_are_not_run_are_not_told(airflow, server):
    parts = {"metadatabase": {"status": "healthy"}, "triggerer": {"status": None}, "scheduler": {"status": "unhealthy"}}
    server.answers = [httpx.Response(200, json=parts)]
    assert await airflow.parts() == {"metadatabase": "healthy", "scheduler": "unhealthy"}
