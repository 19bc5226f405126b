import asyncio
from datetime import timedelta
from importlib.metadata import version

import pytest

from streamapp.airflow.breaker import FAILURES
from streamapp.airflow.port import Dag
from streamapp.core.model import Action, OnFailure, Ordering, Original, Reason, RunState, Status
from tests.support.builders import (
    AT,
    SECOND,
    command,
    entry,
    expire,
    instructed,
    observed,
    policy,
    received,
    rejection,
    run_ended,
    triggered,
)


def ids(commands):
    return [fields["command_id"] for fields in commands]


def run(bench, offset, key=b"k", result=RunState.SUCCESS, **fields):
    """Let a command run to its end."""
    bench.fold(observed(triggered(bench.entry(key, offset))))
    bench.fold(observed(run_ended(bench.entry(key, offset), result, **fields)))


# One command


async def test_a_command_has_the_names_of_the_outcome_record(bench):
    content = command(id="c5", correlation_id="order-1", causation_id="cause-1", params='{"n": 1}')
    bench.fold(received(5, content=content, at=AT + timedelta(milliseconds=7)))
    assert await bench.get("/api/v1/commands/c5") == {
        "command_id": "c5",
        "key": "k",
        "key_base64": None,
        "command": "app.probe",
        "dag_id": "probe",
        "dag_run_id": None,
        "round": 1,
        "attempt": 0,
        "status": "accepted",
        "waiting_for": "its start, which comes next; 0 runs of probe are under way here, 16 may be",
        "reason": None,
        "detail": None,
        "at": "2026-01-01T12:00:00.007Z",
        "source": {"topic": "commands", "partition": 0, "offset": 5},
        "timings": {
            "accepted_at": "2026-01-01T12:00:00.007Z",
            "triggered_at": None,
            "started_at": None,
            "ended_at": None,
        },
        "correlation_id": "order-1",
        "causation_id": "cause-1",
        "duplicate_of": None,
        "recorded_at": "2026-01-01T11:59:59.000Z",
        "not_before": None,
        "deadline": None,
        "ordering": "completed",
        "on_failure": "dead_letter",
        "max_attempts": 1,
        "params": '{"n": 1}',
    }


async def test_a_run_and_its_end(bench):
    bench.fold(received(0))
    bench.fold(observed(triggered(bench.entry(b"k", 0))))
    running = await bench.get("/api/v1/commands/c0")
    assert running["status"] == "triggered"
    assert running["waiting_for"].startswith("the end of its run")
    bench.fold(observed(run_ended(bench.entry(b"k", 0))))
    ended = await bench.get("/api/v1/commands/c0")
    assert ended["status"] == "succeeded"
    assert ended["waiting_for"] is None
    assert ended["params"] is None
    assert ended["timings"] == {
        "accepted_at": "2026-01-01T12:00:00.000Z",
        "triggered_at": "2026-01-01T12:00:01.000Z",
        "started_at": "2026-01-01T12:00:02.000Z",
        "ended_at": "2026-01-01T12:00:03.000Z",
    }


async def test_a_rejected_record_has_its_reason(bench):
    bench.fold(received(0, content=rejection(Reason.INVALID_PARAMS, detail="not JSON", id="c0")))
    answer = await bench.get("/api/v1/commands/c0")
    assert (answer["status"], answer["reason"], answer["detail"]) == ("rejected", "invalid_params", "not JSON")
    assert answer["dag_id"] is None


async def test_an_unknown_command(bench):
    assert await bench.get("/api/v1/commands/nobody", status=404) == {"error": "no such command is known"}


async def test_an_id_used_for_two_keys_shows_the_newer_command(bench):
    bench.fold(received(0, content=command(id="same"), key=b"a", recorded_at=AT), 0)
    bench.fold(received(0, content=command(id="same"), key=b"b", recorded_at=AT - SECOND, partition=1), 1)
    assert (await bench.get("/api/v1/commands/same"))["key"] == "a"


def one_id_on_two_partitions(here, there):
    """Blocked in one place; a later one with the same id was passed over in the other, as its run existed."""
    blocking = policy(on_failure=OnFailure.BLOCK)
    here.fold(received(0, content=command(id="same"), key=b"a", recorded_at=AT - SECOND, policy=blocking), 0)
    here.fold(observed(triggered(here.entry(b"a", 0))), 0)
    here.fold(observed(run_ended(here.entry(b"a", 0), RunState.FAILED)), 0)
    there.fold(received(0, content=command(id="same"), key=b"b", recorded_at=AT, partition=1), 1)
    second = there.entry(b"b", 0, 1)
    there.fold(observed(run_ended(second, RunState.DUPLICATE, duplicate_of="commands-0-0")), 1)


async def test_an_id_on_two_partitions_shows_the_command_that_can_be_instructed(bench):
    one_id_on_two_partitions(bench, bench)
    found = await bench.get("/api/v1/commands/same")
    assert (found["status"], found["source"]["partition"]) == ("blocked", 0)


async def test_an_id_with_two_workers_shows_the_command_that_can_be_instructed(benches):
    one, other = await benches((0,), (1,))
    one_id_on_two_partitions(one, other)
    for bench in (one, other):
        found = await bench.get("/api/v1/commands/same")
        assert (found["status"], found["source"]["partition"]) == ("blocked", 0)


async def test_what_kafka_has_not_acknowledged_is_not_shown(bench):
    bench.folds.fold(("log", 0), bench.partitions.get(0), received(0), lambda: None)
    await bench.get("/api/v1/commands/c0", status=404)
    bench.settle()
    await bench.get("/api/v1/commands/c0")


async def test_halves_of_surrogate_pairs_are_replaced(bench):
    bench.fold(received(0))
    run(bench, 0, result=RunState.FAILED, detail="bad \ud83d half")
    assert (await bench.get("/api/v1/commands/c0"))["detail"] == "bad ? half"
    assert "bad ? half" in await bench.page("/commands/c0")


# Many commands


async def test_the_newest_come_first(bench):
    for offset in range(3):
        bench.fold(received(offset, key=b"k%d" % offset, at=AT + offset * SECOND))
    bench.fold(observed(triggered(bench.entry(b"k0", 0)), at=AT + 10 * SECOND))
    answer = await bench.get("/api/v1/commands")
    assert ids(answer["commands"]) == ["c0", "c2", "c1"]
    assert answer["truncated"] is False
    assert answer["incomplete"] == []


async def test_what_was_there_before_the_worker_started_is_found_too(bench):
    bench.fold(received(0))
    run(bench, 0)
    bench.fold(received(1, key=b"a"))
    bench.fold(received(2, policy=policy(ordering=Ordering.NONE)))
    bench.fold(received(3, key=None))
    bench.outcomes._last.clear()
    answer = await bench.get("/api/v1/commands")
    assert sorted(ids(answer["commands"])) == ["c0", "c1", "c2", "c3"]
    assert answer["truncated"] is False


async def test_filters(bench):
    bench.fold(received(0, key=b"a"))
    bench.fold(received(1, key=b"b", policy=policy(dag_id="other")))
    bench.fold(received(2, key=b"b"))
    run(bench, 0, key=b"a")

    async def found(query):
        return sorted(ids((await bench.get(f"/api/v1/commands?{query}"))["commands"]))

    for remembered in (True, False):
        assert await found("status=succeeded") == ["c0"]
        assert await found("status=accepted") == ["c1", "c2"]
        assert await found("status=accepted&status=succeeded") == ["c0", "c1", "c2"]
        assert await found("dag=other") == ["c1"]
        assert await found("key=b") == ["c1", "c2"]
        assert await found("key=b&dag=probe") == ["c2"]
        assert await found("key=a&status=accepted") == []
        assert await found("key=Yg&base64=1") == ["c1", "c2"]
        assert await found("key=&status=&dag=") == ["c0", "c1", "c2"]
        assert remembered == bool(bench.outcomes._last)
        bench.outcomes._last.clear()


async def test_no_more_than_asked_for_and_said_so(bench):
    for offset in range(5):
        bench.fold(received(offset, key=b"%d" % offset, at=AT + offset * SECOND))
    answer = await bench.get("/api/v1/commands?limit=2")
    assert ids(answer["commands"]) == ["c4", "c3"]
    assert answer["truncated"] is True
    assert (await bench.get("/api/v1/commands?limit=5"))["truncated"] is False


@pytest.mark.parametrize(
    "query",
    ["limit=0", "limit=501", "limit=-1", "limit=x", "limit=1.5", "limit=%C2%B2", "limit=99999999999999999999",
     "limit=00000010000000", pytest.param(f"limit=000000100{'0' * 5000}", id="limit=many digits"),
     "status=gone", "key=%2A&base64=1", "key=%C3%A4&base64=1"],
)  # fmt: skip
async def test_what_makes_no_sense_is_refused(bench, query):
    answer = await bench.get(f"/api/v1/commands?{query}", status=400)
    assert answer["error"]


# One key


async def test_a_keys_queue_in_order_and_what_ended_last(bench):
    for offset in range(5):
        bench.fold(received(offset))
    bench.fold(received(5, key=b"other"))
    run(bench, 0)
    bench.fold(observed(triggered(bench.entry(b"k", 1))))
    answer = await bench.get("/api/v1/keys/k")
    assert (answer["key"], answer["key_base64"]) == ("k", None)
    assert ids(answer["queue"]) == ["c1", "c2", "c3", "c4"]
    assert answer["queue"][0]["waiting_for"].startswith("the end of its run")
    behind = "its turn: c1 (commands-0-1), the first of its key, waits for the end of its run run-c1-1.1"
    assert answer["queue"][3]["waiting_for"] == behind
    assert ids(answer["history"]) == ["c0"]
    assert not answer["queue_truncated"]
    assert not answer["history_truncated"]


async def test_a_keys_commands_that_need_no_turn_are_in_its_queue(bench):
    bench.fold(received(0, policy=policy(ordering=Ordering.NONE)))
    bench.fold(received(1))
    bench.fold(received(2, policy=policy(ordering=Ordering.TRIGGERED)))
    bench.fold(received(3, key=b"other", policy=policy(ordering=Ordering.NONE)))
    bench.fold(received(4, key=None))
    assert ids((await bench.get("/api/v1/keys/k"))["queue"]) == ["c0", "c1", "c2"]


async def test_many_that_need_no_turn_are_each_there_once(bench):
    bench.store(*(entry(offset, policy=policy(ordering=Ordering.NONE)) for offset in range(120)))
    assert ids((await bench.get("/api/v1/keys/k"))["queue"]) == [f"c{offset}" for offset in range(120)]


async def test_a_key_that_holds_the_start_of_another(bench):
    for offset, key in enumerate([b"", b"k", b"kk", b"k\0"]):
        bench.fold(received(offset, key=key))
        run(bench, offset, key=key)
        bench.fold(received(offset + 10, key=key))
    for offset, path in enumerate(["/api/v1/keys/", "/api/v1/keys/k", "/api/v1/keys/kk", "/api/v1/keys/a%00"]):
        answer = await bench.get(path.replace("a%00", "k%00"))
        assert (ids(answer["history"]), ids(answer["queue"])) == ([f"c{offset}"], [f"c{offset + 10}"])


async def test_a_key_on_two_partitions_is_one_key(bench):
    bench.fold(received(0), 0)
    bench.fold(received(7, partition=1), 1)
    assert ids((await bench.get("/api/v1/keys/k"))["queue"]) == ["c0", "c7"]


async def test_a_key_that_is_not_text(bench):
    bench.fold(received(0, key=b"\xff\xfe?"))
    answer = await bench.get("/api/v1/keys/__4_?base64=1")
    assert answer == await bench.get("/api/v1/keys/%2F%2F4%2F?base64=1")
    assert (answer["key"], answer["key_base64"]) == ("//4/", "//4/")
    assert answer["queue"][0]["key_base64"] == "//4/"
    bench.fold(received(1, key=b"//4/"))
    assert (await bench.get("/api/v1/keys/%2F%2F4%2F"))["key_base64"] is None


async def test_where_a_key_is_on_hold(benches):
    one, two = await benches((0,), (1,))
    said = instructed(Action.HOLD, key=b"k", by="ann", reason="mail is down")
    two.fold(said, 1)
    for bench in (one, two):
        (hold,) = (await bench.get("/api/v1/keys/k"))["holds"]
        assert hold == {"partition": 1, "by": "ann", "reason": "mail is down", "at": "2026-01-01T12:00:00.000Z"}


async def test_how_many_are_before_it(bench):
    bench.store(*(entry(offset) for offset in range(1300)))
    bench.store(entry(2000, key=b"k2"))

    async def waits(offset):
        return (await bench.get(f"/api/v1/commands/c{offset}"))["waiting_for"]

    assert (await waits(0)).startswith("its start")
    assert (await waits(1)).startswith("its turn: one command of its key is before it, c0 (commands-0-0), and waits")
    assert (await waits(700)).startswith("its turn: 700 commands of its key are before it; the first, c0 (commands")
    assert (await waits(1000)).startswith("its turn: 1000 commands of its key are before it")
    bench.ledger.reads = 0
    assert (await waits(1299)).startswith("its turn: at least 1000 commands of its key are before it")
    assert bench.ledger.reads < 1300


async def test_what_operators_have_stopped(bench):
    def give(action, offset, **about):
        bench.fold(instructed(action, offset=offset, by="ann", reason="mail is down", **about))

    async def waits(offset):
        return (await bench.get(f"/api/v1/commands/c{offset}"))["waiting_for"]

    for offset in range(2):
        bench.fold(received(offset))
    bench.fold(received(2, key=None))
    give(Action.HOLD, 10, key=b"k")
    held = "its key to be released: on hold since 2026-01-01T12:00:00.000Z by ann: mail is down"
    assert await waits(0) == held
    assert await waits(1) == f"its turn: one command of its key is before it, c0 (commands-0-0), and waits for {held}"
    assert (await waits(2)).startswith("its start")
    give(Action.PAUSE, 11, dag_id="probe")
    give(Action.PAUSE, 12)
    paused = "paused since 2026-01-01T12:00:00.000Z by ann: mail is down"
    of_all = f"the DAG probe to be resumed: {paused}, and for all DAGs to be resumed: {paused}"
    assert await waits(0) == f"{held}, and for {of_all}"
    assert await waits(2) == of_all
    give(Action.RESUME, 13, dag_id="probe")
    give(Action.RESUME, 14)
    give(Action.RELEASE, 15, key=b"k")
    assert (await waits(0)).startswith("its start")


async def test_where_a_dispatch_is(bench):
    bench.fold(received(0))
    note = bench.ready.take()
    assert (await bench.get("/api/v1/commands/c0"))["waiting_for"] == "its run: Airflow is being asked for it"
    bench.ready.done(note, timedelta(seconds=5))
    said = (await bench.get("/api/v1/commands/c0"))["waiting_for"]
    assert said == "the next try: Airflow was asked for its run in vain, and is asked again at 2026-01-01T12:00:05.000Z"


async def test_a_worker_that_starts_nothing(bench):
    bench.fold(received(0))
    bench.change(lease_remaining=timedelta(0))
    said = (await bench.get("/api/v1/commands/c0"))["waiting_for"]
    assert said.startswith("its worker, which starts nothing just now: the membership in the group has run out")
    bench.change(lease_remaining=timedelta(seconds=5))
    bench.caught_up = False
    said = (await bench.get("/api/v1/commands/c0"))["waiting_for"]
    assert said.endswith("just now: it reads what the worker before it has seen")


async def test_an_unknown_key(bench):
    assert await bench.get("/api/v1/keys/nobody", status=404) == {"error": "no such key is known"}
    await bench.get("/api/v1/keys/not*base64?base64=1", status=400)


async def test_a_blocked_key(bench):
    blocking = policy(on_failure=OnFailure.BLOCK)
    bench.fold(received(0, policy=blocking))
    bench.fold(received(1, policy=blocking))
    run(bench, 0, result=RunState.FAILED)
    answer = await bench.get("/api/v1/keys/k")
    assert [fields["status"] for fields in answer["queue"]] == ["blocked", "accepted"]
    assert "an operator" in answer["queue"][0]["waiting_for"]


async def test_an_expired_command_that_may_have_a_run(bench):
    bench.fold(received(0, content=command(id="c0", deadline=AT)))
    bench.fold(expire(bench.entry(b"k", 0)))
    assert "ends as expired" in (await bench.get("/api/v1/commands/c0"))["waiting_for"]


async def test_what_ended_at_the_same_time_is_in_the_order_of_offsets(bench):
    bench.store(*(ended(offset) for offset in range(60)))
    history = ids((await bench.get("/api/v1/keys/k"))["history"])
    assert history == [f"c{offset}" for offset in range(59, 9, -1)]
    assert ids((await bench.get("/api/v1/commands?limit=500"))["commands"])[:2] == ["c59", "c58"]


# Bounds


def ended(offset, **fields):
    return entry(offset, **({"status": Status.SUCCEEDED, "params": None, "original": None} | fields))


async def test_a_list_touches_a_bounded_number_of_rows(bench):
    bench.store(*(ended(offset, key=b"%d" % offset) for offset in range(6000)))
    bench.ledger.reads = 0
    answer = await bench.get("/api/v1/commands?status=failed")
    assert answer == {"commands": [], "truncated": True, "incomplete": []}
    assert bench.ledger.reads < 3000


@pytest.mark.parametrize("query", ["status=blocked", "status=accepted&status=blocked", "dag=stuck"])
async def test_a_command_that_was_blocked_long_ago_is_found_behind_thousands_that_have_ended_since(bench, query):
    for offset in range(1, 2101):
        bench.fold(received(offset, key=b"%d" % offset, content=rejection(Reason.INVALID_PARAMS, id=f"c{offset}")))
    bench.store(entry(0, key=b"zzz", status=Status.BLOCKED, policy=policy(dag_id="stuck")))
    bench.ledger.reads = 0
    assert ids((await bench.get(f"/api/v1/commands?{query}"))["commands"]) == ["c0"]
    assert bench.ledger.reads < 3000


async def test_large_records_bound_a_list_too(bench):
    large = Original(b"x" * 2**20)
    bench.store(*(entry(offset, key=b"%d" % offset, original=large) for offset in range(30)))
    bench.ledger.reads = 0
    answer = await bench.get("/api/v1/commands?status=blocked")
    assert answer["truncated"]
    assert bench.ledger.reads < 30


async def test_a_deep_queue_does_not_hide_other_keys(bench):
    bench.store(*(entry(offset, key=b"hot") for offset in range(3000)), entry(3000, key=b"zzz"))
    answer = await bench.get("/api/v1/commands?limit=500")
    assert "c3000" in ids(answer["commands"])
    assert "c0" in ids(answer["commands"])
    assert len(answer["commands"]) < 100
    assert answer["truncated"]


async def test_the_front_of_a_deep_queue(bench):
    bench.store(*(entry(offset) for offset in range(3000)))
    bench.ledger.reads = 0
    answer = await bench.get("/api/v1/keys/k")
    assert ids(answer["queue"]) == [f"c{offset}" for offset in range(200)]
    assert answer["queue_truncated"]
    assert bench.ledger.reads < 1200


async def test_large_records_bound_the_front_of_a_queue(bench):
    large = Original(b"x" * 2**20)
    bench.store(*(entry(offset, original=large) for offset in range(100)))
    answer = await bench.get("/api/v1/keys/k")
    assert 10 < len(answer["queue"]) <= 16
    assert ids(answer["queue"]) == [f"c{offset}" for offset in range(len(answer["queue"]))]
    assert answer["queue_truncated"]


@pytest.mark.parametrize("step", [1, 1000, 999_999_937])
@pytest.mark.parametrize("count", [49, 50, 51, 3000])
async def test_the_end_of_a_long_history(bench, count, step):
    bench.store(*(ended(number * step, at=AT + number * SECOND) for number in range(count)), ended(1, key=b"l"))
    bench.ledger.reads = 0
    answer = await bench.get("/api/v1/keys/k")
    assert ids(answer["history"]) == [f"c{number * step}" for number in range(count - 1, max(count - 51, -1), -1)]
    assert answer["history_truncated"] == (count > 50)
    assert bench.ledger.reads < 4000


@pytest.mark.parametrize("back", [False, True])
@pytest.mark.parametrize("path", ["/commands?limit=500", "/commands?status=failed", "/commands/c250", "/keys/k"])
async def test_partitions_that_are_taken_away_in_the_middle(bench, path, back):
    for offset in range(60):
        bench.fold(received(offset, key=b"%d" % offset))
    bench.store(
        *(entry(offset, policy=policy(ordering=Ordering.NONE)) for offset in range(100, 160)),
        *(entry(offset) for offset in range(200, 300)),
        *(ended(offset) for offset in range(300, 400)),
    )
    turns = 0

    async def sleep(_):
        nonlocal turns
        turns -= 1
        if turns == 0:
            bench.take_away()
            if back:
                bench.give_back()

    bench.clock.sleep = sleep
    for first in (*range(1, 10), *range(10, 1000, 17)):
        bench.give_back()
        turns = first
        answer = await bench.ask(f"/api/v1{path}")
        content = await answer.json()
        if turns > 0:
            break  # it was done before
        assert answer.status in {200, 503}, content
        looked_up_again = path == "/commands/c250" and back
        assert content.get("incomplete") == (None if looked_up_again else [bench.url])
        bench.give_back()
        turns = first
        assert (await bench.ask(path.replace("/commands?", "/?"))).status in {200, 503}
    assert first > 2


async def test_many_readers_take_turns(bench):
    bench.store(*(entry(offset, key=b"%d" % offset) for offset in range(300)))
    reading, most = 0, 0
    sleep = bench.clock.sleep

    async def watched(delay):
        nonlocal reading, most
        reading += 1
        most = max(most, reading)
        await sleep(delay)
        reading -= 1

    bench.clock.sleep = watched
    await asyncio.gather(*(bench.get("/api/v1/commands?limit=500") for _ in range(5)))
    assert most == 1


# This worker


async def test_the_worker_itself(bench):
    bench.fold(received(0))
    bench.followed = {"probe": 3}
    bench.passed_over = 2
    bench.gate.close("ready")
    bench.change(standbys={2: 7})
    answer = await bench.get("/api/v1/status")
    assert answer.pop("version") == version("streamapp")
    commands = answer.pop("commands")
    assert commands["queued"] == 1
    assert answer == {
        "worker": bench.url,
        "ready": True,
        "problems": [],
        "partitions": [0, 1],
        "standbys": {"2": 7},
        "held": ["ready"],
        "lease_seconds": 5.0,
        "folds": {"open": 0, "acked": 1},
        "airflow": {
            "in_flight": 0,
            "limit": 1,
            "bound": 8,
            "lender": None,
            "breaker": "closed",
            "breaker_why": None,
            "runs": {"probe": 3},
            "missing": 0,
            "unfollowed": 0,
        },
        "dags": {"probe": {"queued": 1, "outstanding": 0, "cap": 16, "known": True, "paused": False, "missing": False}},
        "outcomes": {"accepted": 1},
        "passed_over": 2,
    }


async def test_a_paused_dag_and_an_airflow_that_is_down_are_told(bench):
    bench.airflow.dags["probe"] = Dag(max_active_runs=3, paused=True)
    bench.fold(received(0))
    await bench.dags.look()
    dag = (await bench.get("/api/v1/status"))["dags"]["probe"]
    assert (dag["paused"], dag["missing"], dag["queued"]) == (True, False, 1)
    assert "comes next" in (await bench.get("/api/v1/commands/c0"))["waiting_for"]
    for _ in range(FAILURES):
        bench.guard.breaker.failed("probe", "no connection", 0.0)
    bench.guard.breaker.is_not_well("no connection to Airflow")
    assert (await bench.get("/api/v1/status"))["airflow"]["breaker"] == "open"
    sentence = (await bench.get("/api/v1/commands/c0"))["waiting_for"]
    assert sentence == "Airflow, to which nothing is sent just now: no connection to Airflow"


# Manners


async def test_every_answer_has_the_headers(bench):
    paths = ("/", "/api/v1/commands", "/api/v1/nothing", "/nothing", "/health/live", "/metrics", "/static/console.css")
    for path in paths:
        headers = (await bench.ask(path)).headers
        assert headers["Content-Security-Policy"].startswith("default-src 'self';"), path
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Referrer-Policy"] == "no-referrer"


async def test_errors_are_json_for_machines(bench):
    assert await bench.get("/api/v1/nothing", status=404) == {"error": "404: Not Found"}
    answer = await bench.session.post(bench.url + "/api/v1/commands")
    assert answer.status == 405
    assert "GET" in answer.headers["Allow"]
    assert await answer.json() == {"error": "405: Method Not Allowed"}


async def test_what_breaks_is_told_without_a_traceback(bench, caplog):
    bench.store(entry(0))
    for name in bench.ledger.databases[0]:
        bench.ledger.databases[0][name] = b"broken"
    answer = await bench.get("/api/v1/commands/c0", status=500)
    assert answer == {"error": "The console failed; the log says more."}
    assert "JSONDecodeError" in caplog.text
    assert "JSONDecodeError" not in await bench.page("/commands/c0", status=500)
