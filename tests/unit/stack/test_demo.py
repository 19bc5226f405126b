"""What the demo makes of the outcomes."""

from pathlib import Path

import pytest
from rich.console import Console

from stack import demo
from stack.config import StackError
from stack.demo import Sent, overlaps, problems


def sent(name: str, key: str, started: str = "", ended: str = "", status: str = "succeeded", **params: object) -> Sent:
    timings = {"started_at": started or None, "ended_at": ended or None}
    return Sent(name, "app.probe", key, params, {"status": status, "timings": timings})


def at(second: int) -> str:
    return f"2026-01-01T00:00:{second:02}.000Z"


def test_a_failure_that_was_asked_for_is_right() -> None:
    assert problems([sent("a", "k", status="failed", fail=True), sent("b", "k")]) == []


@pytest.mark.parametrize(("fail", "status", "wanted"), [(False, "failed", "succeeded"), (True, "succeeded", "failed")])
def test_any_other_ending_is_a_problem(fail: bool, status: str, wanted: str) -> None:
    assert problems([sent("a", "k", status=status, fail=fail)]) == [f"a ended as {status}, not as {wanted}"]


def test_runs_of_one_key_must_not_overlap() -> None:
    one, two = sent("a", "k", at(1), at(5)), sent("b", "k", at(4), at(6))
    assert overlaps([one, two]) == ["b started before a had ended"]
    assert overlaps([one, sent("c", "other", at(4), at(6))]) == []
    assert overlaps([one, sent("d", "k", at(5), at(6))]) == []


def test_a_stack_that_says_nothing_is_told_in_a_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(demo, "STREAMAPP", "false")  # a `tail` that ends without an outcome
    with pytest.raises(StackError, match=r"these have not ended: a \(not seen\); `make logs` tells more"):
        demo._follow([Sent("a", "app.probe", "k", {})], tmp_path, Console(quiet=True))
