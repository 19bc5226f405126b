"""Records that can never run, on a real Kafka and with a real registry: one worker, every reason.

Each leaves one `rejected` outcome and one dead letter with what came, and the next command of its key runs.
"""

import json
import struct
from collections.abc import Callable, Iterator
from datetime import datetime

import pytest

from tests.support.airflow_api import FakeAirflowProcess
from tests.support.avro_producer import TWO_FIELDS, framed, register
from tests.support.eventually import eventually
from tests.support.installation import Draft, Installation, command
from tests.support.stack import Kafka, Registry
from tests.support.topics_reader import Record

MAX_COMMAND_BYTES = 3000
HEADERS = (("trace", b"1"), ("trace", b"2"), ("none", None), ("raw", b"\xff\x00"), ("dlq", b"mine"), ("trace", b"1"))
OTHER = {"type": "record", "namespace": "event", "name": "Other", "fields": [{"name": "n", "type": "int"}]}
OURS = ("dlq.id", "dlq.reason", "dlq.detail", "dlq.topic", "dlq.partition", "dlq.offset", "dlq.at")

Make = Callable[[Installation], bytes | None]


def text(**fields: object) -> Make:
    return lambda _: json.dumps(fields).encode()


def avro(schema: dict[str, object], fields: dict[str, object], *, end: int | None = None, more: bytes = b"") -> Make:
    def make(site: Installation) -> bytes:
        assert site.registry_url
        value = framed(register(site.registry_url, f"{site.name}-{schema['name']}", schema), schema, fields)
        return value[:end] + more

    return make


def taken_run_id(site: Installation) -> bytes | None:
    site.airflow.trigger("probe", f"cmd__{site.name}__taken__1.1", {"made": "by hand"})
    return command(id="taken").value


PROBE = {"command": "app.probe", "params": "{}"}
CASES: dict[str, tuple[str, Make]] = {
    "no JSON": ("undecodable", lambda _: b"hello"),
    "not UTF-8": ("undecodable", lambda _: b"\xff\xfe\x00"),
    "JSON, but a list": ("undecodable", lambda _: b"[1]"),
    "empty": ("undecodable", lambda _: b""),
    "frame cut short": ("undecodable", lambda _: b"\x00\x00\x00"),
    "body cut short": ("undecodable", avro(TWO_FIELDS, PROBE, end=-1)),
    "bytes left over": ("undecodable", avro(TWO_FIELDS, PROBE, more=b"!")),
    "schema id that is none": ("unknown_schema", lambda _: struct.pack(">bI", 0, 987654) + b"x"),
    "schema of something else": ("invalid_command", avro(OTHER, {"n": 1})),
    "no command": ("invalid_command", text(params="{}")),
    "command without a dot": ("invalid_command", text(command="probe", params="{}")),
    "empty id": ("invalid_command", text(**PROBE, id="")),
    "time that is none": ("invalid_command", text(**PROBE, deadline="tomorrow")),
    "params no JSON": ("invalid_params", text(command="app.probe", params="{")),
    "params no object": ("invalid_params", text(command="app.probe", params="[]")),
    "params not as text": ("invalid_params", text(command="app.probe", params={"n": 1})),
    "params with a reserved name": ("invalid_params", text(command="app.probe", params='{"_command": 1}')),
    "too large": ("too_large", text(command="app.probe", params=json.dumps({"x": "x" * MAX_COMMAND_BYTES}))),
    "tombstone": ("tombstone", lambda _: None),
    "no route": ("unknown_route", text(command="other.probe", params="{}")),
    "no such DAG": ("dag_not_found", text(command="app.nowhere", params="{}")),
    "path as DAG": ("dag_not_found", text(command="app.../../probe", params="{}")),
    "refused params": ("refused_by_airflow", text(command="app.strict", params='{"email": 1}')),
    "run id taken": ("run_id_conflict", taken_run_id),
}


@pytest.fixture(scope="module")
def site(
    kafka: Kafka, registry: Registry, airflow: FakeAirflowProcess, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Installation]:
    settings = {"dag_missing_grace": "1s", "max_command_bytes": str(MAX_COMMAND_BYTES)}
    directory = tmp_path_factory.mktemp("site")
    with Installation("bad-records", directory, kafka, airflow, registry.url, partitions=2, **settings) as site:
        site.create_topics()
        site.start_workers("one")
        yield site


@pytest.mark.parametrize("case", CASES)
def test_a_bad_record(site: Installation, case: str) -> None:
    reason, make = CASES[case]
    bad = Draft(value=make(site), key=case.encode() + b"\xfe", headers=HEADERS)
    bad, good = site.send(bad, command(bad.key, seconds=0))
    endings = site.endings([bad, good])
    assert [outcome["status"] for outcome in site.of(bad)][-1] == "rejected"
    ending = endings[bad.place]
    assert (ending["status"], ending["reason"]) == ("rejected", reason), ending["detail"]
    assert ending["detail"]
    assert ending["record"].key == bad.key
    assert endings[good.place]["status"] == "succeeded"
    assert site.run_of(bad) is None
    assert site.run_of(good) is not None
    letter = the_letter(site, bad)
    assert (letter.value, letter.key) == (bad.value, bad.key)
    assert letter.headers[: len(HEADERS)] == HEADERS
    ours = {name: (content or b"").decode() for name, content in letter.headers[len(HEADERS) :]}
    assert tuple(ours) == OURS
    assert len(letter.headers) == len(HEADERS) + len(OURS)
    assert (ours["dlq.reason"], ours["dlq.detail"]) == (reason, ending["detail"])
    assert ours["dlq.at"].endswith("Z")
    assert datetime.fromisoformat(ours["dlq.at"]) == ending["at"]


def test_without_a_key(site: Installation) -> None:
    (bad,) = site.send(Draft(value=None, key=None))
    assert site.ending(bad)["reason"] == "tombstone"
    letter = the_letter(site, bad)
    assert (letter.value, letter.key) == (None, None)


def test_foreign_avro_runs(site: Installation) -> None:
    assert site.registry_url
    schema_id = register(site.registry_url, f"{site.name}-value", TWO_FIELDS)
    value = framed(schema_id, TWO_FIELDS, {"command": "app.send_email_alert", "params": '{"email": "test@email.com"}'})
    (draft,) = site.send(Draft(value=value, key=b"event"))
    ending = site.ending(draft)
    assert ending["status"] == "succeeded"
    assert ending["command_id"] == f"{site.name}-{draft.partition}-{draft.offset}-{draft.timestamp_ms}"
    run = site.run_of(draft)
    assert run is not None
    assert run["conf"]["email"] == "test@email.com"


def test_what_was_rejected_may_be_sent_again(site: Installation) -> None:
    (bad,) = site.send(command(b"again", id="mended", name="other.probe"))
    assert site.ending(bad)["status"] == "rejected"
    (good,) = site.send(command(b"again", id="mended"))
    assert site.ending(good)["status"] == "succeeded"


def test_history_has_no_violation(site: Installation) -> None:
    """Stands last: judges all that came before."""
    assert len(site.records()) > len(CASES)
    assert site.violations() == []


def the_letter(site: Installation, draft: Draft) -> Record:
    def found() -> Record:
        place = {"dlq.topic": site.name, "dlq.partition": str(draft.partition), "dlq.offset": str(draft.offset)}
        wanted = {(name, content.encode()) for name, content in place.items()}
        letters = [letter for letter in site.dead_letters() if wanted <= set(letter.headers)]
        assert len(letters) == 1, letters
        return letters[0]

    return eventually(found, seconds=10)
