import pytest

from streamapp.cli.parts import outcomes_of
from streamapp.settings import Settings


async def test_outcomes_that_need_a_registry_are_told_once(capsys: pytest.CaptureFixture[str]) -> None:
    codec = outcomes_of(Settings())
    assert await codec.decode(b"k", b"{}") is None
    assert capsys.readouterr().err == ""
    for _ in range(2):
        assert await codec.decode(b"k", b"\0\0\0\0\1abc") is None
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("commands-results has Avro")
    assert line.endswith("set STREAMAPP_SCHEMA_REGISTRY_URL")
