import subprocess
import sys
from pathlib import Path
from typing import TextIO

import click
import pytest
from click.testing import CliRunner, Result

from streamapp.cli.main import VERBS, Verbs, main
from tests.support.fake_worker import command_path, worker


@pytest.fixture(autouse=True)
def _in_an_empty_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def run(*arguments: str, **environ: str) -> Result:
    return CliRunner(env=environ).invoke(main, list(arguments))


def loaded_modules(code: str) -> set[str]:
    lines = f"import sys\n{code}\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", lines], check=True, capture_output=True, text=True)
    return set(done.stdout.split())


def test_help_lists_the_verbs_and_the_exit_codes() -> None:
    text = run("--help").stdout
    for verb in VERBS:
        assert f"  {verb} " in text
    assert "1  a check failed" in text


@pytest.mark.parametrize("verb", VERBS)
def test_each_verb_has_examples_and_json(verb: str) -> None:
    done = run(verb, "--help")
    assert done.exit_code == 0
    assert f"streamapp {verb} " in done.stdout.partition("Examples:")[2]
    assert "--json" in done.stdout
    assert "--config_file" in done.stdout


@pytest.mark.parametrize(
    "arguments", [["launch"], ["topics", "--sideways"], ["topics", "--partitions", "3"], ["status"]]
)
def test_wrong_usage_is_exit_code_2(arguments: list[str]) -> None:
    done = run(*arguments)
    assert done.exit_code == 2
    assert done.stdout == ""
    assert "Error: " in done.stderr


@pytest.mark.parametrize("arguments", [["topics"], ["tail"], ["status", "x"], ["doctor"], ["send", "--topic", "t"]])
def test_a_wrong_setting_is_one_line_and_exit_code_2(arguments: list[str]) -> None:
    done = run(*arguments, STREAMAPP_SESSION_TIMEOUT="soon")
    assert done.exit_code == 2
    assert done.stdout == ""
    assert done.stderr.splitlines() == [
        "Error: STREAMAPP_SESSION_TIMEOUT='soon': must be a duration such as 30s, 5m or 500ms"
    ]


def test_names_that_are_not_known_are_warned_of() -> None:
    done = run("topics", STREAMAPP_COMMAND_TOPIC="x", STREAMAPP_BOOTSTRAP_SERVERS="127.0.0.1:1")
    assert "warning: not used: STREAMAPP_COMMAND_TOPIC in the environment; did you mean" in done.stderr


@pytest.mark.parametrize("arguments", [["topics"], ["topics", "--create"], ["tail"], ["send", "--topic", "t"]])
def test_no_kafka_is_one_line_and_exit_code_1(arguments: list[str]) -> None:
    done = run(*arguments, STREAMAPP_BOOTSTRAP_SERVERS="127.0.0.1:1")
    assert done.exit_code == 1
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    assert done.stderr.splitlines()[-1].startswith("Error: Kafka at 127.0.0.1:1 does not answer (")
    assert done.stderr.endswith("start it, or set STREAMAPP_BOOTSTRAP_SERVERS\n")


@pytest.mark.parametrize("verb", ["status", "history"])
def test_an_id_that_is_no_text_is_wrong_usage(verb: str) -> None:
    done = run(verb, "a\udcff")
    assert done.exit_code == 2
    assert done.stderr.endswith("is not UTF-8\n")


@pytest.mark.parametrize(
    "arguments", [["status", "x"], ["status", "\x1b]0;x\x07"], ["routes", "\x1b]0;x\x07"], ["topics"], ["history", "x"]]
)
def test_nothing_that_others_wrote_can_steer_a_terminal_from_an_error(arguments: list[str]) -> None:
    said = {"error": "out of\x1b]0;order\x07"}
    with worker({command_path(one): (503, said) for one in ("x", "\x1b]0;x\x07")}) as url:
        environ = {
            "STREAMAPP_BOOTSTRAP_SERVERS": "127.0.0.1:1",
            "STREAMAPP_X\x1b]0;\x07": "x",
            "STREAMAPP_WORKER_URL": url,
        }
        done = run(*arguments, **environ)
    assert done.exit_code == 1
    assert "\\x1b]0;" in done.stderr
    assert done.stderr.replace("\n", "").isprintable()


def test_the_version() -> None:
    done = run("--version")
    assert done.exit_code == 0
    assert done.stdout.split()[-1][0].isdigit()


def test_help_loads_no_heavy_library() -> None:
    loaded = loaded_modules("import streamapp.cli.main")
    assert not loaded & {"aiokafka", "faust", "httpx", "pydantic", "streamapp.settings"}


def test_no_verb_builds_the_app() -> None:
    imports = "\n".join(f"import streamapp.cli.{verb.replace('-', '_')}" for verb in VERBS)
    loaded = loaded_modules(imports)
    rooms = {name.split(".")[1] for name in loaded if name.startswith("streamapp.")}
    assert rooms <= {"airflow", "cli", "clock", "core", "files", "kafka", "routes", "settings", "wire"}
    assert not loaded & {"faust.app", "faust.app.base"}


def test_a_file_that_can_not_be_written_is_wrong_input(tmp_path: Path) -> None:
    class Writing(Verbs):
        def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command:
            @click.command(cmd_name)
            @click.argument("file", type=click.File("w", lazy=True))
            def write(file: TextIO) -> None:
                file.write("x")

            return write

    done = CliRunner().invoke(Writing(), ["write", str(tmp_path / "missing" / "file")])
    assert done.exit_code == 2
    assert done.stderr.startswith("Error: Could not open file")
