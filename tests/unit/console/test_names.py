import pytest

from streamapp.console.names import encoded, parse, path_of
from tests.support.builders import command, received

HOSTILE = [
    "plain",
    "a/b",
    "..",
    ".",
    "../../etc/passwd",
    "a%2Fb",
    "100%",
    "a?b=c&d#e",
    "a;b",
    "a\\b",
    " ",
    " a b ",
    "+",
    "é",
    "漢字",
    "🚀",
    "\u202egnp.exe",
    '<script>alert("1")</script>',
    "'\"><img src=x onerror=alert(1)>",
    "javascript:alert(1)",
    "{{ 7*7 }}",
    "{% raw %}",
    "a:b@c",
    "--",
    "~",
    "x" * 500,
    "名" * 500,
]


@pytest.mark.parametrize("text", HOSTILE)
async def test_any_id_survives_the_way_to_the_worker_and_back(bench, text):
    bench.fold(received(0, content=command(id=text), key=text.encode()))
    path = path_of("/commands", text.encode())
    assert (await bench.get("/api/v1" + path))["command_id"] == text
    key = path_of("/keys", text.encode())
    assert (await bench.get("/api/v1" + key))["key"] == text
    page = await bench.page("/")
    assert f'href="{path}"' in page
    assert f'href="{key}"' in page
    await bench.page(path)
    await bench.page(key)


@pytest.mark.parametrize("name", [b"", b"\xff", b"\x00", b"a\xc3", bytes(range(256))])
async def test_any_key_survives_too(bench, name):
    bench.fold(received(0, key=name))
    path = path_of("/keys", name)
    assert (await bench.get("/api/v1" + path))["queue"][0]["command_id"] == "c0"
    assert f'href="{path}"' in await bench.page("/")
    await bench.page(path)


def test_what_browsers_would_change_travels_in_base64():
    assert path_of("/keys", b"order 1") == "/keys/order%201"
    assert path_of("/keys", b"..") == "/keys/Li4=?base64=1"
    assert path_of("/keys", b"a/b") == "/keys/YS9i?base64=1"


@pytest.mark.parametrize("name", [b"", b"a", b"ab", b"abc", b"\xff\xfe\xfd?>"])
def test_base64_with_and_without_its_end_and_in_both_alphabets(name):
    for text in (encoded(name), encoded(name).rstrip("="), encoded(name).replace("-", "+").replace("_", "/")):
        assert parse(text, {"base64": "1"}) == name
    assert parse("YQ", {}) == parse("YQ", {"base64": "0"}) == b"YQ"


@pytest.mark.parametrize("text", ["a", "a*bc", "é", "YQ=="[:1] + "===="])
def test_what_is_not_base64(text):
    with pytest.raises(ValueError, match="not base64"):
        parse(text, {"base64": "1"})
