import click
import pytest

from streamapp.cli.workers import command_at, key_at
from streamapp.core.errors import Unavailable
from tests.support.fake_worker import command_path, worker


@pytest.mark.parametrize("content", [{"status": "up"}, [], None])
def test_another_server_is_no_worker(content):
    answer = (200, content)
    with worker({command_path("a"): answer, "/api/v1/keys/aw==?base64=1": answer}) as url:
        for ask in (lambda: command_at(url, "a"), lambda: key_at(url, b"k")):
            with pytest.raises(Unavailable, match=f"what answers at {url} is no worker"):
                ask()


@pytest.mark.parametrize("command_id", [".", "..", "a/b", "a?b#c", "größer"])
def test_any_id_survives_the_way(command_id):
    with worker({command_path(command_id): (200, {"command_id": command_id})}) as url:
        assert command_at(url, command_id) == {"command_id": command_id}
        assert command_at(url, "another") is None


def test_what_is_no_address_is_wrong_usage():
    with pytest.raises(click.UsageError, match="--worker nonsense: must be an address such as http"):
        command_at("nonsense", "a")
