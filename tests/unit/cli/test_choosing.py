from datetime import UTC, datetime, timedelta
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from streamapp.cli.choosing import Chosen, MomentType
from streamapp.cli.main import main

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
LETTER = {"id": "commands-0-0-1", "reason": "run_failed", "key": b"k", "partition": 0, "at": NOON}


def test_without_filters_everything_is_meant():
    assert Chosen().takes(**LETTER)
    assert Chosen().names(command=None, dag=None)
    assert not Chosen().narrows


@pytest.mark.parametrize(
    ("chosen", "other"),
    [
        (Chosen(ids=frozenset({"commands-0-0-1"})), {"id": "commands-0-0-2"}),
        (Chosen(reasons=frozenset({"run_failed", "too_large"})), {"reason": "tombstone"}),
        (Chosen(key="k"), {"key": None}),
        (Chosen(partition=0), {"partition": 1}),
        (Chosen(since=NOON), {"at": NOON - timedelta(seconds=1)}),
        (Chosen(until=NOON + timedelta(seconds=1)), {"at": NOON + timedelta(seconds=1)}),
    ],
)
def test_filters_of_what_a_letter_says(chosen, other):
    assert chosen.takes(**LETTER)
    assert not chosen.takes(**LETTER | other)


def test_filters_of_names_are_globs():
    assert Chosen(command="app.*", dag="send_?").names(command="app.x", dag="send_1")
    assert not Chosen(command="app.*").names(command="other.x", dag=None)
    assert not Chosen(dag="*x").names(command="app.y", dag=None)


def test_a_moment_is_a_time_or_how_long_ago():
    read = MomentType().convert
    assert read("2026-01-01T13:00:00+01:00", None, None) == NOON
    ago = datetime.now(UTC) - read("2h", None, None)
    assert timedelta(hours=1, minutes=59) < ago < timedelta(hours=2, minutes=1)
    with pytest.raises(click.BadParameter, match="like 2h for two hours ago"):
        read("yesterday", None, None)


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["redrive"], "give ids, or filters"),
        (["redrive", "a-0-0-1", "--all"], "not both"),
        (["redrive", "a-0-0-1", "--key", "k"], "not both"),
        (["redrive", "a-0-0-1", "a-0-1-1", "--edit"], "go with one DLQ_ID"),
        (["redrive", "--all", "--params", "{}"], "go with one DLQ_ID"),
        (["redrive", "a-0-0-1", "--params", "{}", "--edit"], "not both"),
        (["redrive", "a-0-0-1", "--params", "[]"], "it is JSON, but not an object"),
        (["redrive", "--reason", "bad_luck"], "'bad_luck' is not one of"),
        (["dead-letters", "discard"], "give ids, or filters"),
        (["dead-letters", "list", "--state", "lost"], "'lost' is not one of"),
        (["replay"], "say what is meant"),
        (["replay", "--offsets", "1..2"], "goes with --partition"),
        (["replay", "--partition", "0", "--offsets", "3..2"], "is not like 100..250"),
        (["replay", "--key", "k", "--only-status", "duplicate"], "is none of"),
        (["replay", "--key", "k", "--replay-id", "a b"], "must be 1 to 200 letters"),
        (["replay", "--since", "yesterday"], "'yesterday' is not a time in ISO 8601; write it like"),
        (["replay", "--since", "999999d"], "longer ago than can be counted"),
        (["dead-letters", "list", "--until", "999999d"], "longer ago than can be counted"),
        (["dead-letters", "discard", "--all", "--note", "\udcff"], "--note: is not UTF-8"),
        (["redrive", "a-0-0-1", "--params", '{"a": "\udcff"}'], "--params: is not UTF-8"),
    ],
)
def test_wrong_usage_is_told_before_anybody_is_asked(arguments, why, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    done = CliRunner(env={"STREAMAPP_BOOTSTRAP_SERVERS": "127.0.0.1:1"}).invoke(main, arguments)
    assert done.exit_code == 2, done.output
    assert why in done.stderr
