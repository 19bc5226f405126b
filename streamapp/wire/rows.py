"""Reads and writes the table's rows: keys are bytes that sort, values a line of JSON and then the original bytes.

Row keys: one byte for the kind, then
    `q` queued     length of the key (4 bytes), key, offset (8 bytes)
    `f` free       offset
    `h` settled    as queued; a null key has the length 2**32 - 1 and no bytes
    `i` identity   the command id in UTF-8
    `r` reopened   the round that was followed, in UTF-8
    `s` standing   `k` and a key, `d` and the name of a DAG (nothing for all DAGs), `c` and a command id
All numbers are big-endian, so that the entries of one key stand side by side, in the order of their offsets.
"""

import base64
import json
import struct
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, TypeVar

import orjson

from streamapp.core.effects import Free, Identity, OfCommand, OfDag, OfKey, Queued, Reopened, Row, RowKey, Settled
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
from streamapp.wire.times import MILLISECOND, from_millis, to_millis

E = TypeVar("E")

VERSION = 2
"""Of the row values. A release reads its predecessor's and refuses a newer one. 2: a policy that leaves the cap to
the DAG, which is the default, and all that routes files, instructions and redrives brought; the rest is still 1."""

QUEUES = b"q"
FREE = b"f"
SETTLED = b"h"
IDENTITIES = b"i"
REOPENED = b"r"
STANDINGS = b"s"

_NEWER = "a newer release of streamapp wrote it; start that release again, or a later one"
_NULL_KEY = 0xFFFFFFFF
_LENGTH = struct.Struct(">I")
_OFFSET = struct.Struct(">Q")
_DEFAULTS = Policy(dag_id="")
_SINCE_2 = ("retry_delay_max", "not_before", "deadline", "dedupe_for")
_FIELDS_OF_1 = 6


def row_key(key: RowKey) -> bytes:
    """Where a row stands."""
    match key:
        case Queued():
            return queue_prefix(key.key) + _OFFSET.pack(key.offset)
        case Free():
            return FREE + _OFFSET.pack(key.offset)
        case Settled():
            length, content = (_NULL_KEY, b"") if key.key is None else (len(key.key), key.key)
            return SETTLED + _LENGTH.pack(length) + content + _OFFSET.pack(key.offset)
        case Identity():
            return IDENTITIES + key.id.encode()
        case Reopened():
            return REOPENED + key.round.encode()
        case OfKey():
            return STANDINGS + b"k" + key.key
        case OfDag():
            return STANDINGS + b"d" + key.dag_id.encode()
        case OfCommand():
            return STANDINGS + b"c" + key.id.encode()


def parse_key(data: bytes) -> RowKey:
    """The reverse of `row_key`.

    Raises:
        ConfigError: It is of a kind that this release does not know.
    """
    kind = data[:1]
    match kind:
        case b"i":
            return Identity(data[1:].decode())
        case b"r":
            return Reopened(data[1:].decode())
    match data[:2]:
        case b"sk":
            return OfKey(data[2:])
        case b"sd":
            return OfDag(data[2:].decode())
        case b"sc":
            return OfCommand(data[2:].decode())
    if kind not in {QUEUES, FREE, SETTLED}:
        raise ConfigError(f"The table has a row {data[:16]!r} of an unknown kind: {_NEWER}")
    (offset,) = _OFFSET.unpack(data[-8:])
    if kind == FREE:
        return Free(offset)
    key = data[5:-8]
    if kind == QUEUES:
        return Queued(key, offset)
    return Settled(None if _LENGTH.unpack(data[1:5])[0] == _NULL_KEY else key, offset)


def queue_prefix(key: bytes) -> bytes:
    """What the row keys of one key's queued entries start with."""
    return QUEUES + _LENGTH.pack(len(key)) + key


def after_queue(key: bytes) -> bytes:
    """The first possible row key behind all of one key's queued entries: seek here for the next key."""
    return queue_prefix(key) + b"\xff" * 8


def row_value(row: Row) -> bytes:
    """The bytes of a row."""
    if isinstance(row, Holder):
        return _to_json({"v": 1, "key": _base64(row.key), "offset": row.offset}) + b"\n"
    if isinstance(row, Standing):
        return _to_json(_standing(row)) + b"\n"
    fields: dict[str, Any] = {
        "v": None,
        "source": [row.source.topic, row.source.partition, row.source.offset],
        "key": _base64(row.key),
        "recorded_at": to_millis(row.recorded_at),
        "id": row.id,
        "command": row.command,
        "status": row.status,
        "policy": _policy(row.policy),
        "params": row.params,
        "round": row.round,
        "attempt": row.attempt,
        "unstarted": row.unstarted or None,
        "refused": row.refused or None,
        "not_before": _millis(row.not_before),
        "deadline": _millis(row.deadline),
        "ending": row.ending,
        "run_id": row.run_id,
        "reason": row.reason,
        "detail": row.detail,
        "at": to_millis(row.at),
        "timings": _timings(row.timings),
        "correlation_id": row.correlation_id,
        "causation_id": row.causation_id,
        "duplicate_of": row.duplicate_of,
        "reopens": _reopens(row.reopens),
        "instructed": row.instructed,
    }
    value = b""
    if row.original is not None:
        value = row.original.value or b""
        fields["original"] = {
            "value": row.original.value is not None,
            "headers": [[name, _base64(content)] for name, content in row.original.headers],
        }
    fields["v"] = _version(fields)
    line = _to_json({name: content for name, content in fields.items() if content is not None})
    return line + b"\n" + value


def parse_row(data: bytes) -> Row:
    """The reverse of `row_value`.

    Raises:
        ConfigError: A newer release wrote the row.
    """
    line, _, value = data.partition(b"\n")
    fields = _from_json(line)
    if fields["v"] > VERSION:
        raise ConfigError(f"The table has a row of version {fields['v']}, this release reads up to {VERSION}: {_NEWER}")
    get = fields.get
    key = _bytes(get("key"))
    if "stopped" in fields:
        return Standing(
            stopped=fields["stopped"],
            by=fields["by"],
            reason=get("reason"),
            at=from_millis(fields["at"]),
            answers=_parse_answers(get("answers")),
        )
    if "source" not in fields:
        return Holder(key, fields["offset"])
    topic, partition, offset = fields["source"]
    return Entry(
        source=Source(topic, partition, offset),
        key=key,
        recorded_at=from_millis(fields["recorded_at"]),
        id=fields["id"],
        command=get("command"),
        status=Status(fields["status"]),
        policy=_parse_policy(get("policy")),
        params=get("params"),
        round=fields["round"],
        attempt=fields["attempt"],
        unstarted=get("unstarted", 0),
        refused=get("refused", 0),
        not_before=_time(get("not_before")),
        deadline=_time(get("deadline")),
        ending=_member(Status, get("ending")),
        run_id=get("run_id"),
        reason=_member(Reason, get("reason")),
        detail=get("detail"),
        at=from_millis(fields["at"]),
        timings=_parse_timings(get("timings")),
        correlation_id=get("correlation_id"),
        causation_id=get("causation_id"),
        duplicate_of=get("duplicate_of"),
        reopens=_parse_reopens(get("reopens")),
        instructed=get("instructed"),
        original=_parse_original(get("original"), value),
    )


def _to_json(fields: dict[str, Any]) -> bytes:
    try:
        return orjson.dumps(fields)
    except orjson.JSONEncodeError:  # half of a surrogate pair, in what somebody said: UTF-8 does not have it
        return json.dumps(fields, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")


def _from_json(line: bytes) -> dict[str, Any]:
    try:
        fields: dict[str, Any] = orjson.loads(line)
    except orjson.JSONDecodeError:
        fields = json.loads(line.decode("utf-8", "surrogatepass"))
    return fields


def _policy(policy: Policy | None) -> dict[str, Any] | None:
    """What is at its default and unknown to version 1 is left out, so that rows stay small."""
    if policy is None:
        return None
    fields: dict[str, Any] = {
        "dag_id": policy.dag_id,
        "ordering": policy.ordering,
        "on_failure": policy.on_failure,
        "max_attempts": policy.max_attempts,
        "retry_delay": policy.retry_delay // MILLISECOND,
    }
    if policy.max_in_flight is not None:
        fields["max_in_flight"] = policy.max_in_flight
    if policy.paused is not _DEFAULTS.paused:
        fields["paused"] = policy.paused
    if policy.retry_on != _DEFAULTS.retry_on:
        fields["retry_on"] = sorted(policy.retry_on)
    for name in _SINCE_2:
        delay: timedelta | None = getattr(policy, name)
        if delay is not None and delay != getattr(_DEFAULTS, name):
            fields[name] = delay // MILLISECOND
    return fields


def _parse_policy(fields: dict[str, Any] | None) -> Policy | None:
    if fields is None:
        return None
    given: dict[str, Any] = {name: timedelta(milliseconds=fields[name]) for name in _SINCE_2 if name in fields}
    if "retry_on" in fields:
        given["retry_on"] = frozenset(map(Reason, fields["retry_on"]))
    return Policy(
        dag_id=fields["dag_id"],
        ordering=Ordering(fields["ordering"]),
        on_failure=OnFailure(fields["on_failure"]),
        max_attempts=fields["max_attempts"],
        retry_delay=timedelta(milliseconds=fields["retry_delay"]),
        max_in_flight=fields.get("max_in_flight"),
        paused=Paused(fields.get("paused", Paused.WAIT)),
        **given,
    )


def _version(fields: dict[str, Any]) -> int:
    """The first version that reads a row rightly."""
    policy = fields["policy"]
    new = fields["refused"] or fields["reopens"] or fields["instructed"]
    unknown = policy is not None and (len(policy) > _FIELDS_OF_1 or "max_in_flight" not in policy)
    return 2 if new or unknown else 1


def _standing(standing: Standing) -> dict[str, Any]:
    return {
        "v": 2,
        "stopped": standing.stopped,
        "by": standing.by,
        "reason": standing.reason,
        "at": to_millis(standing.at),
        "answers": _answers(standing.answers),
    }


def _answers(answers: tuple[Answer, ...]) -> list[list[str | int | None]]:
    return [[answer.control_id, answer.refused, answer.about] for answer in answers]


def _parse_answers(answers: list[list[Any]] | None) -> tuple[Answer, ...]:
    return tuple(Answer(*answer) for answer in answers or ())


def _reopens(reopens: Reopens | None) -> list[str | int | None] | None:
    if reopens is None:
        return None
    source = reopens.source
    return [source.topic, source.partition, source.offset, reopens.round, reopens.replay_id]


def _parse_reopens(fields: list[Any] | None) -> Reopens | None:
    if fields is None:
        return None
    topic, partition, offset, round_, replay_id = fields
    return Reopens(Source(topic, partition, offset), round_, replay_id)


def _timings(timings: Timings) -> list[int | None] | None:
    millis = [_millis(at) for at in (timings.accepted_at, timings.triggered_at, timings.started_at, timings.ended_at)]
    return None if millis == [None] * 4 else millis


def _parse_timings(millis: list[int | None] | None) -> Timings:
    if millis is None:
        return Timings()
    accepted, triggered, started, ended = (_time(at) for at in millis)
    return Timings(accepted_at=accepted, triggered_at=triggered, started_at=started, ended_at=ended)


def _parse_original(fields: dict[str, Any] | None, value: bytes) -> Original | None:
    if fields is None:
        return None
    headers: Any = tuple((name, _bytes(content)) for name, content in fields["headers"])
    return Original(value if fields["value"] else None, headers)


def _millis(at: datetime | None) -> int | None:
    return None if at is None else to_millis(at)


def _time(millis: int | None) -> datetime | None:
    return None if millis is None else from_millis(millis)


def _member(kind: Callable[[str], E], name: str | None) -> E | None:
    return None if name is None else kind(name)


def _base64(data: bytes | None) -> str | None:
    return None if data is None else base64.b64encode(data).decode()


def _bytes(text: str | None) -> bytes | None:
    return None if text is None else base64.b64decode(text)
