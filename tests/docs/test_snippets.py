"""Examples in the documentation are what they say: Python compiles, JSON and TOML parse, settings load."""

import ast
import json
import tomllib
from pathlib import Path

import pytest

from streamapp.routes import load_routes
from streamapp.settings import read_settings
from tests.support.markdown import PAGES, Block, blocks, name_of


def of(*languages: str) -> list[Block]:
    return [block for page in PAGES for block in blocks(page, *languages)]


def id_of(block: Block) -> str:
    return f"{name_of(block.page)}: {block.text.splitlines()[0]}"


@pytest.mark.parametrize("block", of("python"), ids=id_of)
def test_python_compiles(block: Block) -> None:
    ast.parse(block.text)


@pytest.mark.parametrize("block", of("json"), ids=id_of)
def test_json_parses(block: Block) -> None:
    for line in block.text.splitlines() if block.text.count("\n{") else [block.text]:
        json.loads(line)


@pytest.mark.parametrize("block", of("toml"), ids=id_of)
def test_settings_and_routes_in_toml_load(block: Block, tmp_path: Path) -> None:
    file = tmp_path / "streamapp.toml"
    file.write_text(block.text)
    assert set(tomllib.loads(block.text)) <= {"streamapp", "route"}
    assert load_routes(file)
    assert read_settings({"STREAMAPP_ROUTES_FILE": str(file)}).unknown == ()


@pytest.mark.parametrize("block", of("properties"), ids=id_of)
def test_properties_load(block: Block, tmp_path: Path) -> None:
    file = tmp_path / "kafka_server.config"
    file.write_text(block.text)
    assert read_settings({"STREAMAPP_CONFIG_FILE": str(file)}).unknown == ()


def test_every_block_names_a_language_that_is_looked_at() -> None:
    known = {"console", "sh", "python", "json", "toml", "properties", "ini", "text"}
    for page in PAGES:
        everything = {line.strip()[3:] for line in page.read_text().splitlines() if line.strip().startswith("```")}
        assert everything - {""} <= known, name_of(page)
