"""What the documentation tells to type can be typed: verbs, options, make targets, variables."""

import dataclasses
import re
import shlex
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from faust.cli.faust import cli as faust_cli

from stack.config import Config
from stack.config import variable as stack_variable
from streamapp.cli.main import main
from streamapp.settings import Settings, variable
from tests.support.markdown import PAGES, ROOT, blocks, command_lines, name_of, spans

_FILE = re.compile(r"[\w./-]+\.(?:config|jsonl|toml|pem)")
_ELLIPSIS = "…"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_streamapp_lines_parse(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for line in command_lines(page):
        for words in _calls(line, "streamapp"):
            for word in filter(_FILE.fullmatch, words):
                file = tmp_path / word.lstrip("/")
                file.parent.mkdir(parents=True, exist_ok=True)
                file.touch()
            _parse(main, words, line)


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_faust_lines_have_options_that_faust_knows(page: Path) -> None:
    known = CliRunner().invoke(faust_cli, ["--help"]).stdout
    known += CliRunner().invoke(faust_cli, ["-A", "streamapp", "worker", "--help"]).stdout
    for line in command_lines(page):
        for words in _calls(line, "faust"):
            assert words[:2] == ["-A", "streamapp"], line
            assert "worker" in words, line
            for word in words[2:]:
                assert not word.startswith("-") or word in known, f"{word} in {line}"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_make_targets_exist(page: Path) -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for line in command_lines(page):
        for words in _calls(line, "make"):
            assert {word for word in words if "=" not in word} <= targets, line


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_variables_exist(page: Path) -> None:
    known = {variable(name) for name in Settings.model_fields}
    known |= {stack_variable(field.name) for field in dataclasses.fields(Config)}
    known |= set(re.findall(r"STREAMAPP_HINT_[A-Z]+", (ROOT / "airflow_plugin" / "streamapp_hint.py").read_text()))
    texts = [*spans(page), *(block.text for block in blocks(page, "console", "sh", "ini", "text", "python"))]
    for text in texts:
        for name in re.findall(r"\b(?:STREAMAPP|STACK)_[A-Z0-9_]+\b", text):
            assert name in known or name.endswith("_"), name


def test_a_wrong_option_is_noticed() -> None:
    with pytest.raises(AssertionError, match="sideways"):
        _parse(main, ["topics", "--sideways"], "streamapp topics --sideways")


def _calls(line: str, program: str) -> list[list[str]]:
    """The arguments of each call of a program in a line, which may set variables first and use pipes."""
    if not re.search(rf"(^|[\s/]){program}\b", line) or _ELLIPSIS in line:
        return []
    try:
        words = shlex.split(line, comments=True)
    except ValueError:
        return []  # prose
    calls: list[list[str]] = []
    start = 0
    for end in [*(index for index, word in enumerate(words) if word in {"|", "&&", ";", "&", ">"}), len(words)]:
        call = words[start:end]
        while call and re.fullmatch(r"\w+=.*", call[0], re.DOTALL):
            call = call[1:]
        if call and call[0].rpartition("/")[2] == program:
            calls.append(call[1:])
        start = end + 1
    return calls


def _parse(group: click.Group, words: list[str], line: str, parent: click.Context | None = None) -> None:
    """Parse as click would, and run nothing."""
    context = click.Context(group, parent=parent, **group.context_settings)
    if not words or words in [[name] for name in group.list_commands(context)]:
        return  # a bare name, in prose
    verb = group if words[0].startswith("-") else group.get_command(context, words[0])
    assert verb is not None, f"no verb {words[0]}: {line}"
    try:
        rest = words if verb is group else words[1:]
        if isinstance(verb, click.Group) and verb is not group and rest and not rest[0].startswith("-"):
            _parse(verb, rest, line, context)
            return
        verb.make_context("streamapp", rest, parent=context)
    except click.exceptions.Exit:
        pass  # --help
    except click.ClickException as error:
        raise AssertionError(f"{line}: {error.format_message()}") from None
