"""Hints over a real socket, written by the plugin's own code."""

import asyncio
import importlib.util
import sys
import threading
from types import ModuleType, SimpleNamespace

import pytest

from stack.config import HOST, ROOT
from streamapp.airflow.hints import LONGEST, HintListener, listen, read_hint
from tests.support.waiting import until

SECRET = "s3cret"
RUN = SimpleNamespace(dag_id="probe", run_id="cmd__shop__c1__1.1")


@pytest.fixture
def plugin(monkeypatch):
    """The plugin, with as much of Airflow as it imports."""
    listeners, plugins = ModuleType("airflow.listeners"), ModuleType("airflow.plugins_manager")
    listeners.hookimpl = lambda function: function
    plugins.AirflowPlugin = object
    for module in (ModuleType("airflow"), listeners, plugins):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    spec = importlib.util.spec_from_file_location("streamapp_hint", ROOT / "airflow_plugin" / "streamapp_hint.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
async def worker():
    """What a worker takes and refuses, and where."""
    took = SimpleNamespace(hints=[], refused=0)

    def refuse():
        took.refused += 1

    listener = HintListener(SECRET, lambda *hint: took.hints.append(hint), refuse)
    transport = await listen(f"{HOST}:0", listener)
    took.port = transport.get_extra_info("sockname")[1]
    yield took
    transport.close()
    await asyncio.sleep(0)


async def test_a_target_that_can_be_no_host_keeps_no_hint_from_the_others(plugin, worker, monkeypatch):
    monkeypatch.setenv("STREAMAPP_HINT_TARGETS", f"worker-1..svc:6065,{HOST}:{worker.port}")
    monkeypatch.setenv("STREAMAPP_HINT_SECRET", SECRET)
    listener = plugin.from_environment()
    for count in (1, 2):
        listener.on_dag_run_success(RUN)
        await until(lambda count=count: len(worker.hints) >= count, within_seconds=10)


async def test_a_run_that_ends_is_told_to_every_target(plugin, worker, monkeypatch):
    monkeypatch.setenv("STREAMAPP_HINT_TARGETS", f"127.0.0.1:1, {HOST}:{worker.port},localhost:{worker.port}")
    monkeypatch.setenv("STREAMAPP_HINT_SECRET", SECRET)
    listener = plugin.from_environment()
    listener.on_dag_run_success(RUN)
    await until(lambda: len(worker.hints) >= 2, within_seconds=30)
    listener.on_dag_run_failed(SimpleNamespace(dag_id="probe", run_id="cmd__shop__c2__1.1"))
    await until(lambda: len(worker.hints) >= 4, within_seconds=30)
    assert worker.hints[0] == ("probe", "cmd__shop__c1__1.1")
    assert worker.hints[-1] == ("probe", "cmd__shop__c2__1.1")
    assert worker.refused == 0


async def test_what_is_not_signed_with_the_secret_is_refused(plugin, worker):
    plugin.Sender([(HOST, worker.port)], "another").tell(RUN.dag_id, RUN.run_id)
    await until(lambda: worker.refused == 1, within_seconds=30)
    assert worker.hints == []


def test_only_hints_are_read(plugin):
    good = plugin.encode(SECRET, "probe", "r")
    assert read_hint(good, SECRET) == ("probe", "r")
    for bad in (b"", b" ", b"x", good[:-1], good[1:], good + b" ", b"0" * (LONGEST + 1)):
        assert read_hint(bad, SECRET) is None
    for body in (b"[]", b"{}", b'{"dag_id": 1, "run_id": "r"}', b"not JSON", b"\xff"):
        digest = plugin.hmac.new(SECRET.encode(), body, "sha256").hexdigest().encode()
        assert read_hint(digest + b" " + body, SECRET) is None


def test_the_longest_ids_fit(plugin):
    assert len(plugin.encode(SECRET, "d" * 250, "é" * 250)) <= LONGEST


@pytest.mark.parametrize("run", [SimpleNamespace(dag_id="probe", run_id="manual__1"), SimpleNamespace(), None])
def test_other_runs_and_surprises_are_passed_over(plugin, run):
    told = []
    plugin.Listener(SimpleNamespace(tell=lambda *hint: told.append(hint)), "cmd__").on_dag_run_success(run)
    assert told == []


def test_the_scheduler_never_waits(plugin, monkeypatch):
    """However long a name takes to be looked up: a hint is dropped where the queue is full."""
    asked, answered = threading.Event(), threading.Event()

    def hang(*_, **__):
        asked.set()
        answered.wait(60)
        return []

    monkeypatch.setattr(plugin, "socket", SimpleNamespace(getaddrinfo=hang, SOCK_DGRAM=None))
    sender = plugin.Sender([("nowhere", 1)], SECRET, waiting=2)
    sender.tell("probe", "cmd__x")
    assert asked.wait(60)
    for _ in range(1000):
        sender.tell("probe", "cmd__x")
    assert sender._queue.full()
    answered.set()


@pytest.mark.parametrize("missing", ["STREAMAPP_HINT_TARGETS", "STREAMAPP_HINT_SECRET"])
def test_without_targets_or_secret_it_is_off_and_says_so(plugin, monkeypatch, caplog, missing):
    monkeypatch.setenv("STREAMAPP_HINT_TARGETS", "127.0.0.1:1,nonsense")
    monkeypatch.setenv("STREAMAPP_HINT_SECRET", SECRET)
    monkeypatch.delenv(missing)
    plugin.from_environment().on_dag_run_success(RUN)
    assert "hints are off" in caplog.text
