"""The reference says what the code says: nothing is missing on its pages, and nothing is made up."""

import ast
import re
from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path

import pytest

import streamapp
from streamapp.application import create_app
from streamapp.cli.send import PARTITIONERS
from streamapp.clock import SystemClock
from streamapp.core import key, retry, run_id, verdicts
from streamapp.core.model import Action, Entry, Policy, Reason, RunState, Source, Status, Timings
from streamapp.dispatch.ready import Phase
from streamapp.dispatch.trigger import Trigger
from streamapp.kafka import exits, topics
from streamapp.observe.figures import Figures
from streamapp.observe.metrics import Metrics
from streamapp.settings import Settings
from streamapp.wire import checks, headers, strict_json
from streamapp.wire import rows as wire_rows
from streamapp.wire.schemas import COMMAND, CONTROL, OUTCOME, Schema
from tests.support.manual_clock import START, ManualClock
from tests.support.markdown import ROOT, first_cells, rows, section
from tests.support.memory_airflow import MemoryAirflow
from tests.support.reference import PAGES, REFERENCE

RECORDS = REFERENCE / "topics-and-records.md"
HTTP = REFERENCE / "http.md"
OPERATIONS = ROOT / "docs" / "operations.md"
ARCHITECTURE = ROOT / "docs" / "concepts" / "architecture.md"


@pytest.mark.parametrize("file", PAGES)
def test_generated_pages_are_up_to_date(file: str) -> None:
    assert (REFERENCE / file).read_text() == PAGES[file](), "run `python -m tests.support.reference`"


# Lists


@pytest.mark.parametrize(
    ("heading", "names"),
    [("### Status", Status), ("### Reason", Reason), ("### Result", RunState), ("## Control", [*Action])],
)
def test_closed_lists_are_complete(heading: str, names: Iterable[str]) -> None:
    told = first_cells(section(RECORDS, heading))
    if heading == "## Control":
        told = told[len(CONTROL["fields"]) :]
    assert sorted(told) == sorted(names)


def test_terminal_statuses_are_marked() -> None:
    marked = {row[0].strip("`"): row[1] for row in rows(section(RECORDS, "### Status"))}
    assert {status for status, terminal in marked.items() if terminal == "yes"} == {s for s in Status if s.terminal}


@pytest.mark.parametrize(
    ("heading", "schema"), [("## Command", COMMAND), ("## Outcome", OUTCOME), ("## Control", CONTROL)]
)
def test_fields_and_which_are_optional(heading: str, schema: Schema) -> None:
    told = [row for row in rows(section(RECORDS, heading)) if row[0].startswith("`")][: len(schema["fields"])]
    assert [row[0].strip("`") for row in told] == [field["name"] for field in schema["fields"]]
    for row, field in zip(told, schema["fields"], strict=True):
        assert row[1].endswith(", optional") == ("default" in field), row


def test_headers_are_named() -> None:
    names = {value for name, value in vars(headers).items() if name.isupper() and isinstance(value, str)}
    told = first_cells(section(RECORDS, "### Headers of a command")) + first_cells(section(RECORDS, "## Dead letter"))
    assert set(told) == names


async def test_the_mark_of_a_run() -> None:
    airflow = MemoryAirflow(ManualClock())
    day = timedelta(1)
    trigger = Trigger(airflow, ManualClock(), app_id="a", dag_missing_grace=day, lease=day, request_timeout=day)
    entry = Entry(
        source=Source("commands", 0, 0), key=b"k", recorded_at=START, id="c", command="app.probe", params="{}",
        status=Status.ACCEPTED, policy=Policy(dag_id="probe"), at=START, timings=Timings(),
    )  # fmt: skip
    await trigger.run(entry)
    (run,) = airflow.runs.values()
    assert first_cells(section(RECORDS, "## Run")) == ["_command", *run.conf["_command"]]


def test_topics_with_their_sizes() -> None:
    told = {row[0]: row for row in rows(section(RECORDS, "## Topics"))}
    for topic in topics.expected(Settings()):
        row = told[topic.role]
        assert row[1] == f"`{topic.name}`"
        assert row[3] == f"`{topic.cleanup}`"
        if topic.same_partitions:
            assert row[4] == str(topic.least_bytes)


def test_limits_that_are_told() -> None:
    text = RECORDS.read_text()
    for sentence in (
        f"At most {checks.MAX_COMMAND_LENGTH} characters",
        f"at most {checks.MAX_ID_LENGTH} characters",
        f"more than {key.MAX_KEY_BYTES} bytes is rejected",
        f"at most {verdicts.MAX_DETAIL_LENGTH} characters",
        f"nested at most {strict_json.MAX_DEPTH} deep",
        f"up to {retry.UNSTARTED_ALLOWED} times",
        f"The name `{checks.RESERVED}` in it is refused",
    ):
        assert sentence in text
    assert f"longer than\n{run_id.MAX_LENGTH} characters" in text


def test_partitioners_disagree_as_told() -> None:
    everywhere = range(8)
    assert PARTITIONERS["murmur2"](b"event", everywhere, everywhere) == 4
    assert PARTITIONERS["crc32"](b"event", everywhere, everywhere) == 7
    sentence = r"`event`\s+goes\s+to\s+partition\s+4\s+by\s+.*partition\s+7\s+by"
    for page in ("docs/how-to/send-commands.md", "docs/concepts/guarantees.md"):
        assert re.search(sentence, (ROOT / page).read_text(), re.DOTALL), page


# HTTP


def test_routes_are_told() -> None:
    app = create_app(Settings(), MemoryAirflow(SystemClock()), SystemClock())
    routes = {route.resource.canonical for route in app.web.web_app.router.routes() if route.resource}
    told = [name for part in ("## For machines", "## The API", "## Pages") for name in first_cells(section(HTTP, part))]
    assert {name for name in told if name.startswith("/")} == routes - {"/static"}


def test_metrics_are_told() -> None:
    figures = Figures(lease_remaining=timedelta(0), joined=True, rebalancing=False, restoring=False, accepting=True)
    metrics = Metrics(lambda: figures, dict)
    names = {f"{one.name}_total" if one.type == "counter" else one.name for one in metrics.collect()}
    told = {name.partition("{")[0] for name in first_cells(section(HTTP, "## For machines")) if "streamapp_" in name}
    assert told == names


def test_phases_are_told() -> None:
    (meaning,) = [row[2] for row in rows(section(HTTP, "## For machines")) if row[0] == "`streamapp_commands{phase}`"]
    assert re.findall(r"`(\w+)`", meaning) == [phase.name.lower() for phase in Phase]


# Operations


def test_the_kinds_of_rows_are_told_in_their_order() -> None:
    kinds = [kind.decode() for kind in vars(wire_rows).values() if isinstance(kind, bytes) and len(kind) == 1]
    table = rows(section(ARCHITECTURE, "## Rows of the table"))
    told = [row[1].strip("`") for row in table if row[1].startswith("`")]
    assert told == sorted(kinds)


def test_the_version_of_rows_is_told() -> None:
    assert f"Rows of the table carry a version, today {wire_rows.VERSION}." in section(OPERATIONS, "## Upgrades")


def test_exit_codes_are_told() -> None:
    codes = {str(value) for name, value in vars(exits).items() if name.isupper() and isinstance(value, int)}
    told = {row[0].strip("`") for row in rows(section(OPERATIONS, "## Exit codes of a worker"))}
    assert codes | {"0"} <= told


def logged(*levels: str) -> list[str]:
    """The longest fixed part of every message that the package logs at these levels."""
    found = []
    for path in sorted(Path(streamapp.__file__).parent.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in levels):
                continue
            if isinstance(node.func.value, ast.Name) and node.func.value.id in {"log", "_log", "logger"}:
                message = next(one.value for one in ast.walk(node.args[0]) if isinstance(one, ast.Constant))
                found.append(max(re.split(r"%[\w.]+", message), key=len).strip(" :,()"))
    return [message for message in found if message]


def test_the_list_of_messages_is_not_empty() -> None:
    assert len(logged("warning", "error", "critical", "exception")) > 10


@pytest.mark.parametrize("message", logged("warning", "error", "critical", "exception"))
def test_what_is_logged_as_a_warning_or_worse_is_explained(message: str) -> None:
    assert message in section(OPERATIONS, "## What the log says")
