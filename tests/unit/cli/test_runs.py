"""`doctor --runs` against the fake Airflow and a worker that knows a few commands."""

import base64

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from streamapp.cli import runs
from streamapp.cli.runs import runs_check
from streamapp.core.errors import Unavailable
from streamapp.core.run_id import run_id
from streamapp.settings import Settings
from tests.support.fake_airflow import FakeAirflow
from tests.support.fake_runs import FakeDag


class World:
    """What Airflow and the worker have."""

    def __init__(self, airflow, worker):
        self.airflow = airflow
        self.commands = {}
        self.missing = 0
        self.settings = Settings(
            airflow_url=airflow.url,
            airflow_username=airflow.username,
            airflow_password=airflow.password,
            worker_url=str(worker.make_url("")),
        )

    def run(self, id_, status=None, attempt=1, *, app_id="streamapp", of=None):
        """An active run, and a command that stands so."""
        name = run_id(app_id, id_, 1, attempt)
        self.airflow.runs.create("parked", name, {"_command": {"id": id_}})
        if status:
            self.commands[id_] = {"status": status, "dag_run_id": of or name}
        return name

    async def check(self):
        return [(check.state, check.what) for check in await runs_check(self.settings)]


@pytest.fixture
async def world():
    async def command(request):
        assert request.query["base64"] == "1"
        found = world.commands.get(base64.urlsafe_b64decode(request.match_info["id"]).decode())
        return web.json_response(found or {}, status=200 if found else 404)

    async def workers(_):
        return web.json_response({"workers": [{"airflow": {"missing": world.missing}}]})

    app = web.Application()
    app.router.add_get("/api/v1/commands/{id}", command)
    app.router.add_get("/api/v1/workers", workers)
    async with FakeAirflow() as airflow, TestServer(app) as worker:
        airflow.add_dag(FakeDag("parked", paused=True))
        world = World(airflow, worker)
        yield world


async def test_a_command_waits_for_each_run(world):
    world.run("..", "triggered")
    world.run("b", "accepted", of="none yet")
    world.run("c", "attempt_failed", 2, of=run_id("streamapp", "c", 1, 1))
    world.run("x", app_id="streamapp2")
    world.airflow.runs.create("parked", "manual__1", {})
    assert await world.check() == [("ok", "3 active in Airflow, a command waits for each of them")]


@pytest.mark.parametrize("status", [None, "succeeded", "failed", "blocked", "attempt_failed"])
async def test_a_run_that_no_command_waits_for_is_named(world, status):
    world.run("a", "triggered")
    name = world.run("b/ü", status)
    assert await world.check() == [("problem", f"1 active in Airflow that no command waits for: {name}")]


async def test_runs_that_airflow_does_not_have_are_told(world):
    world.missing = 2
    assert await world.check() == [("problem", "2 that commands wait for, and Airflow does not have")]


async def test_all_pages_are_read_and_what_is_not_looked_at_is_said(world, monkeypatch):
    for number in range(205):
        world.run(f"c{number}", "triggered")
    assert await world.check() == [("ok", "205 active in Airflow, a command waits for each of them")]
    monkeypatch.setattr(runs, "ASKED", 3)
    assert await world.check() == [("note", "only the oldest 3 active runs were looked at")]
    monkeypatch.setattr(runs, "PAGES", 1)
    assert [state for state, _ in await world.check()] == ["note"]


async def test_a_worker_that_does_not_answer_is_no_reason_to_name_runs(world):
    world.run("a", "triggered")
    world.settings = world.settings.model_copy(update={"worker_url": world.settings.worker_url + "/elsewhere"})
    with pytest.raises(Unavailable):
        await world.check()
