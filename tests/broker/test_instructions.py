"""What operators ask for with the command line, on a real Kafka: followed once or refused once, whatever happens."""

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from streamapp.cli.control import partition_of_key
from streamapp.cli.main import main
from tests.support.airflow_api import FakeAirflowProcess
from tests.support.eventually import eventually
from tests.support.installation import Draft, Installation, command
from tests.support.stack import Kafka
from tests.support.worker import Worker

ROUTES = """\
[[route]]
command = "app.*"

[[route]]
command = "block.*"
dag = "probe"
on_failure = "block"

[[route]]
command = "again.*"
dag = "probe"
max_attempts = 2
retry_delay = "1h"

[[route]]
command = "own.*"
"""
FOR_EVER = 600
"""Seconds: longer than any test waits."""
PARTITIONS = 4

Install = Callable[..., Installation]


@pytest.fixture(scope="module")
def routes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("routes") / "routes.toml"
    file.write_text(ROUTES)
    return file


@pytest.fixture(scope="module")
def site(
    kafka: Kafka, airflow: FakeAirflowProcess, routes: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Installation]:
    settings = {"routes_file": str(routes)}
    directory = tmp_path_factory.mktemp("instructions")
    with Installation("instructions", directory, kafka, airflow, **settings) as site:
        site.create_topics()
        for worker in site.start_workers("one", "two"):
            eventually(lambda worker=worker: check_share(worker))
        yield site


def check_share(worker: Worker) -> None:
    """What a worker takes over from another one is ended late: the other may have asked for its run."""
    assert len(worker.get("/api/v1/status").json()["partitions"]) == PARTITIONS // 2


def call(site: Installation, *arguments: str, stdin: str | None = None, worker: str | None = None) -> Result:
    """The command line; it asks a worker that runs."""
    url = next((one.url for one in site.workers.values() if one.running), "http://127.0.0.1:1")
    return CliRunner(env={**site.environment, "STREAMAPP_WORKER_URL": worker or url}).invoke(
        main, arguments, input=stdin
    )


def answers(done: Result) -> list[dict[str, Any]]:
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return [json.loads(line) for line in done.stdout.splitlines()]


def give(site: Installation, *arguments: str, **how: str) -> dict[str, Any]:
    """An instruction that is followed."""
    done = call(site, *arguments, "--json", **how)
    assert done.exit_code == 0, done.output
    (answer,) = answers(done)
    assert answer["answer"] == "applied"
    return answer


def refused(site: Installation, *arguments: str, **how: str) -> str:
    """An instruction that is refused; why."""
    done = call(site, *arguments, "--json", **how)
    assert done.exit_code == 1, done.output
    (answer,) = answers(done)
    assert answer["answer"] == "refused"
    return str(answer["detail"])


def statuses(site: Installation, draft: Draft) -> list[str]:
    """What was said of a command; answers about its key or DAG name another topic."""
    return [outcome["status"] for outcome in site.of(draft) if outcome["source"]["topic"] == site.name]


def reach(site: Installation, draft: Draft, *wanted: str) -> None:
    """Wait until a command has come so far."""

    def check() -> None:
        assert wanted[-1] in statuses(site, draft)

    eventually(check)


def shown(site: Installation, command_id: str) -> dict[str, Any]:
    done = call(site, "status", command_id, "--json")
    assert done.exit_code == 0, done.output
    return dict(json.loads(done.stdout))


def hour_from_now() -> datetime:
    return datetime.now(UTC) + timedelta(hours=1)


def test_retry_of_what_is_blocked(site: Installation) -> None:
    failing, behind = site.send(
        command(b"retry", name="block.x", id="retry-1", fail_first=1), command(b"retry", id="retry-2")
    )
    reach(site, failing, "blocked")
    answer = give(site, "retry", "retry-1", "--by", "ann", "--reason", "mended")
    assert answer["detail"] == "retry by ann: mended"
    assert answer["partition"] == failing.partition
    endings = site.endings([failing, behind])
    assert {ending["status"] for ending in endings.values()} == {"succeeded"}
    assert endings[failing.place]["attempt"] == 2
    assert endings[behind.place]["timings"]["started_at"] >= endings[failing.place]["timings"]["ended_at"]
    assert "it has ended as succeeded: replay it" in refused(site, "retry", "retry-1")


def test_retry_does_not_wait_for_the_time_of_the_next_attempt(site: Installation) -> None:
    (failing,) = site.send(command(b"again", name="again.x", id="again-1", fail_first=1))
    reach(site, failing, "attempt_failed")
    give(site, "retry", "again-1")
    assert site.ending(failing)["status"] == "succeeded"


def test_skip_lets_the_next_one_run(site: Installation) -> None:
    waiting, failing, behind = site.send(
        command(b"skip", id="skip-1", not_before=hour_from_now()),
        command(b"skip", name="block.x", id="skip-2", fail=True),
        command(b"skip", id="skip-3"),
    )
    reach(site, waiting, "accepted")
    done = call(site, "skip", "-", "--json", "--reason", "done by hand", stdin="skip-1\n\nskip-1\n")
    assert [answer["command_id"] for answer in answers(done)] == ["skip-1"]
    assert site.ending(waiting, seconds=60)["status"] == "skipped"
    reach(site, failing, "blocked")
    give(site, "skip", "skip-2")
    endings = site.endings([failing, behind])
    assert (endings[failing.place]["status"], endings[behind.place]["status"]) == ("skipped", "succeeded")


def test_cancel_stops_the_run(site: Installation) -> None:
    running, behind = site.send(command(b"cancel", id="cancel-1", seconds=FOR_EVER), command(b"cancel", id="cancel-2"))
    reach(site, running, "triggered")
    assert "its run is under way: cancel stops it" in refused(site, "skip", "cancel-1")
    give(site, "cancel", "cancel-1", "--reason", "by mistake")
    endings = site.endings([running, behind])
    assert (endings[running.place]["status"], endings[behind.place]["status"]) == ("cancelled", "succeeded")
    run = site.run_of(running)
    assert run is not None
    assert run["state"] == "failed"


def test_hold_and_release(site: Installation) -> None:
    give(site, "hold", "--key", "held", "--by", "ann", "--reason", "asked by the customer")
    (held,) = site.send(command(b"held", id="held-1"))
    reach(site, held, "accepted")
    (other,) = site.send(command(b"not held"))
    assert site.ending(other)["status"] == "succeeded"
    assert statuses(site, held) == ["accepted"]
    assert "the key is on hold already" in refused(site, "hold", "--key-base64", "aGVsZA==")
    give(site, "release", "--key", "held")
    assert site.ending(held)["status"] == "succeeded"
    assert "neither on hold nor blocked" in refused(site, "release", "--key", "held")


def test_release_of_a_blocked_key(site: Installation) -> None:
    failing, behind = site.send(command(b"release", name="block.x", fail=True), command(b"release"))
    reach(site, failing, "blocked")
    give(site, "release", "--key", "release")
    endings = site.endings([failing, behind])
    assert (endings[failing.place]["status"], endings[behind.place]["status"]) == ("failed", "succeeded")


def test_pause_and_resume_of_a_dag(site: Installation, airflow: FakeAirflowProcess) -> None:
    airflow.control("dag", dag_id="own")
    done = call(site, "pause", "--dag", "own", "--reason", "mail is down", "--by", "ann")
    assert done.exit_code == 0, done.output
    assert done.stdout == "own  applied  partitions 0, 1, 2, 3  (pause by ann: mail is down)\n"
    paused = site.send(*[command(None, name="own.own") for _ in range(6)])
    (other,) = site.send(command(b"not paused"))
    assert site.ending(other)["status"] == "succeeded"
    for draft in paused:
        reach(site, draft, "accepted")
    assert site.statuses(paused) == {"accepted": 6}
    again = call(site, "pause", "--dag", "own")
    assert again.exit_code == 1
    assert again.stdout.startswith("own  refused  partitions 0, 1, 2, 3  (refused, that is paused already")
    assert {answer["answer"] for answer in answers(call(site, "resume", "--dag", "own", "--json"))} == {"applied"}
    assert {ending["status"] for ending in site.endings(paused).values()} == {"succeeded"}


def test_what_is_not_known(site: Installation) -> None:
    done = call(site, "retry", "nobody")
    assert done.exit_code == 1
    assert done.stdout == ""
    assert done.stderr.startswith("nobody: no worker knows a command of this id")
    assert "no command of this id is remembered" in refused(site, "retry", "nobody", "--key", "nobody")
    assert "no command of this id is remembered" in refused(site, "skip", "nobody", "--partition", "0")


def test_without_a_worker_to_ask(site: Installation) -> None:
    (draft,) = site.send(command(b"blind", not_before=hour_from_now()))
    reach(site, draft, "accepted")
    made = f"{site.name}-{draft.partition}-{draft.offset}-{draft.timestamp_ms}"
    away = "http://127.0.0.1:1"
    done = call(site, "skip", made, "order-17", worker=away)
    assert done.exit_code == 2
    assert "order-17: where it is can't be told, nothing was given" in done.stderr
    assert statuses(site, draft) == ["accepted"]
    give(site, "skip", made, worker=away)
    assert site.ending(draft)["status"] == "skipped"


def test_two_that_contradict_each_other(site: Installation) -> None:
    """Whichever stands first in the log is followed, the other one is refused, and there is one ending."""
    drafts = site.send(*[command(b"both-%d" % n, id=f"both-{n}", not_before=hour_from_now()) for n in range(6)])
    for draft in drafts:
        reach(site, draft, "accepted")
    ids = [f"both-{n}" for n in range(6)]
    assert call(site, "skip", *ids, "--no-wait").exit_code == 0
    done = call(site, "cancel", *ids, "--json")
    assert done.exit_code == 1
    assert {answer["answer"] for answer in answers(done)} == {"refused"}
    assert {ending["status"] for ending in site.endings(drafts).values()} == {"skipped"}
    assert all(statuses(site, draft).count("instruction_applied") == 1 for draft in drafts)


def test_why_a_command_waits(site: Installation) -> None:
    first, failing, behind = site.send(
        command(b"why", id="why-1", seconds=FOR_EVER),
        command(b"why", name="block.x", id="why-2", fail=True),
        command(b"why", id="why-3"),
    )
    reach(site, first, "triggered")
    reach(site, behind, "accepted")
    sentence = shown(site, "why-3")["waiting_for"]
    place = f"why-1 ({site.name}-{first.partition}-{first.offset})"
    assert sentence.startswith(
        f"its turn: 2 commands of its key are before it; the first, {place}, waits for the end of its run cmd__"
    )
    give(site, "cancel", "why-1")
    reach(site, failing, "blocked")
    assert shown(site, "why-2")["waiting_for"].startswith("an operator: it has failed, and blocks its key since 2")
    give(site, "hold", "--key", "why", "--by", "ann", "--reason", "look at it")
    give(site, "skip", "why-2")
    reach(site, failing, "skipped")
    held = shown(site, "why-3")["waiting_for"]
    assert held.startswith("its key to be released: on hold since 2")
    assert held.endswith(" by ann: look at it")
    give(site, "release", "--key", "why")
    assert site.ending(behind)["status"] == "succeeded"
    steps = answers(call(site, "history", "why-3", "--json"))
    assert [(step["what"], step["outcome"]["status"]) for step in steps] == [
        ("accepted", "accepted"),
        ("its key", "instruction_applied"),
        ("its key", "instruction_applied"),
        ("its key", "skipped"),
        ("triggered", "triggered"),
        ("run_ended", "run_ended"),
        ("succeeded", "succeeded"),
    ]
    assert "why-2, which was before it, ended as skipped" in call(site, "history", "why-3").stdout


def test_history_of_a_key_and_of_all(site: Installation, tmp_path: Path) -> None:
    (draft,) = site.send(command(b"told", id="told-1"))
    site.ending(draft)
    told = answers(call(site, "history", "--key", "told", "--json"))
    assert [outcome["status"] for outcome in told] == statuses(site, draft)
    file = tmp_path / "all.jsonl"
    done = call(site, "history", "--all", "--since", "1h", "--export", str(file))
    assert done.exit_code == 0, done.output
    exported = [json.loads(line) for line in file.read_text().splitlines()]
    assert {outcome["id"] for outcome in told} < {outcome["id"] for outcome in exported}
    assert len({outcome["id"] for outcome in exported}) == len(exported)
    assert call(site, "history", "never heard of").exit_code == 1
    assert call(site, "history", "told-1", "--until", "1d").exit_code == 1
    away = call(site, "history", "told-1", "--json", worker="http://127.0.0.1:1")
    assert [step["what"] for step in answers(away)] == statuses(site, draft)


def test_history_has_no_violation(site: Installation) -> None:
    assert site.violations(complete=False) == []


def test_no_worker_is_at_work(install: Install) -> None:
    site = install()
    done = call(site, "hold", "--key", "k", "--timeout", "1s")
    assert done.exit_code == 3
    assert done.stdout == f"key k  given  partition {partition_of_key(b'k', PARTITIONS)}\n"
    (held,) = site.send(command(b"k"))
    site.start_workers("one")
    reach(site, held, "accepted")

    def check() -> None:
        assert "instruction_applied" in [outcome["status"] for outcome in site.outcomes()]

    eventually(check)


def test_killed_between_an_instruction_and_its_fold(install: Install) -> None:
    site = install()
    (worker,) = site.start_workers("one")
    _, draft = site.send(command(b"k", not_before=hour_from_now()), command(b"k", id="a"))
    reach(site, draft, "accepted")
    worker.freeze()
    done = call(site, "skip", "a", "--key", "k", "--no-wait", worker="http://127.0.0.1:1")
    assert done.exit_code == 0, done.output
    worker.kill()
    worker.start()
    assert site.ending(draft)["status"] == "skipped"
    assert statuses(site, draft).count("instruction_applied") == 1
    assert site.violations(complete=False) == []


@pytest.mark.parametrize("lost", [False, True], ids=["restarted", "restored"])
def test_killed_between_a_fold_and_its_answer(install: Install, lost: bool) -> None:
    """The table knows of it, nobody was told: the next worker says it, once, and does nothing twice."""
    site = install()
    mute = site.worker("one", "stuck_results")
    mute.start()
    front, *behind = site.send(
        command(b"k", not_before=hour_from_now()), command(b"k", id="skip"), command(b"k", id="cancel")
    )

    def check(status: str) -> None:
        assert shown(site, "cancel")["status"] == status

    eventually(lambda: check("accepted"))
    assert call(site, "skip", "skip", "--no-wait").exit_code == 0
    assert call(site, "cancel", "cancel", "--no-wait").exit_code == 0
    eventually(lambda: check("cancelled"))
    mute.kill()
    assert site.outcomes() == []
    if lost:
        mute.forget_data()
    mute = site.worker("one")
    mute.start()
    endings = site.endings(behind)
    assert [endings[draft.place]["status"] for draft in behind] == ["skipped", "cancelled"]
    for draft in behind:
        assert statuses(site, draft).count("instruction_applied") == 1
        assert "instruction_refused" not in statuses(site, draft)
    assert statuses(site, front) == ["accepted"]
    assert site.violations(complete=False) == []


def test_a_pause_outlives_the_worker_and_moves_with_its_partition(install: Install) -> None:
    site = install()
    (one,) = site.start_workers("one")
    assert call(site, "pause", "--all").exit_code == 0
    sent = site.send(*[command(b"key-%d" % n) for n in range(8)])
    (behind,) = site.send(command(b"key-0", id="behind"))
    for draft in [*sent, behind]:
        reach(site, draft, "accepted")
    one.kill()
    site.start_workers("two")
    give(site, "skip", "behind")  # where it was known to be, another worker is
    assert site.ending(behind)["status"] == "skipped"
    (late,) = site.send(command(b"late"))
    reach(site, late, "accepted")
    assert [statuses(site, draft) for draft in sent] == [["accepted"]] * 8
    assert site.runs() == []
    assert call(site, "resume", "--all").exit_code == 0
    assert {ending["status"] for ending in site.endings([*sent, late]).values()} == {"succeeded"}
    assert site.violations() == []


def test_what_no_worker_has_read(install: Install) -> None:
    site = install()
    site.send(*[command(b"k", id=f"order-{n}") for n in range(3)])
    assert (
        shown(site, "order-2")["waiting_for"] == "a worker to read it: at most 2 records of its partition are before it"
    )
    assert shown(site, "order-0")["waiting_for"] == "a worker to read it: it comes next on its partition"
    for where in (["--key", "k"], ["--partition", str(partition_of_key(b"k", PARTITIONS))]):
        found = json.loads(call(site, "status", "order-1", "--json", *where).stdout)
        assert (found["status"], found["source"]["offset"]) == ("unread", 1)
    assert call(site, "status", "order-1", "--key", "another").exit_code == 1
    done = call(site, "status", "nobody")
    assert done.exit_code == 1
    assert "no command with the id nobody is known, nor is it one of the 3 that are not read yet" in done.stderr
