import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from streamapp.core.effects import Free, Identity, OfCommand, OfDag, OfKey, Queued, Reopened, Settled
from streamapp.core.errors import ConfigError
from streamapp.core.model import (
    Answer,
    Entry,
    Holder,
    OnFailure,
    Ordering,
    Original,
    Paused,
    Policy,
    Reason,
    Reopens,
    Source,
    Standing,
    Status,
    Timings,
)
from streamapp.wire.rows import parse_key, parse_row, row_key, row_value

AT = datetime(2026, 1, 2, 3, 4, 5, 678000, tzinfo=UTC)
ENTRY = Entry(
    source=Source("commands", 3, 42),
    key=b"order-1",
    recorded_at=AT,
    id="a",
    command="app.probe",
    status=Status.ACCEPTED,
    at=AT,
)


FULL = Entry(
    source=Source("commands", 3, 42),
    key=b"\xff",
    recorded_at=AT,
    id="a",
    command="app.probe",
    status=Status.BLOCKED,
    policy=Policy(
        dag_id="probe",
        ordering=Ordering.TRIGGERED,
        on_failure=OnFailure.BLOCK,
        max_attempts=7,
        retry_delay=timedelta(milliseconds=1),
        max_in_flight=3,
        retry_delay_max=timedelta(milliseconds=2),
        retry_on=frozenset({Reason.DAG_NOT_FOUND, Reason.RUN_FAILED}),
        not_before=timedelta(milliseconds=3),
        deadline=timedelta(milliseconds=4),
        dedupe_for=timedelta(milliseconds=5),
        paused=Paused.REJECT,
    ),
    params="{}",
    round=2,
    attempt=3,
    unstarted=1,
    refused=4,
    not_before=AT + timedelta(seconds=1),
    deadline=AT + timedelta(seconds=2),
    ending=Status.EXPIRED,
    run_id="cmd__a",
    reason=Reason.RUN_FAILED,
    detail="it failed",
    at=AT + timedelta(seconds=3),
    timings=Timings(
        accepted_at=AT + timedelta(seconds=4),
        triggered_at=AT + timedelta(seconds=5),
        started_at=AT + timedelta(seconds=6),
        ended_at=AT + timedelta(seconds=7),
    ),
    correlation_id="co",
    causation_id="ca",
    duplicate_of="commands-3-1",
    reopens=Reopens(Source("commands", 3, 7), 1, "monday"),
    instructed="c-1",
    original=Original(b"value", (("h", b"1"),)),
)
STANDING = Standing(
    stopped=True,
    by="ann",
    reason="audit",
    at=AT,
    answers=(Answer("c-1", "no", 7), Answer("c-2"), Answer("c-3", None, 0)),
)


@pytest.mark.parametrize("row", [FULL, STANDING, Holder(b"k", 7)], ids=lambda row: type(row).__name__)
def test_every_field_comes_back(row):
    assert parse_row(row_value(row)) == row


@pytest.mark.parametrize(
    ("key", "data"),
    [
        (Queued(b"ab", 258), b"q\0\0\0\2ab\0\0\0\0\0\0\1\2"),
        (Free(258), b"f\0\0\0\0\0\0\1\2"),
        (Settled(b"ab", 258), b"h\0\0\0\2ab\0\0\0\0\0\0\1\2"),
        (Settled(b"", 258), b"h\0\0\0\0\0\0\0\0\0\0\1\2"),
        (Settled(None, 258), b"h\xff\xff\xff\xff\0\0\0\0\0\0\1\2"),
        (Identity("ü"), b"i\xc3\xbc"),
        (Reopened("commands-3-7-1"), b"rcommands-3-7-1"),
        (OfKey(b"\xff"), b"sk\xff"),
        (OfDag("ü"), b"sd\xc3\xbc"),
        (OfDag(""), b"sd"),
        (OfCommand("ü"), b"sc\xc3\xbc"),
    ],
    ids=str,
)
def test_rows_stand_where_every_release_looks_for_them(key, data):
    assert (row_key(key), parse_key(data)) == (data, key)


@pytest.mark.parametrize(
    ("row", "version"), [(Holder(b"k", 7), 1), (STANDING, 2)], ids=lambda part: type(part).__name__
)
def test_a_row_names_the_first_release_that_reads_it(row, version):
    """Who goes back to the release before is stopped by what it can't read, and by nothing else."""
    assert row_value(row).startswith(b'{"v":%d,' % version)


@pytest.mark.parametrize("text", ["half \ud800", "\udfff\ud800 ü"])
def test_halves_of_surrogate_pairs_come_back(text):
    """UTF-8 does not have them; somebody may have said them nevertheless."""
    for row in (replace(FULL, detail=text), replace(STANDING, by=text)):
        data = row_value(row)
        assert parse_row(data) == row
        assert data.count(b"\n") == 1


def test_the_line_is_compact_json_with_a_version_and_without_nulls():
    line, _, rest = row_value(ENTRY).partition(b"\n")
    assert line == json.dumps(json.loads(line), separators=(",", ":")).encode()
    assert json.loads(line)["v"] == 1
    assert None not in json.loads(line).values()
    assert rest == b""


def test_the_original_value_follows_as_it_is():
    original = Original(b"\x00\x00\n\xff", (("h", b"\xfe"), ("h", None)))
    data = row_value(replace(ENTRY, original=original))
    assert data.endswith(b"\n\x00\x00\n\xff")
    assert parse_row(data).original == original


@pytest.mark.parametrize("original", [None, Original(None), Original(b"")])
def test_an_absent_a_null_and_an_empty_original_are_told_apart(original):
    assert parse_row(row_value(replace(ENTRY, original=original))).original == original


def test_a_null_key_is_not_an_empty_one():
    assert row_key(Settled(None, 1)) != row_key(Settled(b"", 1))
    assert parse_row(row_value(Holder(None, 1))) != parse_row(row_value(Holder(b"", 1)))


def test_times_are_cut_to_milliseconds():
    entry = replace(ENTRY, at=AT + timedelta(microseconds=999))
    assert parse_row(row_value(entry)) == ENTRY


def test_a_row_of_a_newer_release_is_refused():
    newer = row_value(ENTRY).replace(b'"v":1', b'"v":3')
    with pytest.raises(ConfigError, match="newer release"):
        parse_row(newer)


def test_a_row_key_of_an_unknown_kind_is_refused():
    with pytest.raises(ConfigError, match="unknown kind"):
        parse_key(b"x" + bytes(8))


def test_fields_that_a_newer_release_added_are_ignored():
    assert parse_row(row_value(ENTRY).replace(b'{"v":1', b'{"v":1,"new":[1]')) == ENTRY


def test_rows_of_the_release_before_are_read():
    """As release 0.1.0 wrote them."""
    old = (
        b'{"v":1,"source":["commands",0,7],"key":"aw==","recorded_at":1767268799000,"id":"c7","command":"app.probe",'
        b'"status":"attempt_failed","policy":{"dag_id":"probe","ordering":"triggered","on_failure":"block",'
        b'"max_attempts":3,"retry_delay":1000,"max_in_flight":2},"params":"{}","round":1,"attempt":1,"unstarted":1,'
        b'"at":1767268800000}\n'
    )
    entry = parse_row(old)
    assert entry.policy == Policy(
        dag_id="probe",
        ordering=Ordering.TRIGGERED,
        on_failure=OnFailure.BLOCK,
        max_attempts=3,
        retry_delay=timedelta(seconds=1),
        max_in_flight=2,
    )
    assert (entry.refused, entry.unstarted) == (0, 1)
    assert row_value(entry) == old


@pytest.mark.parametrize(
    "rules",
    [
        {"retry_on": frozenset()},
        {"retry_delay_max": timedelta(minutes=1)},
        {"not_before": timedelta(0)},
        {"deadline": timedelta(1)},
        {"dedupe_for": timedelta(1)},
        {"paused": Paused.REJECT},
        {"max_in_flight": None},
    ],
)
def test_a_row_that_the_release_before_would_misread_says_so(rules):
    value = row_value(replace(ENTRY, policy=replace(Policy(dag_id="d", max_in_flight=1), **rules)))
    assert value.startswith(b'{"v":2,')


@pytest.mark.parametrize(
    "fields", [{"refused": 1}, {"instructed": "c-1"}, {"reopens": Reopens(Source("commands", 3, 7), 1)}]
)
def test_a_row_of_which_the_release_before_would_lose_something_says_so(fields):
    """Put back in its place, it would follow an instruction, or a dead letter, a second time."""
    assert row_value(replace(ENTRY, **fields)).startswith(b'{"v":2,')
