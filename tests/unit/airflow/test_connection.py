import asyncio
import gzip
import ssl
from datetime import timedelta

import httpx
import pytest

from streamapp.airflow.connection import LONGEST_ANSWER, Connection, NoAnswer, NotSent, TooLong
from streamapp.core.errors import ConfigError

SECOND = timedelta(seconds=1)


def connect(handler=None, url="http://airflow/prefix", request_timeout=SECOND):
    transport = httpx.MockTransport(handler or (lambda _: httpx.Response(200)))
    return Connection(url, connect_timeout=SECOND, request_timeout=request_timeout, transport=transport)


@pytest.mark.parametrize(
    ("url", "tells"),
    [
        ("airflow:8080", "must be like"),
        ("ftp://airflow", "must be like"),
        ("http://", "must be like"),
        ("http://airflow:port", "not an address"),
        ("http://xn--", "not an address"),
        ("http://ann:secret@airflow", "STREAMAPP_AIRFLOW_PASSWORD"),
    ],
)
def test_an_address_that_cannot_work_stops_the_start(url, tells):
    with pytest.raises(ConfigError, match=tells) as caught:
        connect(url=url)
    assert "secret" not in str(caught.value)


async def test_paths_stand_below_the_address_and_stay_escaped():
    seen = []
    connection = connect(lambda request: seen.append(request) or httpx.Response(200))
    await connection.send("GET", "/api/v2/dags/a%2Bb~c%3Ad", authorization="Bearer t")
    assert str(seen[0].url) == "http://airflow/prefix/api/v2/dags/a%2Bb~c%3Ad"
    assert seen[0].headers["Authorization"] == "Bearer t"
    await connection.close()


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (httpx.ConnectError("refused"), NotSent),
        (httpx.ConnectTimeout(""), NotSent),
        (httpx.PoolTimeout(""), NotSent),
        (httpx.ReadTimeout(""), NoAnswer),
        (httpx.WriteTimeout(""), NoAnswer),
        (httpx.ReadError("reset"), NoAnswer),
        (httpx.RemoteProtocolError("gone"), NoAnswer),
        (httpx.DecodingError("not gzip"), NoAnswer),
        (ssl.SSLError(1, "bad record mac"), NoAnswer),  # what carries requests passes it on as it is
        (ConnectionResetError("reset"), NoAnswer),
    ],
)
async def test_errors_tell_whether_the_request_may_have_had_an_effect(error, kind):
    def handler(_):
        raise error

    connection = connect(handler)
    with pytest.raises(kind, match=type(error).__name__):
        await connection.send("POST", "/x")
    await connection.close()


@pytest.mark.parametrize("place", ["http://xn--/", "http://[::1", "/" + "x" * 65_530], ids=lambda place: place[:11])
async def test_an_answer_that_leads_to_no_address_is_none(place):
    connection = connect(lambda _: httpx.Response(307, headers={"Location": place}))
    with pytest.raises(NoAnswer):
        await connection.send("POST", "/x")
    await connection.close()


async def test_an_answer_that_trickles_in_is_given_up():
    class Trickle(httpx.AsyncByteStream):
        async def __aiter__(self):
            while True:
                await asyncio.sleep(0.01)
                yield b" "

    connection = connect(lambda _: httpx.Response(200, stream=Trickle()), request_timeout=timedelta(milliseconds=100))
    with pytest.raises(NoAnswer, match=r"no answer from Airflow in 0\.1 s"):
        await connection.send("POST", "/x")
    await connection.close()


@pytest.mark.parametrize("status", [200, 401, 500])
async def test_an_answer_without_end_is_not_read_for_ever(status):
    read = 0

    class Flood(httpx.AsyncByteStream):
        async def __aiter__(self):
            nonlocal read
            while True:
                read += 2**20
                yield b" " * 2**20

    connection = connect(lambda _: httpx.Response(status, stream=Flood()))
    with pytest.raises(TooLong):
        await connection.send("POST", "/x", longest=2**22)
    assert read <= 2**22 + 2**20
    with pytest.raises(NoAnswer):
        await connection.send("POST", "/x")
    assert read <= LONGEST_ANSWER + 2**23
    await connection.close()


async def test_what_an_answer_unpacks_to_counts():
    packed = gzip.compress(b" " * 2**22)
    connection = connect(lambda _: httpx.Response(200, headers={"Content-Encoding": "gzip"}, content=packed))
    with pytest.raises(TooLong):
        await connection.send("GET", "/x", longest=2**20)
    assert len((await connection.send("GET", "/x", longest=2**22)).content) == 2**22
    await connection.close()
