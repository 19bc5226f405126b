from datetime import UTC, datetime

import pytest

from streamapp.cli.output import coloured, print_fields, print_json, print_table, printable, reason_of


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain text, größer, 漢字", "plain text, größer, 漢字"),
        ("\x1b[31mred\x1b[0m", "\\x1b[31mred\\x1b[0m"),
        ("line\nline\ttab\rback", "line\\nline\\ttab\\rback"),
        ("\x9b2J", "\\x9b2J"),
        ("\u202egnp.exe", "\\u202egnp.exe"),
        ("zero\u200bwidth", "zero\\u200bwidth"),
        ("half \ud800", "half \\ud800"),
        ("\x00\x7f", "\\x00\\x7f"),
    ],
)
def test_nothing_printed_can_steer_a_terminal(text: str, shown: str) -> None:
    assert printable(text) == shown


def test_json_is_ascii_and_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"key": "\x1b\x9b\u202eä\n", "at": datetime(2026, 1, 31, 8, tzinfo=UTC)})
    out = capsys.readouterr().out
    assert out.isascii()
    assert out.count("\n") == 1
    assert '"at": "2026-01-31T08:00:00.000Z"' in out


def test_what_json_can_not_say_is_not_printed(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ValueError):
        print_json({"n": float("nan")})
    assert capsys.readouterr().out == ""


def test_an_error_has_a_reason_at_least_its_name() -> None:
    assert reason_of(ValueError("it is broken")) == "it is broken"
    assert reason_of(TimeoutError()) == "TimeoutError"


def test_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    print_table([("TOPIC", "N"), ("long\nname", 7), ("b", None)])
    assert capsys.readouterr().out == "TOPIC       N\nlong\\nname  7\nb\n"


def test_fields_without_a_value_are_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    print_fields({"status": "failed", "reason": None, "attempt": 0, "detail": ""})
    assert capsys.readouterr().out == "status:   failed\nattempt:  0\n"


def test_a_status_that_is_not_known_has_no_colour() -> None:
    assert "flying" in coloured("flying")
    assert coloured("failed") != "failed"
