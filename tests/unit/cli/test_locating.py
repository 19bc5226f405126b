import pytest

from streamapp.cli.control import partition_of_key
from streamapp.cli.locating import Locator
from streamapp.core.errors import ConfigError
from streamapp.settings import load_settings
from tests.support.fake_worker import command_path, worker

NOBODY = "http://127.0.0.1:1"
SETTINGS = load_settings({})


def at(partition):
    return {"command_id": "a", "source": {"topic": "commands", "partition": partition, "offset": 7}}


def locator(url, given=None):
    return Locator(SETTINGS, url, 12, given)


def test_a_worker_tells_where_commands_are():
    with worker({command_path("a"): (200, at(3)), command_path("b"): (200, at(5))}) as url:
        assert locator(url).commands(["a", "b", "c"], None) == {"a": 3, "b": 5}


def test_a_command_that_nobody_knows_is_looked_for_where_its_key_belongs():
    with worker({}) as url:
        assert locator(url).commands(["c"], b"event") == {"c": partition_of_key(b"event", 12)}


@pytest.mark.parametrize("status", [500, 503])
def test_a_worker_that_can_not_tell_is_no_answer(status):
    with worker({command_path("a"): (status, {})}) as url, pytest.raises(ConfigError, match=f"answers {status}"):
        locator(url).commands(["a"], None)


def test_without_a_worker_the_id_or_the_key_tells():
    alone = locator(NOBODY)
    assert alone.commands(["commands-3-42-1767225600000"], None) == {"commands-3-42-1767225600000": 3}
    assert alone.commands(["order-17"], b"event") == {"order-17": partition_of_key(b"event", 12)}


@pytest.mark.parametrize("command_id", ["order-17", "commands-12-42-1767225600000"])
def test_nothing_is_guessed(command_id):
    with pytest.raises(ConfigError, match=r"nothing was given .*; name a worker with --worker, or its key"):
        locator(NOBODY).commands(["commands-3-42-1767225600000", command_id], None)


def test_the_user_knows_better():
    assert locator(NOBODY, given=4).commands(["order-17"], b"event") == {"order-17": 4}
    assert locator(NOBODY, given=4).key(b"event") == 4
    assert locator(NOBODY, given=4).everywhere() == [4]
    with pytest.raises(ConfigError, match="--partition 12: commands-control has the partitions 0 to 11"):
        locator(NOBODY, given=12)


def test_a_key_is_where_its_commands_are(capsys):
    path = "/api/v1/keys/ZXZlbnQ=?base64=1"
    with worker({path: (200, {"queue": [at(9)], "history": [at(9)]})}) as url:
        assert locator(url).key(b"event") == 9
    with worker({}) as url:
        assert locator(url).key(b"event") == partition_of_key(b"event", 12)
    assert capsys.readouterr().err == ""
    assert locator(NOBODY).key(b"event") == partition_of_key(b"event", 12)
    assert "taking the partition that Java clients choose" in capsys.readouterr().err


def test_a_key_on_two_partitions_has_to_be_told():
    path = "/api/v1/keys/ZXZlbnQ=?base64=1"
    with (
        worker({path: (200, {"queue": [at(9)], "history": [at(1)]})}) as url,
        pytest.raises(ConfigError, match="on the partitions 1, 9: name one with --partition"),
    ):
        locator(url).key(b"event")


@pytest.mark.parametrize(
    "answer",
    [
        (200, {"queue": [], "history": [at(9)], "incomplete": ["http://worker-2:6066"]}),
        (503, {"error": "not all of them answer", "incomplete": ["http://worker-2:6066"]}),
    ],
)
def test_a_key_that_a_silent_worker_may_have_has_to_be_told(answer):
    with worker({"/api/v1/keys/ZXZlbnQ=?base64=1": answer}) as url:
        with pytest.raises(ConfigError, match=r"event: .* nothing was given .*; name its partition with --partition"):
            locator(url).key(b"event")
        assert locator(url, given=4).key(b"event") == 4


def test_everywhere():
    assert locator(NOBODY).everywhere() == list(range(12))


def test_a_key_that_is_too_long_to_ask_for_is_not_guessed():
    with worker({}) as url:
        assert locator(url).key(b"k" * 5000) == partition_of_key(b"k" * 5000, 12)
        with pytest.raises(ConfigError, match=r"a key of 8192 bytes is too long to ask .*; name its partition"):
            locator(url).key(b"k" * 8192)
    assert locator(url, given=4).key(b"k" * 8192) == 4
