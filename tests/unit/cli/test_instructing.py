"""The verbs that instruct: what they take, and how they tell what became of it. Nothing is sent."""

import asyncio
import json
import threading
from contextlib import asynccontextmanager
from dataclasses import replace
from types import SimpleNamespace

import click
import pytest
from click.testing import CliRunner

from streamapp.cli import instructing
from streamapp.cli.asking import Asking
from streamapp.cli.control import Order, Reply
from streamapp.cli.instructing import REFUSED, UNANSWERED, finish
from streamapp.cli.main import main
from streamapp.core.model import Action, Status
from streamapp.settings import load_settings
from tests.support.builders import AT, entry, outcome

ASKED = Asking(
    settings=load_settings({}), as_json=False, by="ann", reason="why", partition=None, worker="", wait=AT - AT,
    control_id="c1", at=AT,
)  # fmt: skip
APPLIED = replace(outcome(entry(), Status.INSTRUCTION_APPLIED), detail="retry by ann: why", control_id="c1")
REFUSAL = replace(APPLIED, status=Status.INSTRUCTION_REFUSED, detail="refused, it is\x1b[2J not (retry by ann)")


def reply(said=None, partition=0, action=Action.RETRY, **about):
    return Reply(Order(ASKED.instruction(action, **about), partition), said)


def told(capsys, *replies, unknown=(), **how):
    code = 0
    try:
        finish(replace(ASKED, **how), list(replies), unknown)
    except click.exceptions.Exit as end:
        code = end.exit_code
    return code, capsys.readouterr()


def test_applied(capsys):
    code, shown = told(capsys, reply(APPLIED, 3, command_id="a"))
    assert (code, shown.out, shown.err) == (0, "a  applied  partition 3  (retry by ann: why)\n", "")


def test_refused(capsys):
    code, shown = told(capsys, reply(REFUSAL, command_id="a"), reply(APPLIED, 3, command_id="b"))
    assert code == REFUSED
    assert shown.out.splitlines() == [
        "a  refused  partition 0  (refused, it is\\x1b[2J not (retry by ann))",
        "b  applied  partition 3  (retry by ann: why)",
    ]


def test_not_known(capsys):
    code, shown = told(capsys, reply(APPLIED, command_id="b"), unknown=["a"])
    assert code == REFUSED
    assert shown.err.startswith("a: no worker knows a command of this id")


def test_no_answer(capsys):
    code, shown = told(capsys, reply(APPLIED, command_id="b"), reply(None, command_id="a"))
    assert code == UNANSWERED
    assert "a  given  partition 0\n" in shown.out
    assert "what was given stands" in shown.err


def test_nobody_waited(capsys):
    code, shown = told(capsys, reply(None, command_id="a"), wait=None)
    assert (code, shown.out, shown.err) == (0, "a  given  partition 0\n", "")


def test_partitions_that_say_the_same_share_a_line(capsys):
    paused = replace(APPLIED, detail="pause by ann")
    already = replace(REFUSAL, detail="refused, that is paused already (pause by ann)")
    said = [already if number == 2 else paused for number in range(4)]
    replies = [reply(one, number, Action.PAUSE, dag_id="probe") for number, one in enumerate(said)]
    code, shown = told(capsys, *replies)
    assert code == REFUSED
    assert shown.out.splitlines() == [
        "probe  applied  partitions 0, 1, 3  (pause by ann)",
        "probe  refused  partition 2  (refused, that is paused already (pause by ann))",
    ]
    assert "all DAGs  given" in told(capsys, reply(None, action=Action.PAUSE), wait=None)[1].out
    assert "key k  given" in told(capsys, reply(None, action=Action.HOLD, key=b"k"), wait=None)[1].out


def test_an_interruption_comes_through_while_workers_are_asked(monkeypatch):
    heard = threading.Event()

    @asynccontextmanager
    async def desk(_):
        asyncio.get_running_loop().call_later(0.05, heard.set)  # as a signal is heard: by the loop
        yield SimpleNamespace(partitions=4)

    def where(_):
        assert heard.wait(10)
        return []

    monkeypatch.setattr(instructing, "control", desk)
    assert instructing._give(ASKED, where) == []


def test_json(capsys):
    _, shown = told(capsys, reply(APPLIED, 3, command_id="a"), reply(command_id="b"), unknown=["c"], as_json=True)
    first, second, third = map(json.loads, shown.out.splitlines())
    assert first == {
        "control_id": "c1",
        "action": "retry",
        "command_id": "a",
        "key": None,
        "dag_id": None,
        "partition": 3,
        "answer": "applied",
        "detail": "retry by ann: why",
        "at": "2026-01-01T12:00:00.000Z",
    }
    assert (second["answer"], second["at"]) == (None, None)
    assert (third["command_id"], third["answer"]) == ("c", "unknown")


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["retry"], "Missing argument 'COMMAND_ID...'"),
        (["retry", "-"], "standard input names no command"),
        (["retry", "a" * 1001], "more than 1000 characters"),
        (["retry", "a", "--reason", "x" * 1001], "more than 1000 characters"),
        (["retry", "a", "--key", "k", "--key-base64", "ag=="], "give one of --key and --key-base64"),
        (["retry", "a", "--timeout", "soon"], "is not a duration"),
        (["hold"], "give --key or --key-base64"),
        (["hold", "--key-base64", "?"], "is not base64"),
        (["hold", "--key-base64", "\udcff"], "is not base64"),
        (["hold", "--key", "k" * 8193], "more than 8192 bytes"),
        (["release", "k"], "unexpected extra argument"),
        (["pause"], "give --dag or --all"),
        (["pause", "--dag", "d", "--all"], "give --dag or --all"),
        (["resume", "--dag", "d" * 1001], "more than 1000 characters"),
        (["cancel", "a", "--by", "\udcff"], "is not UTF-8"),
        (["skip", "a", "--partition", "-1"], "not in the range"),
    ],
)
def test_wrong_usage(arguments, problem, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(main, arguments, input="\n")
    assert done.exit_code == 2
    assert problem in done.stderr
    assert done.stdout == ""


def test_standard_input_that_is_no_text(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(main, ["retry", "-"], input=b"a\xff\n")
    assert done.exit_code == 2
    assert "standard input is not UTF-8" in done.stderr
