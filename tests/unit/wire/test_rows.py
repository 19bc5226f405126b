import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from streamapp.core.effects import Settled
from streamapp.core.errors import ConfigError
from streamapp.core.model import Entry, Holder, OnFailure, Ordering, Original, Paused, Policy, Reopens, Source, Status
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
