"""What only the fake can do: go wrong when told to. Shows what the adapter makes of it, over real sockets."""

import asyncio
import contextlib
import sys
from datetime import timedelta
from pathlib import Path

import httpx
import pytest

from streamapp.airflow.connect import connect as connect_airflow
from streamapp.airflow.port import (
    AirflowUnavailable,
    Created,
    DagMissing,
    DagRunState,
    Exists,
    TurnedAway,
    Uncertain,
)
from streamapp.clock import SystemClock
from streamapp.settings import Settings
from tests.support.fake_airflow import FakeAirflow
from tests.support.fake_runs import FakeDag
from tests.support.waiting import until

ROOT = Path(__file__).parents[2]


@pytest.fixture
async def fake():
    async with FakeAirflow() as fake:
        yield fake


@pytest.fixture
async def airflow(fake):
    airflow = connect(fake.url, fake.password)
    yield airflow
    await airflow.close()


def connect(url, password, seconds=5.0):
    timeout = timedelta(seconds=seconds)
    settings = Settings(airflow_url=url, airflow_username="admin", airflow_password=password, airflow_timeout=timeout)
    return connect_airflow(settings, SystemClock())


@pytest.mark.parametrize(
    ("kind", "answer", "created"),
    [
        ("lost", Uncertain, True),
        ("cut", Uncertain, False),
        ("500", Uncertain, False),
        ("500_after", Uncertain, True),
        ("garbled", Uncertain, True),
        ("429", TurnedAway, False),
        ("403", TurnedAway, False),
    ],
)
async def test_faults_of_a_trigger(fake, airflow, kind, answer, created):
    fake.fault("trigger", kind)
    assert isinstance(await airflow.trigger("probe", "r1", {}), answer)
    assert (("probe", "r1") in fake.runs.by_id) is created
    assert isinstance(await airflow.trigger("probe", "r1", {}), Exists if created else Created)


@pytest.mark.parametrize(("kind", "created"), [("slow", False), ("slow_after", True)])
async def test_an_answer_that_comes_too_late(fake, kind, created):
    impatient = connect(fake.url, fake.password, seconds=0.2)
    fake.fault("trigger", kind, seconds=0.5)
    assert isinstance(await impatient.trigger("probe", "r1", {}), Uncertain)
    assert (await impatient.get("probe", "r1") is not None) is created
    await impatient.close()


async def test_faults_last_as_long_as_they_are_told(fake, airflow):
    fake.fault("get", "500", times=2)
    for _ in range(2):
        with pytest.raises(AirflowUnavailable, match="500"):
            await airflow.get("probe", "r1")
    assert await airflow.get("probe", "r1") is None
    fake.fault("get", "500", times=1000)
    fake.mend()
    assert await airflow.get("probe", "r1") is None


async def test_while_it_is_down_nothing_is_created_and_runs_go_on(fake, airflow):
    fake.runs.default_seconds = 0.01
    await airflow.trigger("probe", "r1", {})
    await fake.down()
    answer = await airflow.trigger("probe", "r2", {})
    assert isinstance(answer, TurnedAway), answer
    assert "no connection" in answer.detail
    with pytest.raises(AirflowUnavailable):
        await airflow.get("probe", "r1")
    await until(lambda: fake.runs.by_id["probe", "r1"].state == "success")
    await fake.up()
    assert (await airflow.get("probe", "r1")).state is DagRunState.SUCCESS
    assert await airflow.get("probe", "r2") is None


async def test_tokens_end_and_are_forgotten(fake):
    fake.token_seconds = -1  # so short that it has ended before it is used
    airflow = connect(fake.url, fake.password)
    assert await airflow.trigger("probe", "r1", {}) == TurnedAway("Airflow answers 401: Token Expired")
    fake.token_seconds = 86400
    assert isinstance(await airflow.trigger("probe", "r1", {}), Created)
    fake.forget_tokens()
    assert (await airflow.get("probe", "r1")).run_id == "r1"
    await airflow.close()


async def test_a_token_is_renewed_ahead_of_its_end(fake):
    fake.token_seconds = 1
    airflow = connect(fake.url, fake.password)
    for _ in range(25):
        await airflow.get("probe", "r1")
        await asyncio.sleep(0.1)
    assert fake.requests["login"] >= 3
    assert fake.requests["get"] == 25  # not one was refused
    await airflow.close()


async def test_runs_share_the_room_there_is_and_their_times_are_honest(fake, airflow):
    fake.runs.parallelism = 2
    for n in range(6):
        await airflow.trigger("probe", f"r{n}", {"seconds": 0.1})
    await until(lambda: all(run.state == "success" for run in fake.runs.of("probe")))
    assert fake.runs.peak == 2
    runs = [await airflow.get("probe", f"r{n}") for n in range(6)]
    moments = sorted([(run.started_at, 1) for run in runs] + [(run.ended_at, -1) for run in runs])
    level = [sum(step for _, step in moments[: n + 1]) for n in range(len(moments))]
    assert max(level) == 2
    assert all(run.ended_at - run.started_at >= timedelta(seconds=0.1) for run in runs)


async def test_a_dag_has_its_own_room(fake, airflow):
    fake.add_dag(FakeDag("narrow", max_active_runs=1))
    for n in range(3):
        await airflow.trigger("narrow", f"r{n}", {"seconds": 60})
    await airflow.trigger("probe", "r", {"seconds": 60})
    await until(lambda: fake.runs.by_id["probe", "r"].state == "running")
    assert [run.state for run in fake.runs.of("narrow")] == ["running", "queued", "queued"]
    await airflow.cancel("narrow", "r0")
    assert [run.state for run in fake.runs.of("narrow")] == ["failed", "running", "queued"]
    fake.delete_run("narrow", "r1")
    assert [run.state for run in fake.runs.of("narrow")] == ["failed", "running"]


async def test_a_paused_dag_queues_until_it_is_unpaused(fake, airflow):
    fake.add_dag(FakeDag("later", paused=True))
    await airflow.trigger("later", "r1", {"seconds": 0})
    await asyncio.sleep(0.05)
    assert (await airflow.get("later", "r1")).state is DagRunState.QUEUED
    fake.add_dag(FakeDag("later"))
    await until(lambda: fake.runs.by_id["later", "r1"].state == "success")


async def test_runs_in_which_no_task_starts(fake, airflow):
    fake.add_dag(FakeDag("stuck", tasks_start=False))
    await airflow.trigger("stuck", "r1", {})
    await until(lambda: fake.runs.by_id["stuck", "r1"].state == "failed")
    assert not await airflow.any_task_started("stuck", "r1")


async def test_dags_come_and_go(fake, airflow):
    fake.remove_dag("probe")
    assert isinstance(await airflow.trigger("probe", "r1", {}), DagMissing)
    fake.add_dag(FakeDag("probe", import_errors=True))
    assert isinstance(await airflow.trigger("probe", "r1", {}), DagMissing)
    fake.add_dag(FakeDag("probe"))
    assert isinstance(await airflow.trigger("probe", "r1", {}), Created)


async def test_requests_are_counted_and_their_peak_is_kept(fake, airflow):
    await airflow.get("probe", "r")
    fake.fault("trigger", "slow", times=4, seconds=0.1)
    await asyncio.gather(*(airflow.trigger("probe", f"r{n}", {"n": n}) for n in range(4)))
    assert fake.peak_triggers == 4
    assert (fake.requests["trigger"], fake.requests["login"]) == (4, 1)
    assert sorted((post.run_id, post.conf["n"], post.created) for post in fake.posts) == [
        (f"r{n}", n, True) for n in range(4)
    ]


def test_it_serves_from_a_thread_of_its_own():
    async def use(fake):
        airflow = connect(fake.url, fake.password)
        await airflow.trigger("probe", "r1", {"seconds": 60})
        await until(lambda: fake.runs.by_id["probe", "r1"].state == "running")
        fake.clear_run("probe", "r1")
        fake.delete_run("probe", "r1")
        assert await airflow.get("probe", "r1") is None
        await airflow.close()

    with FakeAirflow().in_thread() as fake:
        asyncio.run(use(fake))
        fake.call(fake.down())
        with pytest.raises(httpx.ConnectError):
            httpx.get(fake.url)
        fake.call(fake.up())
        assert httpx.get(f"{fake.url}/api/v2/version").json()["version"].startswith("3.")


async def test_it_runs_as_a_process_and_is_controlled_over_http():
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.support.fake_airflow", cwd=ROOT, stdout=asyncio.subprocess.PIPE
    )
    try:
        url = (await asyncio.wait_for(process.stdout.readline(), 20)).decode().strip()
        airflow = connect(url, FakeAirflow().password)
        async with httpx.AsyncClient(base_url=url) as control:
            (await control.post("/_fake/fault", json={"operation": "trigger", "kind": "lost"})).raise_for_status()
            assert isinstance(await airflow.trigger("probe", "r1", {}), Uncertain)
            (await control.post("/_fake/settings", json={"default_seconds": 0.0})).raise_for_status()
            (await control.post("/_fake/dag", json={"dag_id": "other"})).raise_for_status()
            assert isinstance(await airflow.trigger("other", "r1", {}), Created)
            state = (await control.get("/_fake/state")).json()
            assert [(post["dag_id"], post["created"]) for post in state["posts"]] == [("probe", True), ("other", True)]
            (await control.post("/_fake/delete-run", json={"dag_id": "probe", "run_id": "r1"})).raise_for_status()
            assert await airflow.get("probe", "r1") is None
            (await control.post("/_fake/down", json={"seconds": 0.3})).raise_for_status()

        async def refused():
            with contextlib.suppress(AirflowUnavailable):
                return await airflow.health() is None
            return True

        async def healthy():
            with contextlib.suppress(AirflowUnavailable):
                return await airflow.health()

        await until(refused)
        await until(healthy)
        await airflow.close()
    finally:
        process.terminate()
        await process.wait()
