import pytest

from streamapp.core.errors import ConfigError
from streamapp.kafka import versions


def test_what_is_installed_is_what_the_mends_were_made_for():
    versions.check_versions()


def test_another_release_is_refused(monkeypatch):
    monkeypatch.setitem(versions.PINNED, "aiokafka", "0.13.0")
    with pytest.raises(ConfigError, match=r"pip install aiokafka==0\.13\.0"):
        versions.check_versions()
