"""Bad, odd and hostile records. Reads a seeded random.Random, so that the same seed gives the same. Writes nothing."""

import base64
import json
import struct
from collections.abc import Callable
from dataclasses import dataclass, replace
from random import Random
from typing import Any

from tests.support.avro_producer import TWO_FIELDS, framed
from tests.support.installation import Draft

NODE = {"type": "record", "name": "Node", "fields": [{"name": "next", "type": ["null", "Node"]}]}
SCHEMAS: dict[str, Any] = {
    "two": TWO_FIELDS,
    "recursive": {**TWO_FIELDS, "fields": [{"name": "more", "type": ["null", NODE]}, *TWO_FIELDS["fields"]]},
    "endless": {
        **TWO_FIELDS,
        "fields": [{"name": "more", "type": {"type": "array", "items": "null"}}, *TWO_FIELDS["fields"]],
    },
    "numbers": {
        **TWO_FIELDS,
        "fields": [{"name": "command", "type": "long"}, {"name": "params", "type": "double"}],
    },
    "times": {
        **TWO_FIELDS,
        "fields": [
            *TWO_FIELDS["fields"],
            {"name": "deadline", "type": {"type": "long", "logicalType": "timestamp-millis"}},
        ],
    },
    "other": {"type": "record", "namespace": "event", "name": "Other", "fields": [{"name": "n", "type": "int"}]},
}
"""Writers' schemas to be registered."""

PLAIN = {"command": "app.probe", "params": "{}"}
PAST = "2001-01-01T00:00:00Z"
FAR = "9999-12-31T23:59:59.999Z"
TEXTS = (
    "", " ", "\t\n", "\0", "a\0b", "\x7f\x85", "\x1b[31mred", "\ud800", "\udfff\ud800", "\U0010ffff", "\ufeff",
    "\u202eabc", "e\u0301" * 40, "<script>alert(1)</script>", "'\"><img src=x onerror=alert(1)>", "{{7*7}}", "${x}",
    "../../etc/passwd", "..", ".", "/", "%2e%2e%2f", "?a=1#b", "a b", "null", "NaN", "x" * 250, "x" * 251, "x" * 500,
    "x" * 501, "ü" * 3000, "app", "app.", ".probe", "app.probe", "app.Probe", "app.probe ", "app..probe",
    "app.probe/..", "app.~", "other.probe", "app.<script>", "app.%00", "app.probe\n", "app.ünï", "app." + "y" * 246,
    "app." + "y" * 247, "cmd__x__1.1", "a;b|c`d`",
)  # fmt: skip
JSONS = (
    "{", "}", "[]", "{}", "null", "1", '"a"', '{"a":1,"a":2}', '{"n":NaN}', '{"n":-Infinity}', '{"n":1e999}',
    '{"n":-0.0}', '{"_command":1}', '{"_command ":1}', '{"a":"\\ud800"}', '{"a":"\\ud83d\\ude00"}', '{"a":"\\u0000"}',
    '{"\\u0000":1}', '{"a":"\\\\u0000"}', '{"":{"":{}}}', "{'a':1}", '{"a":1}x', "\ufeff{}", '{"a":tru}', '{"a":01}',
    '{"__proto__":{}}', '{"n":' + "9" * 400 + "}", '{"n":' + "9" * 5000 + "}", '{"n":1' + "0" * 400 + ".0}",
    '{"a":' * 99 + "1" + "}" * 99, '{"a":' * 101 + "1" + "}" * 101, '{"a":' * 3000 + "1" + "}" * 3000, "[" * 6000,
    '{"a":[' * 3000, json.dumps({str(n): n for n in range(800)}),
    json.dumps({"text": "<script>alert(1)</script>", "rtl": "\u202e"}),
)  # fmt: skip
KEYS = (
    None, b"", b"\0", b"\xff\xfe", "ü".encode(), b"<script>alert(1)</script>", b"a/b", b"..", b"%2e%2e", b"\n",
    b"\x1b[2J", b"?x=1#y", b" ", b"k" * 8192, b"k" * 8193, b"k" * 15000, "\u202e".encode(), b"-", b"'\"`",
    b"\xed\xa0\x80",
)  # fmt: skip
HEADER_NAMES = (
    "a",
    "",
    "ce_id",
    "traceparent",
    "streamapp-redrive",
    "dlq.id",
    "dlq.at",
    "ü",
    "<b>",
    "n" * 3000,
    "x\0y",
)
HEADER_VALUES = (None, b"", b"\xff\x00", b"id-from-header", b"<script>", b"\0", b"h" * 3000, "\u202e".encode(), b" ")
TIMESTAMPS_MS = (
    1, -2, -(2**62), -62_135_596_800_001, -62_167_219_200_000, 2**53, 2**62, 253_402_300_799_999, 253_402_300_800_000,
    95_617_584_000_001, 10**17, 4_102_444_800_001,
)  # fmt: skip
"""Of records: any 64 bits, year 0 among them."""


@dataclass
class BadCommands:
    """Makes records for the commands topic.

    Attributes:
        random: Decides.
        schema_ids: Those of SCHEMAS in the registry, by their names.
        max_bytes: The limit of a command.
    """

    random: Random
    schema_ids: dict[str, int]
    max_bytes: int

    def draft(self) -> Draft:
        """One record. Most can't run; some are odd commands that do."""
        choose = self.random.choice
        make = self.random.choices(
            [self._damaged, self._fields, self._params, self._framed, self._bytes, self._sized, lambda: None],
            weights=[6, 6, 4, 5, 2, 1, 1],
        )[0]
        draft = Draft(value=make(), key=choose(KEYS))
        if draft.key is None:
            draft = replace(draft, partition=self.random.randrange(4))
        if self.random.random() < 0.3:
            headers = tuple((choose(HEADER_NAMES), choose(HEADER_VALUES)) for _ in range(self.random.randrange(1, 6)))
            draft = replace(draft, headers=headers)
        if self.random.random() < 0.15:
            draft = replace(draft, timestamp_ms=choose(TIMESTAMPS_MS))
        return draft

    def _damaged(self) -> bytes:
        """A good record with some of its bits changed, or some of its bytes gone, doubled or new."""
        fields = {**PLAIN, "id": f"d{self.random.randrange(10**6)}", "deadline": PAST, "correlation_id": "c"}
        return damaged(self.random, json.dumps(fields).encode())

    def _fields(self) -> bytes:
        fields: dict[str, Any] = {**PLAIN, "deadline": FAR}
        for _ in range(self.random.randrange(1, 4)):
            name = self.random.choice([*PLAIN, "event", "id", "deadline", "correlation_id", "causation_id", "other"])
            fields[name] = self._anything()
        if self.random.random() < 0.2:  # waits for ever, were it not for its deadline
            fields |= {"not_before": self.random.choice([FAR, PAST, "0001-01-01T00:00:00Z"]), "deadline": PAST}
        return json.dumps(fields, ensure_ascii=self.random.random() < 0.5).encode("utf-8", "surrogatepass")

    def _anything(self) -> object:
        numbers = (0, -1, 2**31, 2**63, 2**64, 10**300, 1e308, float("nan"), float("inf"), True, False, None)
        others = ([], {}, [[]], {"a": {"b": []}}, PAST, FAR, "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-12:00")
        return self.random.choice((*TEXTS, *TEXTS, *numbers, *others))

    def _params(self) -> bytes:
        return json.dumps({**PLAIN, "params": self.random.choice(JSONS)}).encode()

    def _framed(self) -> bytes:
        name = self.random.choice(list(SCHEMAS))
        schema_id, body = self.schema_ids[name], self._body(name)
        change = self.random.random()
        if change < 0.2:
            schema_id = self.random.choice([0, 1, *range(990_000, 990_020), 2**31 - 1, 2**31, 2**32 - 1])
        elif change < 0.5:
            body = damaged(self.random, body)
        elif change < 0.6:
            schema_id = self.random.choice(list(self.schema_ids.values()))
        return struct.pack(">bI", 0, schema_id) + body

    def _body(self, name: str) -> bytes:
        one, other = self.random.choice(TEXTS), self.random.choice(JSONS)
        text = {part: content.encode(errors="replace").decode() for part, content in (("a", one), ("b", other))}
        fields: dict[str, Any] = {"command": self.random.choice([text["a"], "app.probe"]), "params": text["b"]}
        match name:
            case "recursive":
                return b"\x02" * self.random.choice([10, 5000, self.max_bytes - 10])
            case "endless":
                return b"\xfe\xff\xff\xff\xff\xff\xff\xff\x7f" + framed(0, TWO_FIELDS, fields)[5:]
            case "numbers":
                fields = {"command": self.random.randrange(2**62), "params": self.random.random()}
            case "times":  # as a number: any 64 bits
                number = framed(0, {"type": "record", "name": "n", "fields": [{"name": "n", "type": "long"}]},
                                {"n": self.random.choice([0, -1, 2**62, -(2**62), 253_402_300_800_000])})  # fmt: skip
                return framed(0, TWO_FIELDS, fields)[5:] + number[5:]
            case "other":
                fields = {"n": 1}
        return framed(0, SCHEMAS[name], fields)[5:]

    def _bytes(self) -> bytes:
        return self.random.randbytes(self.random.choice([0, 1, 2, 5, 6, 30, 500]))

    def _sized(self) -> bytes:
        """About as large as a command may be."""
        size = self.max_bytes + self.random.choice([-300, -1, 0, 1, 300, 3 * self.max_bytes])
        value = json.dumps({**PLAIN, "deadline": PAST, "params": "{}"}).encode()
        return value + b" " * (size - len(value))


def damaged(random: Random, value: bytes) -> bytes:
    """The same bytes but for a few."""
    content = bytearray(value)
    for _ in range(random.randrange(1, 4)):
        at = random.randrange(len(content) + 1)
        match random.randrange(4):
            case 0 if at < len(content):
                content[at] ^= 1 << random.randrange(8)
            case 1:
                del content[at : at + random.randrange(1, 20)]
            case 2:
                content[at:at] = content[at : at + 10]
            case _:
                content[at:at] = random.randbytes(random.randrange(1, 5))
    return bytes(content)


def bad_outcomes(random: Random, genuine: list[dict[str, Any]], encode: Callable[[object], bytes]) -> list[bytes]:
    """Values for the results topic that no worker wrote, made of some that workers did write."""
    found = [random.randbytes(random.randrange(60)) for _ in range(100)]
    for _ in range(700):
        outcome = json.loads(json.dumps(random.choice(genuine)))
        found.append(encode(_spoiled_outcome(random, outcome)))
    found += [damaged(random, encode(random.choice(genuine))) for _ in range(200)]
    return found


def _spoiled_outcome(random: Random, outcome: dict[str, Any]) -> dict[str, Any]:
    changes: list[dict[str, Any]] = [
        # As if a fold had pronounced it
        {"status": random.choice(["succeeded", "failed", "rejected", "expired", "canceled", "blocked", "accepted"])},
        # Observations of what never was
        {"status": "run_ended", "result": "success", "round": random.choice([0, 2, 2**31 - 1])},
        {"status": "run_ended", "result": "failed", "attempt": random.choice([7, 2**31 - 1])},
        {"status": "run_ended", "result": random.choice([None, "running", "success"]), "command_id": "nobody"},
        {"status": "triggered", "attempt": 9, "dag_run_id": "cmd__x__1.9"},
        {"status": "run_ended", "result": "success", "source": {**outcome["source"], "topic": "other"}},
        {"status": "run_ended", "result": "success", "source": {**outcome["source"], "partition": 99}},
        {"status": "run_ended", "result": "success", "source": {**outcome["source"], "offset": 10**9}},
        {"source": {**outcome["source"], "offset": -1}},
        {"source": {**outcome["source"], "offset": 2**63 - 1}},
        {"source": {**outcome["source"], "partition": -1}},
        # What would not fit into a row, or into a calendar
        {"status": "run_ended", "result": "success", "dag_run_id": "x" * 100_000},
        {"status": "run_ended", "result": "duplicate", "duplicate_of": "x" * 100_000},
        {"status": "run_ended", "result": "success", "attempt": 9, "detail": "x" * 100_000},
        {"status": "triggered", "timings": {"triggered_at": "0001-01-01T00:00:00.000Z"}},
        {"at": random.choice(["", "soon", 5, "9999-12-31T23:59:59.999Z"])},
        {
            random.choice(list(outcome)): random.choice(
                [None, 1, -1, "", "x", [], {}, True, 2**70, "<script>", "\ud800"]
            )
        },
    ]
    spoiled: dict[str, Any] = outcome | random.choice(changes)
    # Of a command that has ended or will end, this would be the truth.
    if spoiled["status"] in ("triggered", "run_ended") and (spoiled["round"], spoiled["attempt"]) == (1, 1):
        spoiled["round"] = 3
    return spoiled


def bad_instructions(random: Random, ids: list[str]) -> list[bytes]:
    """Values for the control topic that nobody should have written; what can be followed is about unknown commands."""
    found = [random.randbytes(random.randrange(60)) for _ in range(50)]
    for number in range(350):
        action = random.choice(["expire", "expire", "retry", "skip", "cancel", "hold", "explode", "", None, 1])
        known = [] if action in {"retry", "skip", "cancel"} else ids
        fields: dict[str, Any] = {
            "control_id": f"c{number}",
            "action": action,
            "command_id": random.choice([*known, "nobody", None, *TEXTS]),
            "key": random.choice(["k", None, *TEXTS]),
            "by": "nobody",
            "at": "2026-01-01T00:00:00Z",
        }
        odd = random.choice(["control_id", "key", "key_base64", "dag_id", "by", "reason", "at", "other"])
        huge = random.choice(["x" * 100_000, "x" * 1000, base64.b64encode(bytes(9000)).decode(), *TEXTS, 1, None, []])
        found.append(json.dumps(fields | {odd: huge}).encode())
        found.append(damaged(random, json.dumps(fields).encode()))
    return found
