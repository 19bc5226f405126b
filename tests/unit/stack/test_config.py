"""The settings of the development stack."""

import runpy
import shutil
from pathlib import Path

import pytest

from stack.config import PORTS, ROOT, Config, StackError
from stack.parts import PARTS


def test_defaults() -> None:
    config = Config.from_environment({})
    assert config.state == (ROOT / ".stack").resolve()
    assert config.bootstrap_servers == "127.0.0.1:9092"
    assert config.airflow_url == "http://127.0.0.1:8080"
    assert config.registry_url == "http://127.0.0.1:8081/apis/ccompat/v7"


def test_another_process_sees_the_same_stack(tmp_path: Path) -> None:
    config = Config(state=tmp_path, kafka_port=19092, log_dir="logs")
    assert Config.from_environment(config.environment()) == config


def test_a_state_folder_that_is_a_link_is_the_one_that_it_leads_to(tmp_path: Path) -> None:
    """Processes tell the folder in which they work without links, and are found by it."""
    (tmp_path / "stack").mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / ".stack").symlink_to(tmp_path / "elsewhere")
    copy = shutil.copy(ROOT / "stack" / "config.py", tmp_path / "stack")
    config = runpy.run_path(str(copy))["Config"].from_environment({})
    assert config.state == (tmp_path / "elsewhere").resolve()


def test_a_wrong_port_is_named() -> None:
    with pytest.raises(StackError, match="STACK_KAFKA_PORT='many' is not a port number"):
        Config.from_environment({"STACK_KAFKA_PORT": "many"})


def test_each_port_belongs_to_one_part_and_none_is_taken_twice() -> None:
    used = [field for part in PARTS.values() for field in part.ports]
    assert sorted(used) == sorted(PORTS)
    assert len({getattr(Config(), field) for field in PORTS}) == len(PORTS)


def test_the_procfile_starts_every_part() -> None:
    lines = (ROOT / "Procfile").read_text().splitlines()
    assert lines == [f"{name}: exec .venv/bin/python -m stack.run {name}" for name in PARTS]
