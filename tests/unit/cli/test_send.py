import os
import signal
import subprocess
import sys
import zlib
from pathlib import Path
from subprocess import PIPE

import pytest
from click.testing import CliRunner, Result

from streamapp.cli.main import main
from streamapp.cli.running import INTERRUPTED
from streamapp.cli.send import PARTITIONERS

NO_KAFKA = "127.0.0.1:1"
READING = """
import sys
from streamapp.cli.main import main

class Stdin:
    def read(self):
        print("reading", flush=True)
        return sys.__stdin__.read()

sys.stdin = Stdin()
main(["send", "--file", "-"])
"""


@pytest.fixture(autouse=True)
def _in_an_empty_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def send(*arguments: str, stdin: str | None = None) -> Result:
    return CliRunner(env={"STREAMAPP_BOOTSTRAP_SERVERS": NO_KAFKA}).invoke(main, ["send", *arguments], input=stdin)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ([], "give --command or --file"),
        (["--key", "k", "--topic", "t"], "give --command or --file"),
        (["--command", "app.x", "--params", "7"], "the command: params must be a JSON object as text"),
        (["--command", "app.x", "--not-before", "soon"], "the command: not_before"),
        (["--command", "app.x", "--id", ""], "the command: The id is empty"),
        (["--command", "app.x", "--id", "\udcff"], "the command: id is not UTF-8; nothing was sent"),
        (["--command", "app.x", "--key", "\udcff"], "the command: key is not UTF-8; nothing was sent"),
        (["--command", "app.x", "--params", '{"a": "\udcff"}'], "the command: params is not UTF-8; nothing was sent"),
        (["--command", "x"], "must be like app.<dag id>"),
        (["--command", ""], "the command: The command is empty"),
        (["--file", "nowhere"], "'nowhere' does not exist"),
        (["--file", "-", "--command", "app.x"], "leave --command and its fields out"),
        (["--command", "app.x", "--partitioner", "md5"], "'md5' is not one of"),
        (["--command", "app.x", "--config_file", "nowhere"], "'nowhere' does not exist"),
    ],
)
def test_wrong_usage(arguments: list[str], text: str) -> None:
    done = send(*arguments)
    assert done.exit_code == 2
    assert done.stdout == ""
    assert text in done.stderr


def test_a_bad_line_stops_everything_before_anything_is_sent() -> None:
    done = send("--file", "-", stdin='{"command": "app.x", "params": {}}\n{"command": 1}\n')
    assert done.exit_code == 2
    assert done.stderr == "Error: standard input: line 2: command must be text; nothing was sent\n"


def test_a_file_that_is_not_text() -> None:
    Path("binary").write_bytes(b"\xff\xfe")
    done = send("--file", "binary")
    assert done.exit_code == 2
    assert "can't be read as UTF-8 text" in done.stderr


def test_an_interruption_while_standard_input_is_read_sends_nothing() -> None:
    call = [sys.executable, "-c", READING]
    environ = {**os.environ, "STREAMAPP_BOOTSTRAP_SERVERS": NO_KAFKA}
    with subprocess.Popen(call, stdin=PIPE, stdout=PIPE, stderr=PIPE, text=True, env=environ) as process:
        assert process.stdin
        assert process.stdout
        assert process.stderr
        process.stdin.write('{"command": "app.x", "params": {}}\n')
        process.stdin.flush()
        assert process.stdout.readline() == "reading\n"
        process.send_signal(signal.SIGINT)
        try:
            assert process.wait(10) == INTERRUPTED
        finally:
            process.kill()
        assert process.stderr.read() == ""


def test_crc32_is_the_rule_of_librdkafka() -> None:
    crc32 = PARTITIONERS["crc32"]
    for key in (b"event", b"", b"\xff\x00", "ä".encode()):
        assert crc32(key, [3, 1, 0, 2], [1]) == zlib.crc32(key) % 4
    assert crc32(None, [0, 1, 2, 3], [2]) == 2


def test_murmur2_is_the_rule_of_java_clients() -> None:
    # From Kafka's own UtilsTest.testMurmur2.
    assert PARTITIONERS["murmur2"](b"21", list(range(1000)), []) == (-973932308 & 0x7FFFFFFF) % 1000
    assert PARTITIONERS["murmur2"](b"foobar", list(range(1000)), []) == (-790332482 & 0x7FFFFFFF) % 1000
