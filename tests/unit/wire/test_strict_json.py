from datetime import UTC, datetime

import pytest

from streamapp.wire.strict_json import MAX_DEPTH, NotStrictJson, dumps, loads


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "not JSON"),
        ("{", "not JSON"),
        ("{'a': 1}", "not JSON"),
        ('{"a": "\t"}', "not JSON"),
        ('{"a": 1} x', "not JSON"),
        ('{"a": ' + "1" * 5000 + "}", "not JSON"),
        ("[]", "not an object"),
        ('"text"', "not an object"),
        ("null", "not an object"),
        ('{"a": NaN}', "NaN"),
        ('{"a": -Infinity}', "Infinity"),
        ('{"a": 1e400}', "out of range"),
        ('{"a": [{"b": 1, "b": 2}]}', "twice"),
        ('{"a": "\\ud800"}', "surrogate"),
        ('{"a": "\\uDC00\\ud800"}', "surrogate"),
        ('{"\\ud800": 1}', "surrogate"),
        ('{"a": ' * 101 + "1" + "}" * 101, "deeper"),
        ('{"a": ' + "[" * 100_000 + "]" * 100_000 + "}", "deeper"),
    ],
)
def test_what_not_everybody_can_take_is_refused(text, why):
    with pytest.raises(NotStrictJson, match=why):
        loads(text)


@pytest.mark.parametrize(
    ("text", "content"),
    [
        ("{}", {}),
        (' {"a": [1.5, "ü", null, true]} ', {"a": [1.5, "ü", None, True]}),
        ('{"a": "\\ud83d\\ude00"}', {"a": "\U0001f600"}),
        ('{"a": "\\\\ud800"}', {"a": "\\ud800"}),
        ('{"a": 123456789012345678901234567890}', {"a": 123456789012345678901234567890}),
        ('{"a": "' + "[" * 500 + '"}', {"a": "[" * 500}),
    ],
)
def test_other_objects_are_read(text, content):
    assert loads(text) == content


def test_the_deepest_nesting_allowed():
    assert loads('{"a": ' * MAX_DEPTH + "1" + "}" * MAX_DEPTH)


def test_written_json_is_compact_utf_8_with_iso_times():
    content = {"at": datetime(2026, 1, 2, 3, 4, 5, 678900, tzinfo=UTC), "text": "ü"}
    assert dumps(content) == '{"at":"2026-01-02T03:04:05.678Z","text":"ü"}'.encode()


def test_what_json_has_no_form_for_is_refused():
    with pytest.raises(TypeError):
        dumps({"a": object()})
