import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import httpx
import pytest

from streamapp.core.errors import Unavailable
from streamapp.core.model import Outcome, Reason, RunState, Source, Status, Timings
from streamapp.wire.avro import AvroWriter
from streamapp.wire.outcomes import OutcomeCodec
from streamapp.wire.schemas import OUTCOME
from tests.support.fake_registry import FakeRegistry
from tests.support.instant_clock import InstantClock

AT = datetime(2026, 1, 2, 3, 4, 5, 678000, tzinfo=UTC)
OUTCOME_VALUE = Outcome(
    command_id="a",
    key=b"\xff\x00",
    command="app.probe",
    dag_id="probe",
    dag_run_id="cmd__streamapp__a__1.1",
    round=1,
    attempt=1,
    status=Status.RUN_ENDED,
    reason=Reason.RUN_FAILED,
    detail="ü",
    at=AT,
    source=Source("commands", 3, 42),
    timings=Timings(accepted_at=AT),
    result=RunState.FAILED,
)


@pytest.fixture
def server():
    return FakeRegistry()


@pytest.fixture
async def avro(server):
    codec = OutcomeCodec(server.client(InstantClock()), "results")
    await codec.start()
    return codec


@pytest.fixture
async def plain():
    codec = OutcomeCodec(None, "results")
    await codec.start()
    return codec


def test_json_outcomes_have_every_field_of_the_contract(plain):
    key, value, headers = plain.encode(OUTCOME_VALUE)
    assert (key, headers) == (b"\xff\x00", ())
    assert json.loads(value) == {
        "id": "commands-3-42-1.1-run_ended",
        "command_id": "a",
        "key": "/wA=",
        "command": "app.probe",
        "dag_id": "probe",
        "dag_run_id": "cmd__streamapp__a__1.1",
        "round": 1,
        "attempt": 1,
        "status": "run_ended",
        "reason": "run_failed",
        "detail": "ü",
        "at": "2026-01-02T03:04:05.678Z",
        "source": {"topic": "commands", "partition": 3, "offset": 42},
        "timings": {
            "accepted_at": "2026-01-02T03:04:05.678Z",
            "triggered_at": None,
            "started_at": None,
            "ended_at": None,
        },
        "correlation_id": None,
        "causation_id": None,
        "duplicate_of": None,
        "replay_id": None,
        "control_id": None,
        "result": "failed",
    }


def test_avro_outcomes_are_registered_for_their_topic(avro, server):
    assert avro.encode(OUTCOME_VALUE).value[:5] == b"\0\0\0\0\1"
    assert server.subjects == {"results-value": [1]}


async def test_an_outcome_comes_back_by_both_wires(plain, avro):
    for codec in (plain, avro):
        key, value, _ = codec.encode(OUTCOME_VALUE)
        assert await codec.decode(key, value) == OUTCOME_VALUE


async def test_reading_what_this_release_wrote_asks_nobody(avro, server):
    server.fault = lambda request: httpx.Response(500)
    key, value, _ = avro.encode(OUTCOME_VALUE)
    assert await avro.decode(key, value) == OUTCOME_VALUE


async def test_both_wires_on_one_topic_are_read(plain, avro):
    key, value, _ = plain.encode(OUTCOME_VALUE)
    assert await avro.decode(key, value) == OUTCOME_VALUE


async def test_what_another_release_added_is_read_past(avro, server):
    newer = {**OUTCOME, "fields": [*OUTCOME["fields"], {"name": "new", "type": "string"}]}
    fields = json.loads(OutcomeCodec(None, "results").encode(OUTCOME_VALUE).value)
    fields |= {"at": AT, "new": "x", "timings": {"accepted_at": AT}}
    value = AvroWriter(server.add(newer), newer).write(fields)
    server.fault, fault = (lambda request: httpx.Response(500)), server.fault
    with pytest.raises(Unavailable):
        await avro.decode(OUTCOME_VALUE.key, value)
    server.fault = fault
    assert await avro.decode(OUTCOME_VALUE.key, value) == OUTCOME_VALUE


async def test_a_registry_that_is_away_stops_the_start(server):
    server.fault = lambda request: httpx.Response(503)
    with pytest.raises(Unavailable):
        await OutcomeCodec(server.client(InstantClock()), "results").start()


@pytest.mark.parametrize(
    "change",
    [
        {"status": "unheard_of"},
        {"status": None},
        {"reason": "unheard_of"},
        {"reason": ""},
        {"result": ""},
        {"result": "unheard_of"},
        {"at": "2026-01-02"},
        {"source": None},
        {"source": {"topic": "commands", "partition": 3}},
        {"source": {"topic": "commands", "partition": 3, "offset": "42"}},
        {"round": True},
        {"round": 2**31},
        {"command_id": None},
        {"source": {"topic": "commands", "partition": 3, "offset": -1}},
        {"source": {"topic": "commands", "partition": -1, "offset": 42}},
        {"attempt": -1},
        {"dag_run_id": "x" * 301},
        {"duplicate_of": "x" * 301},
        {"timings": {"triggered_at": "0001-01-01T00:00:00.000Z"}},
        {"timings": {"ended_at": "9999-12-31T23:59:59.999Z"}},
    ],
    ids=lambda change: str(change)[:80],
)
async def test_what_is_no_outcome_is_none(plain, change):
    fields = json.loads(plain.encode(OUTCOME_VALUE).value)
    assert await plain.decode(None, json.dumps(fields | change).encode()) is None


async def test_other_bytes_are_no_outcome(plain, avro):
    framed = avro.encode(OUTCOME_VALUE).value
    assert await plain.decode(None, framed) is None
    for value in (None, b"", b"{}", b"\xff", framed[:-1], framed + b"x", b"\0\0", b"\0\0\0\0\7" + framed[5:]):
        assert await avro.decode(None, value) is None


async def test_times_are_cut_to_milliseconds(plain, avro):
    finer = replace(OUTCOME_VALUE, at=AT + timedelta(microseconds=999))
    for codec in (plain, avro):
        assert await codec.decode(OUTCOME_VALUE.key, codec.encode(finer).value) == OUTCOME_VALUE


async def test_a_detail_that_is_no_valid_text_is_written_all_the_same(plain, avro):
    for codec in (plain, avro):
        key, value, _ = codec.encode(replace(OUTCOME_VALUE, detail="a\ud800b"))
        assert (await codec.decode(key, value)).detail == "a?b"
