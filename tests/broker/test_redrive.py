"""Dead letters, redrive and replay on a real Kafka: one worker, shared by the tests here but the last."""

import fcntl
import json
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from stack.config import ROOT
from streamapp.cli.main import main
from streamapp.wire.discards import Discard, encode_discard
from tests.support.airflow_api import FakeAirflowProcess
from tests.support.avro_producer import TWO_FIELDS, framed, register
from tests.support.eventually import eventually
from tests.support.installation import Draft, Installation, command, place_of
from tests.support.stack import Kafka, Registry

STREAMAPP = str(Path(sys.executable).with_name("streamapp"))
ROUTES = """\
[[route]]
command = "app.*"

[[route]]
command = "block.*"
dag = "probe"
on_failure = "block"
"""
LATE = """
[[route]]
command = "late.*"
dag = "probe"
max_in_flight = 200

[[route]]
command = "probing.*"
dag = "probe"
"""
Run = Callable[..., Result]


@pytest.fixture(scope="module")
def site(
    kafka: Kafka, registry: Registry, airflow: FakeAirflowProcess, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Installation]:
    """Commands as JSON and as Avro; outcomes as Avro."""
    folder = tmp_path_factory.mktemp("redrive")
    (folder / "routes.toml").write_text(ROUTES)
    routes = {"routes_file": str(folder / "routes.toml")}
    with Installation("redrive", folder, kafka, airflow, registry.url, **routes) as site:
        site.create_topics()
        site.start_workers("one")
        yield site


@pytest.fixture
def run(site: Installation) -> Run:
    return lambda *arguments: invoke(site, *arguments)


def invoke(site: Installation, *arguments: str) -> Result:
    return CliRunner(env=site.environment).invoke(main, arguments)


def lines(done: Result) -> list[dict[str, Any]]:
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return [json.loads(line) for line in done.stdout.splitlines()]


def letter_of(site: Installation, draft: Draft, round_: int = 1) -> str:
    """The id of a dead letter, once it stands there."""
    wanted = f"{site.name}-{draft.partition}-{draft.offset}-{round_}"
    found = eventually(lambda: _letters(site, wanted))
    assert found
    return wanted


def _letters(site: Installation, wanted: str) -> bool:
    ids = {dict(letter.headers).get("dlq.id") for letter in site.dead_letters()}
    assert wanted.encode() in ids
    return True


def at(site: Installation, draft: Draft, line: dict[str, Any]) -> Draft:
    """The record that a line of redrive or replay tells of."""
    offset = line.get("replayed_at_offset", line["offset"])
    return Draft(value=None, partition=line["partition"], offset=offset)


def test_a_command_whose_key_has_moved_on_is_redriven_at_the_end(site: Installation, run: Run) -> None:
    failed, after = site.send(command(b"end", id="end-1", fail=True), command(b"end", id="end-2"))
    site.endings([failed, after])
    dlq_id = letter_of(site, failed)
    dry = run("redrive", dlq_id, "--dry-run")
    assert dry.exit_code == 0
    assert dry.stdout == (
        f"{dlq_id}  would be redriven at the end of its key, {site.name} partition {failed.partition}\n"
    )
    assert len([record for record in site.records() if record.key == b"end"]) == 2

    (line,) = lines(run("redrive", dlq_id, "--params", '{"n": 1}', "--json"))
    assert (line["id"], line["way"], line["partition"]) == (dlq_id, "at the end", failed.partition)
    again = at(site, failed, line)
    assert again.offset > after.offset
    ending = site.ending(again)
    assert (ending["status"], ending["command_id"], ending["round"]) == ("succeeded", "end-1", 2)
    made = site.run_of(again)
    assert made is not None
    assert (made["conf"]["n"], made["dag_run_id"]) == (1, f"cmd__{site.name}__end-1__2.1")

    repeated = run("redrive", dlq_id)
    assert repeated.exit_code == 0
    assert "not redriven: already redriven as" in repeated.stdout
    assert "succeeded" in repeated.stdout
    (shown,) = lines(run("dead-letters", "show", dlq_id, "--json"))
    assert (shown["state"], shown["redriven"]["status"]) == ("redriven", "succeeded")
    assert shown["record"]["value"]["params"] == {"fail": True}


def test_the_workers_refuse_a_second_record_for_a_letter(site: Installation, run: Run) -> None:
    (failed,) = site.send(command(b"twice", id="twice", fail=True))
    site.ending(failed)
    headers = (("streamapp-redrive", letter_of(site, failed).encode()),)
    mended = command(b"twice", id="twice", headers=headers)
    first, second = site.send(mended, mended)
    endings = site.endings([first, second])
    assert [endings[draft.place]["status"] for draft in (first, second)] == ["succeeded", "duplicate"]
    assert "already redriven" in run("redrive", headers[0][1].decode()).stdout


def test_a_command_that_blocks_its_key_is_redriven_in_place(site: Installation, run: Run) -> None:
    blocked, after = site.send(
        command(b"place", id="place-1", name="block.it", fail_first=1), command(b"place", id="place-2", name="block.it")
    )
    eventually(lambda: _stands(site, blocked, "blocked"))
    blocked_id = f"{site.name}-{blocked.partition}-{blocked.offset}-1"
    refused = run("redrive", blocked_id, "--params", "{}")
    assert refused.exit_code == 2
    assert "holds its key and is tried again as it is" in refused.stderr
    assert site.statuses([after]) == {"accepted": 1}

    (line,) = lines(run("redrive", "--all", "--key", "place", "--json"))
    assert (line["id"], line["way"], line["answer"]) == (blocked_id, "in place", "applied")
    endings = site.endings([blocked, after])
    assert [endings[draft.place]["status"] for draft in (blocked, after)] == ["succeeded", "succeeded"]
    assert endings[after.place]["timings"]["started_at"] >= endings[blocked.place]["timings"]["ended_at"]
    assert "redriven: 0 at the end of their keys, 0 in place, 0 not" in run("redrive", "--key", "place").stderr


def _stands(site: Installation, draft: Draft, status: str) -> None:
    assert site.statuses([draft]) == {status: 1}


def test_a_letter_that_was_edited(
    site: Installation, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (bad,) = site.send(Draft(value=b'{"command": "app.probe", "params": ', key=b"edit", headers=(("mine", b"\xff"),)))
    assert site.ending(bad)["reason"] == "undecodable"
    dlq_id = letter_of(site, bad)
    editor = tmp_path / "editor"
    editor.write_text(
        '#!/bin/sh\nsleep 0.01\nsed -i \'s/"params": /"params": "{}"}/\' "$1"\ntouch -d 2050-01-01 "$1"\n'
    )
    editor.chmod(0o755)
    monkeypatch.setenv("EDITOR", str(editor))
    monkeypatch.delenv("VISUAL", raising=False)
    (line,) = lines(run("redrive", dlq_id, "--edit", "--json"))
    again = at(site, bad, line)
    assert site.ending(again)["status"] == "succeeded"
    (record,) = [record for record in site.records() if record.place == again.place]
    assert dict(record.headers) == {"mine": b"\xff", "streamapp-redrive": dlq_id.encode()}


def test_avro_stays_avro_of_its_writers_schema(site: Installation, run: Run) -> None:
    assert site.registry_url is not None
    schema_id = register(site.registry_url, f"{site.name}-value", TWO_FIELDS)
    value = framed(schema_id, TWO_FIELDS, {"command": "app.probe", "params": '{"fail": true}'})
    (failed,) = site.send(Draft(value=value, key=b"avro"))
    first = site.ending(failed)
    (line,) = lines(run("redrive", letter_of(site, failed), "--params", '{"n": 1}', "--json"))
    again = at(site, failed, line)
    ending = site.ending(again)
    assert (ending["status"], ending["command_id"], ending["round"]) == ("succeeded", first["command_id"], 2)
    (record,) = [record for record in site.records() if record.place == again.place]
    assert record.value == framed(schema_id, TWO_FIELDS, {"command": "app.probe", "params": '{"n": 1}'})


def test_a_discarded_letter_is_left_alone_and_stays(site: Installation, run: Run) -> None:
    (bad,) = site.send(Draft(value=b"junk", key=b"junk"))
    site.ending(bad)
    dlq_id = letter_of(site, bad)
    before = [record for record in site.dead_letters() if record.key == b"junk"]
    assert run("dead-letters", "discard", dlq_id, "--note", "a test", "--by", "ann").exit_code == 0
    assert run("dead-letters", "discard", dlq_id).stderr.startswith("discarded 0")
    (listed,) = lines(run("dead-letters", "list", "--key", "junk", "--json"))
    assert (listed["state"], listed["discarded"]["by"], listed["discarded"]["note"]) == ("discarded", "ann", "a test")
    (line,) = lines(run("redrive", "--key", "junk", "--json"))
    assert (line["way"], line["why"]) == ("not redriven", "discarded")
    letter, mark = [record for record in site.dead_letters() if record.key == b"junk"]
    assert [letter] == before
    assert (mark.partition, dict(mark.headers)) == (letter.partition, {"streamapp-discard": dlq_id.encode()})


def test_a_command_that_is_written_like_a_mark_discards_nothing_and_hides_nothing(site: Installation, run: Run) -> None:
    (bad,) = site.send(Draft(value=b"junk", key=b"forged"))
    site.ending(bad)
    ids = [letter_of(site, bad)]
    mark = encode_discard(b"forged", Discard(dlq_id=ids[0], by="ann", at=datetime.now(UTC)))
    (forged,) = site.send(Draft(value=mark.value, key=b"forged", headers=tuple(mark.headers)))
    site.ending(forged)
    ids.append(letter_of(site, forged))
    listed = lines(run("dead-letters", "list", "--key", "forged", "--oldest", "--json"))
    assert [(one["id"], one["state"]) for one in listed] == [(one, "open") for one in ids]


def test_lists_and_counts(site: Installation, run: Run) -> None:
    sent = site.send(
        command(b"list", id="list-1", fail=True),
        Draft(value=b"{}", key=b"list"),
        command(b"list", id="list-3", fail=True),
    )
    site.endings(sent)
    ids = [letter_of(site, draft) for draft in sent]
    listed = lines(run("dead-letters", "list", "--key", "list", "--oldest", "--json"))
    assert [one["id"] for one in listed] == ids
    assert [one["reason"] for one in listed] == ["run_failed", "invalid_command", "run_failed"]
    assert listed[0]["dag_id"] == "probe"
    (newest,) = lines(run("dead-letters", "list", "--key", "list", "--limit", "1", "--json"))
    assert newest["id"] == ids[2]
    text = run("dead-letters", "list", "--key", "list", "--reason", "run_failed", "--command", "app.p*", "--dag", "pr*")
    assert [line.split()[0] for line in text.stdout.splitlines()] == ["ID", ids[2], ids[0]]
    assert lines(run("dead-letters", "list", "--key", "list", "--until", "2020-01-01T00:00:00Z", "--json")) == []
    nothing = run("dead-letters", "list", "--key", "list", "--until", "2020-01-01T00:00:00Z")
    assert (nothing.exit_code, nothing.stdout) == (0, "")
    assert "no dead letter" in nothing.stderr
    (counts,) = lines(run("dead-letters", "stats", "--key", "list", "--json"))
    assert counts == {
        "run_failed": {"open": 2, "redriven": 0, "discarded": 0},
        "invalid_command": {"open": 1, "redriven": 0, "discarded": 0},
    }
    shown = run("dead-letters", "show", ids[0]).stdout
    value = re.search(r"^value: +(.*)$", shown, re.MULTILINE)
    assert value, shown
    assert json.loads(value[1])["params"] == {"fail": True}
    assert re.search(r"^value is: +json$", shown, re.MULTILINE)
    named_as_a_command = run("redrive", "list-1")
    assert named_as_a_command.exit_code == 1
    assert "`streamapp dead-letters list` shows their ids" in named_as_a_command.stderr
    missing = run("dead-letters", "show", "nothing-0-0-1")
    assert missing.exit_code == 1
    assert "there is no dead letter nothing-0-0-1" in missing.stderr


def test_a_key_is_replayed_by_the_newest_rounds_and_goes_on_where_it_stopped(site: Installation, run: Run) -> None:
    good, bad, double, tombstone = site.send(
        command(b"replay", id="replay-1"),
        command(b"replay", id="replay-2", fail=True),
        command(b"replay", id="replay-1"),
        Draft(value=None, key=b"replay"),
    )
    site.endings([good, bad, double, tombstone])
    (line,) = lines(run("redrive", letter_of(site, bad), "--params", '{"mended": true}', "--json"))
    site.ending(at(site, bad, line))

    dry = lines(run("replay", "--key", "replay", "--dry-run", "--json"))
    assert [(one["offset"], one.get("round"), one.get("why_not")) for one in dry] == [
        (good.offset, 2, None),
        (bad.offset, 3, None),
        (double.offset, None, "it was a duplicate"),
        (tombstone.offset, None, "it is a tombstone"),
        (line["offset"], None, "it is a later round of another record, which is replayed by its newest"),
    ]
    place = ["--partition", str(good.partition), "--offsets", f"{good.offset}..{good.offset}"]
    sent = lines(run("replay", *place, "--replay-id", "monday", "--json"))
    sent += lines(run("replay", "--key", "replay", "--replay-id", "monday", "--json"))
    assert [one["offset"] for one in sent] == [good.offset, bad.offset]
    endings = [site.ending(at(site, good, one)) for one in sent]
    assert [one["status"] for one in endings] == ["succeeded", "succeeded"]
    assert [(one["command_id"], one["round"], one["replay_id"]) for one in endings] == [
        ("replay-1", 2, "monday"),
        ("replay-2", 3, "monday"),
    ]
    assert site.run_of(at(site, bad, sent[1]))["conf"]["mended"] is True
    third = run("replay", "--key", "replay", "--replay-id", "monday")
    assert "0 of 8 commands" in third.stderr or "0 of 7 commands" in third.stderr
    none = run("replay", "--key", "replay", "--only-status", "failed", "--dry-run")
    assert "would be replayed: 0" in none.stderr
    span = run("replay", "--key", "replay", "--since", "1h", "--until", "2100-01-01T00:00:00Z", "--dry-run")
    assert "would be replayed: 2" in span.stderr
    assert "would be replayed: 0 of 0" in run("replay", "--until", "2020-01-01T00:00:00Z", "--dry-run").stderr


def test_history_has_no_violation(site: Installation) -> None:
    """Stands behind the others: judges all of them."""
    assert site.violations() == []


LETTERS = 1000
KEYS = 50
PARTITIONS = 4
PIPE_BYTES = 4096
LATE_ONES = ("--all", "--command", "late.*")


@pytest.mark.timeout(400)
def test_a_bulk_redrive_and_a_replay_that_are_killed_go_on_without_loss_or_doubles(
    kafka: Kafka, airflow: FakeAirflowProcess, tmp_path: Path
) -> None:
    routes = tmp_path / "routes.toml"
    routes.write_text(ROUTES)
    with Installation("bulk", tmp_path, kafka, airflow, partitions=PARTITIONS, routes_file=str(routes)) as site:
        site.create_topics()
        _, two = site.start_workers("one", "two")
        sent = site.send(
            *[command(f"k{n % KEYS}".encode(), id=f"late-{n}", name="late.probe", seconds=0) for n in range(LETTERS)]
        )
        endings = site.endings(sent, seconds=60)
        assert {ending["reason"] for ending in endings.values()} == {"unknown_route"}
        routes.write_text(ROUTES + LATE)
        for partition in range(PARTITIONS):
            eventually(lambda partition=partition: _routed(site, partition), seconds=60)

        before = len(site.records())
        _kill_in_the_middle(site, tmp_path, ["redrive", *LATE_ONES], lambda: _more(site, before + 1))
        two.kill()
        done = len(site.records()) - before
        assert 0 < done < LETTERS
        two.start(wait=False)

        rest = lines(invoke(site, "redrive", *LATE_ONES, "--json"))
        ways = Counter(line["way"] for line in rest)
        assert ways.total() == LETTERS
        assert done <= ways["not redriven"] < LETTERS
        ended = _rounds(site, "streamapp-redrive")
        assert Counter(ending["command_id"] for ending in ended.values()) == {f"late-{n}": 1 for n in range(LETTERS)}
        by_key: dict[bytes | None, list[int]] = {}
        for ending in sorted(ended.values(), key=place_of):
            by_key.setdefault(ending["record"].key, []).append(int(ending["command_id"].removeprefix("late-")))
        assert all(numbers == sorted(numbers) for numbers in by_key.values())
        assert "redriven: 0 at the end of their keys" in invoke(site, "redrive", *LATE_ONES).stderr

        before = len(site.records())
        asked = invoke(site, "replay", "--since", "1h", "--only-status", "succeeded")
        assert asked.exit_code == 1
        assert f"Run {LETTERS + PARTITIONS} commands again?" in asked.stderr  # a probe for each partition
        assert len(site.records()) == before
        replay = ["replay", "--since", "1h", "--only-status", "succeeded", "--replay-id", "again", "--yes"]
        _kill_in_the_middle(site, tmp_path, replay, lambda: _more(site, before + 1))
        done = len(site.records()) - before
        assert len(lines(invoke(site, *replay, "--json"))) <= LETTERS + PARTITIONS - done
        assert 0 < done < LETTERS
        replayed = Counter(ending["command_id"] for ending in _rounds(site, "streamapp-replay").values())
        assert replayed == Counter({run["conf"]["_command"]["id"]: 1 for run in site.runs()})
        assert invoke(site, *replay, "--json").stdout == ""
        assert site.violations() == []


def _routed(site: Installation, partition: int) -> None:
    """Until the worker of a partition has read the file again."""
    (probe,) = site.send(command(b"other", name="probing.routes", seconds=0, partition=partition))
    assert site.ending(probe)["status"] == "succeeded"


def _rounds(site: Installation, header: str) -> dict[tuple[int, int], dict[str, Any]]:
    """What has succeeded of the records with a header."""
    sent = [
        Draft(value=None, partition=record.partition, offset=record.offset)
        for record in site.records()
        if header in dict(record.headers)
    ]
    ended = site.endings(sent, seconds=180)
    # What a killed tool had sent may reach Kafka while the next one looks: the workers refuse it the second time.
    assert {ending["status"] for ending in ended.values()} <= {"succeeded", "duplicate"}
    return {place: ending for place, ending in ended.items() if ending["status"] == "succeeded"}


def _kill_in_the_middle(site: Installation, folder: Path, call: list[str], begun: Callable[[], None]) -> None:
    with subprocess.Popen(
        [STREAMAPP, *call],
        env=site.environment | {"PYTHONPATH": str(ROOT)}, cwd=folder,
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
    ) as tool:  # fmt: skip
        # Nobody reads what it says, so it stands still long before it is through.
        assert tool.stdout is not None
        fcntl.fcntl(tool.stdout, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        eventually(begun, seconds=60)
        tool.kill()


def _more(site: Installation, count: int) -> None:
    assert len(site.records()) >= count
