import json

import pytest

from streamapp.cli.drafts import EXAMPLE, Draft, Drafts
from streamapp.core.errors import ConfigError

GOOD = {"command": "app.probe", "params": "{}"}


async def read(*lines: str) -> list[Draft]:
    return await Drafts(1000).read_lines(lines, "commands.jsonl")


async def test_the_example_is_a_command() -> None:
    draft = await Drafts(262144).make(EXAMPLE, "the example")
    assert draft.record.command == "app.send_email_alert"
    assert json.loads(draft.record.params) == {"email": "test@email.com"}
    assert draft.key == b"event"


async def test_lines_with_every_field() -> None:
    line = {
        **GOOD,
        "params": {"n": 1, "name": "ä"},
        "key": "k",
        "id": "i",
        "correlation_id": "c",
        "causation_id": None,
        "not_before": "2026-01-31T08:00:00Z",
        "deadline": "2026-01-31T10:00:00+01:00",
    }
    first, second = await read(json.dumps(line), "", "  \n", json.dumps(GOOD))
    assert json.loads(first.record.params) == {"n": 1, "name": "ä"}
    assert first.key == b"k"
    assert first.record.not_before is not None
    assert first.record.deadline is not None
    assert (first.record.deadline - first.record.not_before).total_seconds() == 3600
    assert second.key is None
    assert second.place == "commands.jsonl: line 4"


async def test_an_empty_key_is_a_key() -> None:
    (draft,) = await read(json.dumps({**GOOD, "key": ""}))
    assert draft.key == b""


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("{", "it is not JSON"),
        ("[1]", "not an object"),
        ('{"command": "app.probe"}', "params is missing"),
        ('{"params": "{}"}', "command is missing"),
        ('{"command": "app.probe", "params": "{}", "kee": "x"}', "'kee' is not a field of a command"),
        ('{"command": "app.probe", "params": "{}", "key": 7}', "key must be text"),
        ('{"command": "app.probe", "params": "[]"}', "params must be a JSON object as text"),
        ('{"command": "app.probe", "params": "{\\"_command\\": 1}"}', "params must not have _command"),
        ('{"command": "probe", "params": "{}"}', "must be like app.<dag id>"),
        ('{"command": "app.probe", "params": "{}", "not_before": "tomorrow"}', "not_before: 'tomorrow' is not a time"),
        ('{"command": "app.probe", "params": "{}", "deadline": "2026-01-31T08:00:00"}', "names no offset from UTC"),
        (json.dumps({**GOOD, "key": "k" * 1000}), "max_command_bytes allows 1000"),
        ('{"command": "app.probe", "params": "{}", "params": "{}"}', "twice"),
        ('{"command": "app.probe", "params": {"n": NaN}}', "NaN"),
        ('{"command": "app.probe", "params": "{}", "id": "a\\nb"}', "control characters"),
    ],
)
async def test_a_bad_line_is_named_by_its_number(line: str, text: str) -> None:
    with pytest.raises(ConfigError) as error:
        await read(json.dumps(GOOD), "", line, json.dumps(GOOD))
    assert str(error.value).startswith("commands.jsonl: line 3: ")
    assert text in str(error.value)
    assert "\n" not in str(error.value)
