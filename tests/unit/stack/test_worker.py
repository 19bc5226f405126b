from pathlib import Path

from stack.worker import routes_file


def test_workers_find_the_routes_file_of_the_clone(tmp_path: Path) -> None:
    assert routes_file(tmp_path, None) == {}
    (tmp_path / "streamapp.toml").touch()
    assert routes_file(tmp_path, None) == {"STREAMAPP_ROUTES_FILE": str(tmp_path / "streamapp.toml")}
    assert routes_file(tmp_path, "mine.toml") == {"STREAMAPP_ROUTES_FILE": str(tmp_path / "mine.toml")}
    assert routes_file(tmp_path, "/etc/mine.toml") == {"STREAMAPP_ROUTES_FILE": "/etc/mine.toml"}
