"""Each policy of a route, on a real Kafka: one worker, shared by all tests here. No test hangs on how fast it is."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.support.airflow_api import FakeAirflowProcess
from tests.support.eventually import eventually
from tests.support.installation import Draft, Installation, command
from tests.support.stack import Kafka

ROUTES = """\
[[route]]
command = "app.*"

[[route]]
command = "retry.*"
dag = "probe"
max_attempts = 3
retry_delay = "600ms"

[[route]]
command = "deploy.*"
max_attempts = 1000
retry_delay = "200ms"
retry_delay_max = "400ms"
retry_on = ["dag_not_found"]

[[route]]
command = "block.*"
dag = "probe"
on_failure = "block"

[[route]]
command = "late.*"
dag = "probe"
not_before = "1500ms"

[[route]]
command = "tomorrow.*"
dag = "probe"
not_before = "1d"

[[route]]
command = "expire.*"
dag = "probe"
deadline = "1s"

[[route]]
command = "trigger.*"
dag = "probe"
ordering = "triggered"

[[route]]
command = "free.*"
dag = "probe"
ordering = "none"

[[route]]
command = "capped.*"
dag = "capped"
max_in_flight = 2

[[route]]
command = "asleep.*"
dag = "asleep"
paused = "reject"
"""
FRESH = """
[[route]]
command = "fresh.*"
dag = "probe"
"""
FOR_EVER = 600
"""Seconds: longer than any test waits."""


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("routes") / "routes.toml"
    file.write_text(ROUTES)
    return file


@pytest.fixture(scope="module")
def site(
    kafka: Kafka, airflow: FakeAirflowProcess, file: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Installation]:
    settings = {"routes_file": str(file), "dag_missing_grace": "300ms"}
    with Installation("policies", tmp_path_factory.mktemp("policies"), kafka, airflow, **settings) as site:
        site.create_topics()
        site.start_workers("one")
        yield site


def soon(seconds: float) -> datetime:
    return datetime.now(UTC) + timedelta(seconds=seconds)


def runs_of(site: Installation, draft: Draft) -> list[dict[str, Any]]:
    """By attempt."""
    marks = [(run["conf"]["_command"], run) for run in site.runs()]
    mine = [(mark["attempt"], run) for mark, run in marks if (mark["partition"], mark["offset"]) == draft.place]
    return [run for _, run in sorted(mine, key=lambda one: one[0])]


def statuses(site: Installation, draft: Draft) -> list[str]:
    return [outcome["status"] for outcome in site.of(draft)]


def seconds_between(earlier: str, later: str) -> float:
    return (datetime.fromisoformat(later) - datetime.fromisoformat(earlier)).total_seconds()


def check_status(site: Installation, draft: Draft, status: str) -> None:
    assert status in statuses(site, draft)


def test_failed_runs_are_tried_again_after_a_growing_delay(site: Installation) -> None:
    first, behind = site.send(command(b"again", name="retry.x", fail_first=2), command(b"again", name="retry.x"))
    endings = site.endings([first, behind])
    assert (endings[first.place]["status"], endings[first.place]["attempt"]) == ("succeeded", 3)
    attempt = ["triggered", "run_ended", "attempt_failed"]
    assert statuses(site, first) == ["accepted", *attempt, *attempt, "triggered", "run_ended", "succeeded"]
    one, two, three = runs_of(site, first)
    assert seconds_between(one["end_date"], two["start_date"]) >= 0.3
    assert seconds_between(two["end_date"], three["start_date"]) >= 0.6
    (after,) = runs_of(site, behind)
    assert after["start_date"] >= three["end_date"]


def test_after_the_last_attempt_a_command_has_failed(site: Installation) -> None:
    (draft,) = site.send(command(b"vain", name="retry.x", fail=True))
    ending = site.ending(draft)
    assert (ending["status"], ending["reason"], ending["attempt"]) == ("failed", "run_failed", 3)
    assert len(runs_of(site, draft)) == 3
    letters = [letter for letter in site.dead_letters() if letter.value == draft.value]
    assert [dict(letter.headers)["dlq.reason"] for letter in letters] == [b"run_failed"]


def test_only_what_the_route_names_is_tried_again(site: Installation, airflow: FakeAirflowProcess) -> None:
    first, behind = site.send(
        command(b"deploy", name="deploy.not_yet"), command(b"deploy", name="deploy.probe", fail=True)
    )
    eventually(lambda: check_status(site, first, "attempt_failed"))
    airflow.control("dag", dag_id="not_yet")
    endings = site.endings([first, behind])
    assert endings[first.place]["status"] == "succeeded"
    assert endings[first.place]["attempt"] == 1 + statuses(site, first).count("attempt_failed")
    assert {one["reason"] for one in site.of(first) if one["status"] == "attempt_failed"} == {"dag_not_found"}
    (run,) = runs_of(site, first)
    assert run["conf"]["_command"]["attempt"] == endings[first.place]["attempt"] > 1
    assert (endings[behind.place]["status"], endings[behind.place]["attempt"]) == ("failed", 1)


def test_a_failure_holds_its_key_and_no_other(site: Installation) -> None:
    failing, behind = site.send(command(b"block", name="block.x", fail=True), command(b"block"))
    eventually(lambda: check_status(site, failing, "blocked"))
    (other,) = site.send(command(b"block-not"))
    assert site.ending(other)["status"] == "succeeded"
    assert statuses(site, failing)[-1] == "blocked"
    assert statuses(site, behind) == ["accepted"]
    assert not [letter for letter in site.dead_letters() if letter.value == failing.value]


def test_refusals_hold_a_key_too(site: Installation) -> None:
    site.airflow.trigger("probe", f"cmd__{site.name}__conflict__1.1", {"made": "by hand"})
    refused, behind = site.send(command(b"refused", name="block.x", id="conflict"), command(b"refused"))
    eventually(lambda: check_status(site, refused, "blocked"))
    assert site.of(refused)[-1]["reason"] == "run_id_conflict"
    assert statuses(site, behind) == ["accepted"]


def test_not_before_counts_from_the_acceptance_and_a_commands_own_goes_before(site: Installation) -> None:
    late, own = site.send(command(b"late", name="late.x"), command(b"own", name="tomorrow.x", not_before=soon(0)))
    endings = site.endings([late, own])
    accepted = endings[late.place]["timings"]["accepted_at"]
    assert endings[late.place]["timings"]["started_at"] >= accepted + timedelta(seconds=1.5)
    assert endings[own.place]["status"] == "succeeded"


def test_a_deadline_counts_from_the_acceptance_and_a_commands_own_goes_before(site: Installation) -> None:
    waiting = command(b"dead", name="expire.x", not_before=soon(3600))
    own = command(b"dead too", name="expire.x", not_before=soon(2), deadline=soon(3600))
    waiting, own = site.send(waiting, own)
    endings = site.endings([waiting, own])
    assert endings[waiting.place]["status"] == "expired"
    assert endings[own.place]["status"] == "succeeded"


def test_different_orderings_on_one_key(site: Installation) -> None:
    first, second, third, fourth = site.send(
        command(b"free-mixed", seconds=1),
        command(b"free-mixed", name="trigger.x", seconds=FOR_EVER),
        command(b"free-mixed", seconds=0.5),
        command(b"free-mixed", name="retry.x"),
    )
    endings = site.endings([first, third, fourth])
    assert {ending["status"] for ending in endings.values()} == {"succeeded"}
    assert statuses(site, second) == ["accepted", "triggered"]  # its run is still under way
    (run,) = runs_of(site, second)
    assert run["start_date"] >= runs_of(site, first)[0]["end_date"]
    assert runs_of(site, third)[0]["queued_at"] > run["queued_at"]
    assert endings[fourth.place]["timings"]["started_at"] >= endings[third.place]["timings"]["ended_at"]


def test_without_order_a_command_neither_waits_nor_makes_others_wait(site: Installation) -> None:
    head, free, behind = site.send(
        command(b"free-none", not_before=soon(3600)), command(b"free-none", name="free.x"), command(b"free-none")
    )
    assert site.ending(free)["status"] == "succeeded"
    busy, next_ = site.send(
        command(b"free-busy", name="free.x", seconds=FOR_EVER), command(b"free-busy", name="retry.x")
    )
    assert site.ending(next_)["status"] == "succeeded"
    assert statuses(site, head) == statuses(site, behind) == ["accepted"]
    assert "run_ended" not in statuses(site, busy)


def figure(site: Installation, name: str) -> float:
    lines = site.workers["one"].get("/metrics").text.splitlines()
    (line,) = [line for line in lines if line.startswith(f"{name} ")]
    return float(line.split()[1])


def check_figure(site: Installation, name: str, value: float) -> None:
    assert figure(site, name) == value


def test_no_more_runs_than_the_route_allows_are_outstanding(site: Installation, airflow: FakeAirflowProcess) -> None:
    airflow.control("dag", dag_id="capped")
    sent = site.send(*[command(None, name="capped.x", seconds=0.3) for _ in range(8)])
    assert {ending["status"] for ending in site.endings(sent).values()} == {"succeeded"}
    runs = [run for draft in sent for run in runs_of(site, draft)]
    assert len(runs) == 8
    for run in runs:
        beside = [one for one in runs if one["start_date"] <= run["start_date"] < one["end_date"]]
        assert len(beside) <= 2, beside


def test_a_command_that_must_not_wait_for_a_paused_dag(site: Installation, airflow: FakeAirflowProcess) -> None:
    airflow.control("dag", dag_id="asleep", paused=True)
    (refused,) = site.send(command(b"asleep", name="asleep.x"))
    ending = site.ending(refused)
    assert (ending["status"], ending["reason"]) == ("rejected", "refused_by_airflow")
    assert "asleep is paused" in ending["detail"]
    airflow.control("dag", dag_id="asleep")
    (taken,) = site.send(command(b"asleep", name="asleep.x"))
    assert site.ending(taken)["status"] == "succeeded"


def test_a_changed_file_is_taken_and_a_broken_one_is_not(site: Installation, file: Path) -> None:
    (before,) = site.send(command(b"fresh", name="fresh.x"))
    assert site.ending(before)["reason"] == "unknown_route"
    file.write_text(ROUTES + FRESH)
    eventually(lambda: check_figure(site, "streamapp_routes_reloaded_total", 1))
    (after,) = site.send(command(b"fresh", name="fresh.x"))
    assert site.ending(after)["status"] == "succeeded"
    file.write_text(FRESH.replace("dag =", "dug ="))
    eventually(lambda: check_figure(site, "streamapp_routes_file_broken", 1))
    (still,) = site.send(command(b"fresh", name="retry.x"))
    assert site.ending(still)["status"] == "succeeded"
    said = f"the routes stay as they were: {file}:4: 'dug' is not a key of a route; did you mean dag?"
    assert site.workers["one"].log.count(said) == 1
    file.write_text(ROUTES + FRESH)
    eventually(lambda: check_figure(site, "streamapp_routes_file_broken", 0))
    assert figure(site, "streamapp_routes") == (ROUTES + FRESH).count("[[route]]")


def test_a_worker_does_not_start_with_a_broken_file(site: Installation, tmp_path: Path) -> None:
    broken = tmp_path / "broken.toml"
    broken.write_text("[[route]]\ncommand = 'app.*'\nretry_delay = 'soon'\n")
    worker = site.worker("broken", routes_file=str(broken))
    worker.start(wait=False)
    assert worker.wait() == 2
    assert f"streamapp: {broken}:3: retry_delay = 'soon': must be a duration" in worker.log


def test_history_has_no_violation(site: Installation) -> None:
    """Stands last: judges all that came before. Keys that mix orderings are judged above."""
    wrong = [one for one in site.violations(complete=False) if "key b'free-" not in one]
    assert wrong == []
