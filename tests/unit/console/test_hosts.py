"""By which names a worker answers: a page that a browser has from elsewhere must not read what it shows."""

import socket

import pytest
from aiohttp.test_utils import TestClient, TestServer

from streamapp.application import create_app
from streamapp.clock import SystemClock
from streamapp.settings import Settings
from tests.support.builders import received
from tests.support.memory_airflow import MemoryAirflow

STRANGERS = [
    "rebind.attacker.example",
    "rebind.attacker.example:6066",
    "localhost.attacker.example",
    "127.0.0.1.attacker.example",
    "worker-1.attacker.example",
    "me@127.0.0.1",
    "127.0.0.1:6066:1",
    "[::1",
    "",
]


def came_by(name):
    return {"headers": {"Host": name}}


@pytest.mark.parametrize("name", STRANGERS)
async def test_who_came_by_a_strange_name_is_told_no_command(bench, name):
    bench.fold(received(0))
    for path in ("/api/v1/commands", "/api/v1/commands/c0", "/api/v1/keys/k", "/api/v1/status", "/api/v1/workers"):
        answer = await bench.ask(path, **came_by(name))
        assert answer.status == 421
        assert "STREAMAPP_WEB_HOSTS" in (await answer.json())["error"]
    for path in ("/", "/commands/c0", "/keys/k", "/workers", "/health/../commands/c0", "/metrics/"):
        answer = await bench.ask(path, **came_by(name))
        assert answer.status == 421
        text = await answer.text()
        assert "STREAMAPP_WEB_HOSTS" in text
        assert "c0" not in text


@pytest.mark.parametrize(
    "name",
    ["127.0.0.1", "127.0.0.1:6066", "10.0.0.12:80", "[::1]", "[fd00::1]:6066", "localhost", "LOCALHOST:6066",
     "localhost.", "worker-1", "worker-1:6066", "Worker-1.:6066", "console.example.com", "Console.Example.com.:443"],
)  # fmt: skip
async def test_addresses_and_known_names(bench, name):
    bench.change(url="http://Worker-1:6066")
    bench.hosts.add("console.example.com")
    assert (await bench.ask("/api/v1/status", **came_by(name))).status == 200
    assert (await bench.ask("/workers", **came_by(name))).status == 200


@pytest.mark.parametrize("path", ["/health/live", "/health/ready", "/metrics"])
@pytest.mark.parametrize("name", ["streamapp.shop.svc.cluster.local:6066", "anything", ""])
async def test_probes_and_metrics_are_answered_by_any_name(bench, path, name):
    assert (await bench.ask(path, **came_by(name))).status == 200


async def test_all_names_can_be_allowed(bench):
    bench.hosts.add("*")
    assert (await bench.ask("/api/v1/status", **came_by("anything.example:6066"))).status == 200


async def test_a_name_is_shown_as_text(bench):
    text = await (await bench.ask("/", **came_by("<b>x</b>"))).text()
    assert "<b>" not in text


@pytest.mark.parametrize(
    ("settings", "name", "status"),
    [
        ({}, "rebind.attacker.example", 421),
        ({}, "", 421),
        ({"web_bind": "0.0.0.0"}, socket.gethostname(), 200),
        ({"web_bind": "0.0.0.0"}, "worker2", 421),
        ({"web_hosts": "worker1, Worker2."}, "worker2:6067", 200),
        ({"web_hosts": "*"}, "rebind.attacker.example", 200),
    ],
)
async def test_a_workers_own_name_and_those_of_its_settings(settings, name, status):
    app = create_app(Settings(**settings), MemoryAirflow(SystemClock()), SystemClock())
    async with TestClient(TestServer(app.web.web_app)) as client:
        for path in ("/static/console.css", "/api/v1/nothing"):
            answer = await client.get(path, **came_by(name))
            assert (answer.status == 421) == (status == 421), path
