import pytest

from streamapp.cli.workers import command_at, key_at
from streamapp.core.errors import Unavailable
from tests.support.fake_worker import worker


@pytest.mark.parametrize("content", [{"status": "up"}, [], None])
def test_another_server_is_no_worker(content):
    answer = (200, content)
    with worker({"/api/v1/commands/a": answer, "/api/v1/keys/aw==?base64=1": answer}) as url:
        for ask in (lambda: command_at(url, "a"), lambda: key_at(url, b"k")):
            with pytest.raises(Unavailable, match=f"what answers at {url} is no worker"):
                ask()
