"""How answers are read, where both versions are alike too. What Airflow really answers is for the contract tests."""

import json
import logging
from datetime import UTC, datetime

import httpx
import pytest

from streamapp.airflow.port import (
    AirflowUnavailable,
    Created,
    DagMissing,
    DagRunState,
    Exists,
    Page,
    Refused,
    TurnedAway,
    Uncertain,
    Withdrawn,
)
from streamapp.airflow.rest import PAGE, PAGE_BYTES
from streamapp.core.model import Reason
from tests.support.airflow_answers import AirflowAnswers, opened

RUN = {
    "dag_id": "probe",
    "dag_run_id": "r1",
    "state": "queued",
    "conf": None,
    "run_after": "2026-11-23T07:02:38.428738Z",
    "start_date": None,
    "end_date": None,
}


@pytest.fixture
def server():
    return AirflowAnswers()


@pytest.fixture
async def airflow(server):
    async with opened(server, "v2") as airflow:
        yield airflow


def detail(status, text):
    return httpx.Response(status, json={"detail": text})


async def test_a_run_is_asked_for_without_a_logical_date(airflow, server):
    server.answers = [httpx.Response(200, json=RUN)]
    answer = await airflow.trigger("probe", "r1", {"a": "é"})
    assert isinstance(answer, Created)
    assert answer.run.state is DagRunState.QUEUED
    assert answer.run.conf == {}
    assert answer.run.created_at == datetime(2026, 11, 23, 7, 2, 38, 428738, tzinfo=UTC)
    assert json.loads(server.requests[0].content) == {"dag_run_id": "r1", "conf": {"a": "é"}, "logical_date": None}


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (detail(409, {"reason": "Unique constraint violation"}), Exists),
        (detail(404, "Dag with dag_id: 'probe' not found"), DagMissing),
        (detail(404, "The Dag with ID: `probe` was not found"), DagMissing),
        (detail(400, "Dag with dag_id: 'probe' has import errors and cannot be triggered"), DagMissing),
        (detail(400, "Invalid input for param email: No value passed"), Refused),
        (detail(422, [{"loc": ["body", "conf"], "msg": "Input should be a valid dictionary"}]), Refused),
        (detail(422, {"reason": "Value rejected by database"}), Refused),
        (httpx.Response(413, text="too large"), Refused),
        (httpx.Response(409, text="<html>Conflict</html>"), Uncertain),  # a proxy's: who knows whether there is a run
        (detail(404, "Not Found"), TurnedAway),  # not about this DAG: a wrong address
        (httpx.Response(404, text="<html>no backend</html>"), TurnedAway),
        (httpx.Response(400, text="Invalid HTTP request received."), TurnedAway),
        (detail(403, "Forbidden"), TurnedAway),
        (detail(401, "Not authenticated"), TurnedAway),
        (httpx.Response(429), TurnedAway),
        (httpx.Response(307, headers={"Location": "/login"}), TurnedAway),
        (httpx.ConnectError("refused"), TurnedAway),
        (httpx.ReadTimeout("slow"), Uncertain),
        (httpx.RemoteProtocolError("gone"), Uncertain),
        (httpx.Response(500, text="Internal Server Error"), Uncertain),
        (detail(503, "busy"), Uncertain),
        (httpx.Response(200, text="<html>"), Uncertain),
        (httpx.Response(200, json=[]), Uncertain),
        (httpx.Response(200, json={**RUN, "state": "unheard of"}), Uncertain),
    ],
)
async def test_every_answer_to_a_trigger_has_its_type(airflow, server, answer, kind):
    server.answers = [answer]
    assert isinstance(await airflow.trigger("probe", "r1", {}), kind)


async def test_a_refusal_tells_why_in_short(airflow, server):
    server.answers = [detail(422, [{"loc": ["body", "conf"], "msg": "bad"}])]
    assert await airflow.trigger("probe", "r1", {}) == Refused(Reason.REFUSED_BY_AIRFLOW, "body.conf: bad")
    server.answers = [detail(400, "x" * 10_000)]
    assert len((await airflow.trigger("probe", "r1", {})).detail) == 500


@pytest.mark.parametrize("dag_id", ["", ".", "..", "../x", "a/b", "a b", "a?b", "a%2fb", "~", "a\n", "x" * 251])
async def test_a_dag_id_that_airflow_cannot_have_is_refused_without_a_request(airflow, server, dag_id):
    answer = await airflow.trigger(dag_id, "r1", {})
    assert isinstance(answer, Refused)
    assert answer.reason is Reason.DAG_NOT_FOUND
    assert await airflow.get(dag_id, "r1") is None
    assert server.requests == []


@pytest.mark.parametrize("run_id", ["", ".", "..", "a/b", "a b", "a#b", "a%2fb"])
async def test_a_run_id_that_would_name_another_path_is_refused_without_a_request(airflow, server, run_id):
    assert isinstance(await airflow.trigger("probe", run_id, {}), Refused)
    assert await airflow.get("probe", run_id) is None
    assert server.requests == []


@pytest.mark.parametrize("conf", [{"a": float("nan")}, {"a": "\ud800"}])
async def test_a_conf_that_is_no_json_is_refused_without_a_request(airflow, server, conf):
    assert isinstance(await airflow.trigger("probe", "r1", conf), Refused)
    assert server.requests == []


@pytest.mark.parametrize("conf", [None, [], [1], "text", 7])
async def test_a_run_of_somebody_else_may_have_any_conf(airflow, server, conf):
    """Airflow 2's command line takes any JSON for it."""
    server.answers = [httpx.Response(200, json=RUN | {"conf": conf})]
    assert (await airflow.get("probe", "r1")).conf == {}


async def test_what_is_nested_too_deeply_is_no_answer(airflow, server):
    deep = "[" * 100_000 + "]" * 100_000
    server.answers = [httpx.Response(200, content=f'{{"conf": {deep}}}', headers={"content-type": "application/json"})]
    with pytest.raises(AirflowUnavailable):
        await airflow.get("probe", "r1")


@pytest.mark.parametrize("status", [400, 403, 404, 422, 500])
@pytest.mark.parametrize(
    "detail",
    ['[{"loc": null, "msg": "no"}]', '[{"loc": 7}]', "[" * 100_000 + "]" * 100_000],
    ids=["no place", "a number", "too deep"],
)
async def test_a_refusal_that_is_not_like_airflows_stops_no_worker(airflow, server, status, detail):
    server.answers = [httpx.Response(status, content=f'{{"detail": {detail}}}')]
    assert isinstance(await airflow.trigger("probe", "r1", {}), TurnedAway | Uncertain)
    with pytest.raises(AirflowUnavailable):
        await airflow.get("probe", "r1")
    with pytest.raises(AirflowUnavailable):
        await airflow.list_ended(["probe"], datetime(2026, 1, 2, tzinfo=UTC))


async def test_ids_are_escaped_in_paths(airflow, server):
    server.answers = [httpx.Response(200, json=RUN)]
    await airflow.get("odd.name-é", "a+b~c:d")
    assert server.requests[0].url.raw_path == b"/api/v2/dags/odd.name-%C3%A9/dagRuns/a%2Bb~c%3Ad"


@pytest.mark.parametrize(
    "refusal", [detail(401, "Token Expired"), detail(401, "Not authenticated"), detail(403, "Invalid JWT token")]
)
async def test_a_stale_token_is_renewed_and_the_request_repeated(airflow, server, refusal):
    server.answers = [refusal, httpx.Response(200, json=RUN)]
    assert isinstance(await airflow.trigger("probe", "r1", {}), Created)
    assert [request.headers["Authorization"] for request in server.requests] == ["Bearer token1", "Bearer token2"]


async def test_whether_a_run_is_still_due_is_asked_after_the_log_in(airflow, server):
    """A log-in may take long, and its partition may go meanwhile."""
    seen = []
    answer = await airflow.trigger("probe", "r1", {}, lambda: seen.append(server.tokens) or False)
    assert answer == Withdrawn()
    assert seen == [1]
    assert server.requests == []


async def test_what_is_no_longer_due_is_not_sent_again_with_a_new_token(airflow, server):
    server.answers = [detail(401, "Token Expired")]
    answer = await airflow.trigger("probe", "r1", {}, lambda: server.tokens == 1)
    assert answer == Withdrawn()
    assert len(server.requests) == 1


async def test_a_token_is_renewed_only_once_for_a_request(airflow, server):
    server.answers = [detail(401, "Token Expired")]
    assert isinstance(await airflow.trigger("probe", "r1", {}), TurnedAway)
    assert server.tokens == 2


async def test_a_missing_permission_does_not_renew_the_token_and_is_logged_once(airflow, server, caplog):
    caplog.set_level(logging.WARNING, "streamapp")
    server.answers = [detail(403, "Forbidden")]
    for _ in range(3):
        assert await airflow.trigger("probe", "r1", {}) == TurnedAway("Airflow answers 403: Forbidden")
    assert server.tokens == 1
    assert [record.action for record in caplog.records] == ["airflow_forbids"]


async def test_a_user_who_may_read_runs_but_not_create_them_is_told_of_once_for_each_dag(airflow, server, caplog):
    """Polls go on meanwhile, and are answered; hundreds of commands may be tried again and again."""
    caplog.set_level(logging.WARNING, "streamapp")
    forbidden, runs = detail(403, "Forbidden"), httpx.Response(200, json={"dag_runs": [], "total_entries": 0})
    for number in range(5):
        for dag_id in ("probe", "other"):
            server.answers = [forbidden, runs, forbidden]
            await airflow.trigger(dag_id, f"r{number}", {})
            await airflow.list_ended([dag_id], datetime(2026, 1, 2, tzinfo=UTC))
            with pytest.raises(AirflowUnavailable):
                await airflow.get(dag_id, f"r{number}")
    assert [record.action for record in caplog.records] == ["airflow_forbids"] * 4
    server.answers = [httpx.Response(200, json=RUN), forbidden]
    await airflow.trigger("probe", "r5", {})
    await airflow.trigger("probe", "r6", {})
    assert len(caplog.records) == 5  # it was mended meanwhile


async def test_a_log_in_without_an_answer_is_no_uncertain_trigger():
    def refuse(_):
        raise httpx.ReadTimeout("slow")

    async with opened(refuse, "v2") as airflow:
        assert isinstance(await airflow.trigger("probe", "r1", {}), TurnedAway)


async def test_only_airflows_own_404_says_that_there_is_no_run(airflow, server):
    server.answers = [detail(404, "The DagRun with dag_id: `probe` and run_id: `r1` was not found")]
    assert await airflow.get("probe", "r1") is None
    for answer in (detail(404, "Not Found"), httpx.Response(404, text="nginx"), httpx.Response(404, json=[])):
        server.answers = [answer]
        with pytest.raises(AirflowUnavailable):
            await airflow.get("probe", "r1")


async def test_only_airflows_own_404_says_that_there_is_no_dag(airflow, server):
    """While Airflow restarts, some proxies answer 404: its DAGs keep their caps, and nobody takes it for an answer."""
    server.answers = [detail(404, "The Dag with ID: `probe` was not found")]
    assert await airflow.dag("probe") is None
    for answer in (detail(404, "Not Found"), httpx.Response(404, text="404 page not found"), httpx.Response(404)):
        server.answers = [answer]
        with pytest.raises(AirflowUnavailable):
            await airflow.dag("probe")


async def test_lists_are_read_page_by_page_however_small_the_server_makes_them(airflow, server):
    pages = [[{**RUN, "dag_run_id": f"r{n}"} for n in page] for page in ((1, 2), (3, 4), (5,))]
    server.answers = [httpx.Response(200, json={"dag_runs": page, "total_entries": 5}) for page in pages]
    runs = await airflow.list_ended({"b", "a"}, datetime(2026, 1, 1, tzinfo=UTC))
    assert [run.run_id for run in runs] == ["r1", "r2", "r3", "r4", "r5"]
    bodies = [json.loads(request.content) for request in server.requests]
    assert [body["page_offset"] for body in bodies] == [0, 2, 4]
    assert bodies[0] == {
        "dag_ids": ["a", "b"],
        "states": ["success", "failed"],
        "end_date_gte": "2026-01-01T00:00:00+00:00",
        "order_by": "end_date",
        "page_limit": 100,
        "page_offset": 0,
    }


class Lists:
    """An Airflow that has runs, some of which it can't show: a list that one of them is in is answered with 500."""

    def __init__(self, count, *, broken=(), conf=None):
        self.rows = [RUN | {"dag_run_id": f"r{n}", "conf": conf} for n in range(count)]
        self.broken = set(broken)
        self.limits = []
        self.longest = 0

    def __call__(self, request):
        if request.url.path == "/auth/token":
            return httpx.Response(201, json={"access_token": "token"})
        asked = json.loads(request.content)
        begin, limit = asked["page_offset"], asked["page_limit"]
        self.limits.append(limit)
        if self.broken & {*range(begin, begin + limit)}:
            return httpx.Response(500, text="Internal Server Error")
        answer = httpx.Response(
            200, json={"dag_runs": self.rows[begin : begin + limit], "total_entries": len(self.rows)}
        )
        self.longest = max(self.longest, len(answer.content))
        return answer


@pytest.mark.parametrize("broken", [{0}, {1}, {60}, {99}, {100}, {119}, {30, 31, 32}, {117, 118, 119}], ids=str)
async def test_runs_that_airflow_cannot_show_keep_no_others_from_being_listed(broken, caplog):
    lists = Lists(120, broken=broken)
    async with opened(lists, "v2") as airflow:
        for _ in range(2):
            listed = await airflow.list_ended(["probe"], datetime(2026, 1, 1, tzinfo=UTC))
            assert [run.run_id for run in listed] == [f"r{n}" for n in range(120) if n not in broken]
    assert len(lists.limits) <= 2 * 25
    assert [record.action for record in caplog.records if record.levelno >= logging.WARNING] == ["run_hidden"]


async def test_active_runs_behind_one_that_airflow_cannot_show_are_on_its_page_or_the_next():
    lists = Lists(120, broken=[0])
    async with opened(lists, "v2") as airflow:
        page = await airflow.list_active(["probe"], None)
        assert [run.run_id for run in page.runs] == ["r1"]
        assert page.more
        lists.rows, lists.broken = lists.rows[:1], {0}
        assert await airflow.list_active(["probe"], None) == Page([], more=False)


async def test_an_airflow_that_can_list_nothing_is_asked_a_few_times():
    lists = Lists(120, broken=range(120))
    async with opened(lists, "v2") as airflow:
        with pytest.raises(AirflowUnavailable, match="500"):
            await airflow.list_ended(["probe"], datetime(2026, 1, 1, tzinfo=UTC))
    assert lists.limits == [100, 25, 6, 1, 1, 1, 1]


async def test_pages_are_as_small_as_large_confs_want_them():
    """A hundred confs of 256 kB are 25 MB: too much to read at once, as nothing else is done meanwhile."""
    lists = Lists(120, conf={"text": "x" * 256 * 1024})
    async with opened(lists, "v2") as airflow:
        listed = await airflow.list_ended(["probe"], datetime(2026, 1, 1, tzinfo=UTC))
        assert [run.run_id for run in listed] == [f"r{n}" for n in range(120)]
        assert not any(run.conf for run in listed)
        assert lists.limits[:3] == [100, 25, 6]
        lists.limits.clear()
        lists.longest = 0
        page = await airflow.list_active(["probe"], None)
        assert [len(run.conf["text"]) for run in page.runs] == [256 * 1024] * lists.limits[-1]
        assert lists.longest <= PAGE_BYTES
        for row in lists.rows:
            row["conf"] = None
        for _ in range(6):
            await airflow.list_active(["probe"], None)
        assert lists.limits[-1] == PAGE


async def test_one_run_may_be_larger_than_a_page():
    lists = Lists(3, conf={"text": "x" * PAGE_BYTES})
    async with opened(lists, "v2") as airflow:
        assert len(await airflow.list_ended(["probe"], datetime(2026, 1, 1, tzinfo=UTC))) == 3


async def test_a_list_that_shrinks_while_it_is_read_ends(airflow, server):
    pages = [{"dag_runs": [RUN], "total_entries": 3}, {"dag_runs": [], "total_entries": 3}]
    server.answers = [httpx.Response(200, json=page) for page in pages]
    assert len(await airflow.list_ended({"probe"}, datetime(2026, 1, 1, tzinfo=UTC))) == 1


async def test_no_dags_are_no_request(airflow, server):
    """Airflow takes an empty list for all DAGs."""
    assert await airflow.list_active([], None) == Page([], more=False)
    assert server.requests == []


def task(**fields):
    return {"pid": None, "hostname": "", "state": None, "try_number": 0, "duration": None, "start_date": None} | fields


@pytest.mark.parametrize(
    ("tasks", "started"),
    [
        ([], True),  # cleaned up, or hidden: who can tell?
        ([task()], False),
        ([task(state="skipped", start_date="2026-01-01T00:00:00Z", duration=0.0)], False),  # Airflow dates these, too
        ([task(state="upstream_failed", start_date="2026-01-01T00:00:00Z", duration=0.0)], False),
        ([task(state="success", try_number=1, duration=0.0)], False),  # an EmptyOperator
        ([task(state="failed", try_number=1)], False),
        ([task(), task(state="failed", try_number=1, pid=7)], True),
        ([task(state="failed", hostname="w1")], True),
        ([task(state="failed", try_number=2)], True),
        ([task(state="up_for_retry")], True),
        ([task(state="success", duration=0.5)], True),
    ],
)
async def test_what_counts_as_a_started_task(airflow, server, tasks, started):
    server.answers = [httpx.Response(200, json={"task_instances": tasks, "total_entries": len(tasks)})]
    assert await airflow.any_task_started("probe", "r1") is started


async def test_tasks_of_a_run_that_is_gone_count_as_started(airflow, server):
    server.answers = [detail(404, "DagRun with dag_id: `probe` and run_id: `r1` was not found")]
    assert await airflow.any_task_started("probe", "r1")


@pytest.mark.parametrize("state", ["success", "failed"])
async def test_a_run_that_has_ended_is_not_cancelled(airflow, server, state):
    """Airflow would turn its success into a failure."""
    server.answers = [httpx.Response(200, json={**RUN, "state": state})]
    await airflow.cancel("probe", "r1")
    assert [request.method for request in server.requests] == ["GET"]


async def test_a_cancel_that_is_refused_is_told(airflow, server):
    server.answers = [httpx.Response(200, json=RUN), detail(403, "Forbidden")]
    with pytest.raises(AirflowUnavailable, match="403: Forbidden"):
        await airflow.cancel("probe", "r1")


async def test_a_sick_database_is_not_healthy(airflow, server):
    server.answers = [httpx.Response(200, json={"metadatabase": {"status": "unhealthy"}})]
    with pytest.raises(AirflowUnavailable, match="database"):
        await airflow.health()
