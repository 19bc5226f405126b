"""What the port promises, against the fake and against a real Airflow: one suite keeps the two alike."""

import asyncio
import contextlib
import secrets
from datetime import UTC, datetime, timedelta

import httpx
import pytest

from streamapp.airflow.connect import connect as open_airflow
from streamapp.airflow.port import (
    AirflowUnavailable,
    Created,
    Dag,
    DagMissing,
    DagRunState,
    Exists,
    Page,
    Refused,
    TurnedAway,
)
from streamapp.airflow.rest import PAGE, PAGE_BYTES
from streamapp.clock import SystemClock
from streamapp.core.model import Reason
from streamapp.core.run_id import MAX_LENGTH, run_id
from tests.support.waiting import until

MOMENT = timedelta(minutes=1)


def connect(server, transport=None, **settings):
    return open_airflow(server.settings(**settings), SystemClock(), transport=transport)


@pytest.fixture
async def airflow(server):
    airflow = connect(server)
    if server not in ready:
        for dag_id in ("probe", "strict", "parked"):
            await until(lambda dag_id=dag_id: is_known(airflow, dag_id), within_seconds=90)
        ready.add(server)
    yield airflow
    await airflow.close()


ready = set()
"""Servers that are known to have parsed their DAGs."""


async def is_known(airflow, dag_id):
    return not isinstance(await airflow.trigger(dag_id, "known", {"email": "a@b", "seconds": 0}), DagMissing)


@pytest.fixture
def new_id():
    """Ids that no other test has: the real Airflow lives for the whole session."""
    return lambda: f"cmd__contract__{secrets.token_hex(6)}__1.1"


async def ended(airflow, dag_id, id_):
    async def run_that_ended():
        run = await airflow.get(dag_id, id_)
        return run if run is not None and run.state.ended else None

    return await until(run_that_ended, within_seconds=90)


async def all_active(airflow, dag_id, *, since):
    """As the reconciliation reads it: each page begins where the one before ended."""
    found = {}
    while True:
        page = await airflow.list_active([dag_id], since)
        found |= {run.run_id: run for run in page.runs}
        if not page.more:
            return list(found.values())
        since = page.runs[-1].created_at


async def stopped(airflow, dag_id, id_):
    """Airflow answers 500 when its scheduler has the run in hand at that moment."""
    with contextlib.suppress(AirflowUnavailable):
        await airflow.cancel(dag_id, id_)
        return True


# Triggering


async def test_health_tells_the_version(airflow, server):
    assert (await airflow.health()).startswith("2." if server.api == "/api/v1" else "3.")
    parts = await airflow.parts()
    assert (parts["metadatabase"], parts["scheduler"]) == ("healthy", "healthy")


async def test_a_created_run_can_be_read_back(airflow, new_id):
    id_, conf = new_id(), {"seconds": 0, "nested": {"é": [1, None, True, 1.5]}}
    asked_at = datetime.now(UTC)
    answer = await airflow.trigger("probe", id_, conf)
    assert isinstance(answer, Created)
    assert (answer.run.dag_id, answer.run.run_id, answer.run.conf) == ("probe", id_, conf)
    assert asked_at - MOMENT < answer.run.created_at < datetime.now(UTC) + MOMENT
    run = await airflow.get("probe", id_)
    assert (run.conf, run.created_at) == (conf, answer.run.created_at)


async def test_the_same_id_again_exists_and_shows_the_first_conf(airflow, new_id):
    id_ = new_id()
    await airflow.trigger("parked", id_, {"n": 1})
    assert await airflow.trigger("parked", id_, {"n": 2}) == Exists()
    assert (await airflow.get("parked", id_)).conf == {"n": 1}


async def test_many_askers_of_one_id_get_one_run(airflow, new_id):
    id_ = new_id()
    answers = await asyncio.gather(*(airflow.trigger("parked", id_, {}) for _ in range(5)))
    assert sum(isinstance(answer, Created) for answer in answers) <= 1
    assert (await airflow.get("parked", id_)).run_id == id_
    assert await airflow.trigger("parked", id_, {}) == Exists()


async def test_an_id_is_another_dags_too(airflow, new_id):
    id_ = new_id()
    assert isinstance(await airflow.trigger("parked", id_, {}), Created)
    assert isinstance(await airflow.trigger("strict", id_, {"email": "a@b"}), Created)


@pytest.mark.parametrize("dag_id", ["no_such_dag", "é", "A"])
async def test_an_unknown_dag_is_missing(airflow, new_id, dag_id):
    answer = await airflow.trigger(dag_id, new_id(), {})
    assert isinstance(answer, DagMissing)
    assert dag_id in answer.detail


@pytest.mark.parametrize("dag_id", ["../probe", "no/../probe", "probe/dagRuns", "..", ".", "~", "", "probe?", "probe "])
async def test_a_hostile_dag_id_reaches_no_dag(airflow, new_id, dag_id):
    id_ = new_id()
    answer = await airflow.trigger(dag_id, id_, {})
    assert isinstance(answer, Refused)
    assert answer.reason is Reason.DAG_NOT_FOUND
    assert await airflow.get("probe", id_) is None


@pytest.mark.parametrize("conf", [{}, {"email": 5}])
async def test_params_that_the_dag_does_not_take_are_refused(airflow, new_id, conf):
    id_ = new_id()
    answer = await airflow.trigger("strict", id_, conf)
    assert isinstance(answer, Refused)
    assert answer.reason is Reason.REFUSED_BY_AIRFLOW
    assert "email" in answer.detail
    assert await airflow.get("strict", id_) is None


@pytest.mark.parametrize("id_", ["scheduled__x", "é", "a..b"])
async def test_an_id_that_airflow_does_not_take_is_refused(airflow, id_):
    assert isinstance(await airflow.trigger("parked", id_, {}), Refused)


@pytest.mark.parametrize(
    "command_id", ["a+b~c:d.e-f_g", "with space", "../x", "a..b", "a/b?c#d%2f", "ключ", "x" * 500, "."]
)
async def test_the_run_id_of_any_command_id_can_be_used(airflow, command_id):
    id_ = run_id(f"contract-{secrets.token_hex(4)}", command_id, 1, 1)
    assert len(id_) <= MAX_LENGTH
    assert isinstance(await airflow.trigger("parked", id_, {}), Created)
    assert await airflow.trigger("parked", id_, {}) == Exists()
    assert (await airflow.get("parked", id_)).run_id == id_
    await airflow.cancel("parked", id_)
    assert (await airflow.get("parked", id_)).state is DagRunState.FAILED
    assert await airflow.any_task_started("parked", id_) is False


# DAGs


async def test_a_dag_says_how_many_runs_it_takes_and_whether_it_is_paused(airflow):
    assert await airflow.dag("probe") == Dag(max_active_runs=16, paused=False)
    assert await airflow.dag("parked") == Dag(max_active_runs=16, paused=True)
    assert await airflow.dag("no_such_dag") is None
    assert await airflow.dag("../probe") is None


# Following


async def test_a_run_that_succeeds_has_honest_times(airflow, new_id):
    id_ = new_id()
    await airflow.trigger("probe", id_, {"seconds": 0.5})
    run = await ended(airflow, "probe", id_)
    assert run.state is DagRunState.SUCCESS
    assert run.created_at <= run.started_at <= run.ended_at
    assert run.ended_at - run.started_at >= timedelta(seconds=0.5)
    assert await airflow.any_task_started("probe", id_)


async def test_a_run_whose_task_fails_has_started(airflow, new_id):
    id_ = new_id()
    await airflow.trigger("probe", id_, {"seconds": 0, "fail": True})
    assert (await ended(airflow, "probe", id_)).state is DagRunState.FAILED
    assert await airflow.any_task_started("probe", id_)


async def test_a_run_that_is_stopped_while_it_waits_has_not_started(airflow, new_id):
    id_ = new_id()
    await airflow.trigger("parked", id_, {})
    assert not await airflow.any_task_started("parked", id_)
    await airflow.cancel("parked", id_)
    run = await airflow.get("parked", id_)
    assert run.state is DagRunState.FAILED
    assert run.ended_at is not None
    assert not await airflow.any_task_started("parked", id_)


async def test_a_run_that_is_stopped_while_it_runs_fails(airflow, new_id):
    id_ = new_id()
    await airflow.trigger("probe", id_, {"seconds": 120})

    async def works():
        return await airflow.any_task_started("probe", id_)

    await until(works, within_seconds=90)
    await until(lambda: stopped(airflow, "probe", id_))
    assert (await ended(airflow, "probe", id_)).state is DagRunState.FAILED
    assert await airflow.any_task_started("probe", id_)


async def test_a_run_that_has_ended_or_is_unknown_is_left_alone_by_cancel(airflow, new_id):
    id_ = new_id()
    await airflow.trigger("probe", id_, {"seconds": 0})
    before = await ended(airflow, "probe", id_)
    await airflow.cancel("probe", id_)
    assert await airflow.get("probe", id_) == before
    await airflow.cancel("probe", new_id())
    await airflow.cancel("no_such_dag", new_id())


async def test_the_list_of_ended_runs_is_filtered_and_ordered(airflow, new_id):
    started_at = (await airflow.trigger("parked", new_id(), {})).run.created_at
    ids = [new_id() for _ in range(4)]
    for id_ in ids:
        await airflow.trigger("parked", id_, {})
    for id_ in (ids[2], ids[0], ids[3]):
        await airflow.cancel("parked", id_)
    strict = new_id()
    await airflow.trigger("strict", strict, {"email": "a@b"})
    await ended(airflow, "strict", strict)

    listed = await airflow.list_ended(["parked"], started_at)
    ours = [run for run in listed if run.run_id in {*ids, strict}]
    assert [run.run_id for run in ours] == [ids[2], ids[0], ids[3]]
    assert all(run.ended_at >= started_at for run in listed)

    since = await airflow.list_ended(["parked", "no_such_dag"], ours[1].ended_at)
    assert [run.run_id for run in since if run.run_id in ids] == [ids[0], ids[3]]  # `since` itself is in it

    both = await airflow.list_ended(["strict", "parked"], started_at)
    assert [run.run_id for run in both if run.run_id in {*ids, strict}] == [ids[2], ids[0], ids[3], strict]

    active = {run.run_id for run in await all_active(airflow, "parked", since=None)}
    assert active & {*ids, strict} == {ids[1]}


async def test_no_dags_list_no_runs(airflow, new_id):
    created = await airflow.trigger("parked", new_id(), {})
    await airflow.cancel("parked", created.run.run_id)
    assert await airflow.list_ended([], created.run.created_at) == []
    assert await airflow.list_active([], None) == Page([], more=False)
    assert await airflow.list_active(["no_such_dag"], created.run.created_at) == Page([], more=False)


async def test_a_list_longer_than_a_page_is_read_to_its_end(airflow, new_id):
    ids = [new_id() for _ in range(PAGE + 5)]
    for id_ in ids:
        assert isinstance(await airflow.trigger("parked", id_, {}), Created)
    first = await airflow.get("parked", ids[0])
    page = await airflow.list_active(["parked"], first.created_at)
    assert [run.run_id for run in page.runs] == ids[: len(page.runs)]  # the oldest first, `since` itself is in it
    assert page.more
    active = await all_active(airflow, "parked", since=first.created_at)
    assert [run.run_id for run in active] == ids
    anywhere = await airflow.list_active(None, first.created_at)
    assert {run.run_id for run in anywhere.runs} & set(ids)


async def test_runs_with_large_confs_are_listed_a_few_at_a_time(airflow, new_id):
    conf = {"text": "x" * (PAGE_BYTES // 6)}
    ids = [new_id() for _ in range(7)]
    for id_ in ids:
        assert isinstance(await airflow.trigger("parked", id_, conf), Created)
    first = await airflow.get("parked", ids[0])
    page = await airflow.list_active(["parked"], first.created_at)
    assert page.more
    assert [run.conf for run in page.runs] == [conf] * len(page.runs)
    assert [run.run_id for run in await all_active(airflow, "parked", since=first.created_at)] == ids
    for id_ in ids:
        await until(lambda id_=id_: stopped(airflow, "parked", id_))
    ended_runs = await airflow.list_ended(["parked"], (await airflow.get("parked", ids[0])).ended_at)
    assert [run.run_id for run in ended_runs] == ids


# What people do


async def test_a_deleted_run_is_gone_and_its_id_is_free_again(airflow, server, operator, new_id):
    """Why a run that was deleted must never be asked for again."""
    id_ = new_id()
    await airflow.trigger("parked", id_, {})
    (await operator.delete(f"{server.api}/dags/parked/dagRuns/{id_}")).raise_for_status()
    assert await airflow.get("parked", id_) is None
    assert await airflow.any_task_started("parked", id_)  # who can tell?
    assert isinstance(await airflow.trigger("parked", id_, {}), Created)


async def test_a_cleared_run_is_active_again(airflow, server, operator, new_id):
    id_ = new_id()
    created = await airflow.trigger("probe", id_, {"seconds": 0.5})
    first = await ended(airflow, "probe", id_)
    answer = await operator.post(f"{server.api}/dags/probe/dagRuns/{id_}/clear", json={"dry_run": False})
    answer.raise_for_status()
    assert id_ in {run.run_id for run in await all_active(airflow, "probe", since=first.created_at)}
    run = await airflow.get("probe", id_)
    assert (run.ended_at, run.created_at) == (None, created.run.created_at)
    again = await ended(airflow, "probe", id_)
    assert again.ended_at > first.ended_at


async def test_an_ended_run_may_be_turned_from_success_to_failure(airflow, server, operator, new_id):
    """Why cancel looks before it acts."""
    id_ = new_id()
    await airflow.trigger("probe", id_, {"seconds": 0})
    assert (await ended(airflow, "probe", id_)).state is DagRunState.SUCCESS
    await operator.patch(f"{server.api}/dags/probe/dagRuns/{id_}", json={"state": "failed"})
    assert (await airflow.get("probe", id_)).state is DagRunState.FAILED


async def test_what_was_never_there_is_not_there(airflow, new_id):
    assert await airflow.get("probe", new_id()) is None
    assert await airflow.get("no_such_dag", new_id()) is None


# The log-in


class Meddler(httpx.AsyncHTTPTransport):
    """Changes the tokens of the first requests, as time and restarts of Airflow do."""

    def __init__(self, *tokens):
        super().__init__()
        self.tokens = list(tokens)
        self.log_ins = 0

    async def handle_async_request(self, request):
        if request.url.path == "/auth/token":
            self.log_ins += 1
        elif self.tokens:
            token = self.tokens.pop(0)
            if token is None:
                del request.headers["Authorization"]
            else:
                request.headers["Authorization"] = f"Bearer {token}"
        return await super().handle_async_request(request)


OTHER_KEY = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhZG1pbiIsImlhdCI6MSwiZXhwIjoyfQ.c2lnbmF0dXJl"


@pytest.mark.parametrize("token", [None, "nonsense", OTHER_KEY])
async def test_a_token_that_airflow_no_longer_takes_costs_no_command(airflow, server, new_id, token):
    transport = Meddler(token)
    other = connect(server, transport, airflow_api=server.api.removeprefix("/api/"))
    id_ = new_id()
    answer = await other.trigger("parked", id_, {})
    if server.api == "/api/v1":  # no tokens: the password goes with each request, so there is no other to try
        assert isinstance(answer, TurnedAway)
        answer = await other.trigger("parked", id_, {})
    assert isinstance(answer, Created)
    assert transport.log_ins == (0 if server.api == "/api/v1" else 2)
    assert transport.tokens == []
    await other.close()


async def test_many_requests_with_a_stale_token_log_in_once(airflow, server, new_id):
    transport = Meddler(*["nonsense"] * 5)
    other = connect(server, transport, airflow_api=server.api.removeprefix("/api/"))
    answers = await asyncio.gather(*(other.get("parked", new_id()) for _ in range(5)), return_exceptions=True)
    if server.api == "/api/v1":
        assert [type(answer) for answer in answers] == [AirflowUnavailable] * 5
        answers = [await other.get("parked", new_id()) for _ in range(5)]
    assert answers == [None] * 5
    assert transport.log_ins == (0 if server.api == "/api/v1" else 2)
    await other.close()


async def test_a_wrong_password_creates_nothing_and_says_so(airflow, server, new_id, caplog):
    id_ = new_id()
    other = connect(server, airflow_password="not-the-password")
    answer = await other.trigger("parked", id_, {})
    assert isinstance(answer, TurnedAway)
    # Airflow 2 doesn't tell a wrong password from a missing role.
    text, action = ("403", "airflow_forbids") if server.api == "/api/v1" else ("refuses the log-in", "login_refused")
    assert text in answer.detail
    with pytest.raises(AirflowUnavailable, match=text):
        await other.health()
    assert await airflow.get("parked", id_) is None
    assert [r.action for r in caplog.records if r.name.startswith("streamapp")] == [action]
    assert "not-the-password" not in caplog.text
    await other.close()


@pytest.mark.parametrize("path", ["/elsewhere", "/api/v2"])
async def test_a_wrong_address_finds_nothing_and_loses_nothing(airflow, server, new_id, path):
    """Its 404 must not pass for a missing DAG, or for a deleted run."""
    other = connect(server, airflow_url=server.url + path)
    assert isinstance(await other.trigger("probe", new_id(), {}), TurnedAway)
    with pytest.raises(AirflowUnavailable):
        await other.get("probe", new_id())
    await other.close()
