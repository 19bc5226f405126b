import asyncio
import json
from dataclasses import replace
from datetime import timedelta

import pytest

from streamapp.airflow.breaker import Breaker
from streamapp.airflow.guard import Guard
from streamapp.airflow.limit import Limit
from streamapp.airflow.port import Dag, DagMissing, DagRunState, Exists, Refused, TurnedAway, Uncertain
from streamapp.core.model import Entry, Outcome, Paused, Policy, Reason, RunState, Source, Status, Timings
from streamapp.core.run_id import params_digest
from streamapp.dispatch.trigger import DOUBT, MAX_DELAY, Postponed, Trigger
from streamapp.wire.outcomes import OutcomeCodec
from tests.support.manual_clock import START, ManualClock
from tests.support.memory_airflow import MemoryAirflow

GRACE = timedelta(seconds=60)
LEASE = timedelta(seconds=10)
RUN_ID = "cmd__shop__order-7__1.1"
SECOND = timedelta(seconds=1)
LONG = timedelta(minutes=2)


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture
def airflow(clock):
    return MemoryAirflow(clock)


@pytest.fixture
def trigger(airflow, clock):
    return Trigger(airflow, clock, app_id="shop", dag_missing_grace=GRACE, lease=LEASE, request_timeout=SECOND)


@pytest.fixture
def patient(airflow, clock):
    """Of an installation that lets Airflow take its time."""
    return Trigger(airflow, clock, app_id="shop", dag_missing_grace=GRACE, lease=LEASE, request_timeout=LONG)


@pytest.fixture
def entry():
    return Entry(
        source=Source("commands", 3, 41),
        key=b"customer-1",
        recorded_at=START,
        id="order-7",
        command="app.probe",
        status=Status.ACCEPTED,
        policy=Policy(dag_id="probe"),
        params='{"seconds": 1}',
        at=START,
        timings=Timings(accepted_at=START),
        correlation_id="corr",
        causation_id="cause",
    )


async def test_a_created_run_carries_params_and_mark(trigger, airflow, entry, clock):
    clock.advance(SECOND)
    outcome = await trigger.run(entry)
    run = airflow.runs["probe", RUN_ID]
    assert run.conf == {
        "seconds": 1,
        "_command": {
            "app_id": "shop",
            "id": "order-7",
            "key": "customer-1",
            "topic": "commands",
            "partition": 3,
            "offset": 41,
            "timestamp": "2026-01-01T12:00:00.000Z",
            "round": 1,
            "attempt": 1,
            "correlation_id": "corr",
            "digest": params_digest(entry.params),
        },
    }
    assert outcome == Outcome(
        command_id="order-7",
        key=b"customer-1",
        command="app.probe",
        dag_id="probe",
        dag_run_id=RUN_ID,
        round=1,
        attempt=1,
        status=Status.TRIGGERED,
        at=clock.now(),
        source=entry.source,
        timings=Timings(accepted_at=START, triggered_at=run.created_at),
        correlation_id="corr",
        causation_id="cause",
    )


async def test_the_next_attempt_is_another_run(trigger, airflow, entry):
    again = replace(entry, status=Status.ATTEMPT_FAILED, attempt=1, round=2)
    outcome = await trigger.run(again)
    assert (outcome.round, outcome.attempt, outcome.dag_run_id) == (2, 2, "cmd__shop__order-7__2.2")


@pytest.mark.parametrize("state", [DagRunState.QUEUED, DagRunState.SUCCESS])
async def test_our_run_is_adopted_whatever_became_of_it(trigger, airflow, entry, clock, state):
    first = await trigger.run(entry)
    if state.ended:
        airflow.end("probe", RUN_ID, state)
    clock.advance(SECOND)
    outcome = await trigger.run(entry)
    assert outcome == replace(first, at=clock.now())
    assert len(airflow.runs) == 1


async def test_the_mark_survives_json(trigger, airflow, entry):
    """Airflow stores the conf as JSON; what comes back must still be ours."""
    await trigger.run(entry)
    run = airflow.runs["probe", RUN_ID]
    airflow.runs["probe", RUN_ID] = replace(run, conf=json.loads(json.dumps(run.conf)))
    assert (await trigger.run(entry)).status is Status.TRIGGERED


@pytest.mark.parametrize(
    "change",
    [{"partition": 4}, {"offset": 40}, {"topic": "older"}, {"timestamp": "2025-01-01T00:00:00.000Z", "key": "other"}],
)
async def test_the_same_command_from_another_position_is_a_duplicate(trigger, airflow, entry, change):
    await trigger.run(entry)
    mark = {**airflow.runs["probe", RUN_ID].conf["_command"], **change}
    airflow.add("probe", RUN_ID, {"seconds": 1, "_command": mark})
    outcome = await trigger.run(entry)
    assert (outcome.status, outcome.result, outcome.reason) == (Status.RUN_ENDED, RunState.DUPLICATE, None)
    assert outcome.duplicate_of == f"{mark['topic']}-{mark['partition']}-{mark['offset']}"


@pytest.mark.parametrize(
    "conf",
    [
        {},
        {"_command": None},
        {"_command": "order-7"},
        {"_command": {"digest": "other"}},
        {"_command": {"id": "other", "offset": 1}},
        {"_command": {"app_id": "other", "offset": 1}},
        {"_command": {"round": 2}},
        {"_command": {"correlation_id": "other"}},
        {"_command": {"topic": "x" * 300}},
        {"_command": {"topic": "\ud800"}},
        {"_command": {"offset": 10**300}},
    ],
)
async def test_any_other_run_of_our_id_is_a_conflict(trigger, airflow, entry, conf):
    await trigger.run(entry)
    ours = airflow.runs["probe", RUN_ID].conf["_command"]
    theirs = conf.get("_command")
    airflow.add("probe", RUN_ID, {"_command": {**ours, **theirs}} if isinstance(theirs, dict) else conf)
    outcome = await trigger.run(entry)
    assert (outcome.status, outcome.result) == (Status.RUN_ENDED, RunState.NOT_CREATED)
    assert outcome.reason is Reason.RUN_ID_CONFLICT
    assert RUN_ID in outcome.detail
    codec = OutcomeCodec(None, "results")
    said = codec.encode(outcome)
    assert await codec.decode(said.key, said.value) is not None, "what can't be told holds the key for ever"


async def test_a_refusal_ends_the_attempt(trigger, airflow, entry):
    airflow.answers = [Refused(Reason.REFUSED_BY_AIRFLOW, "no email")]
    outcome = await trigger.run(entry)
    assert (outcome.status, outcome.result) == (Status.RUN_ENDED, RunState.NOT_CREATED)
    assert (outcome.reason, outcome.detail, outcome.attempt) == (Reason.REFUSED_BY_AIRFLOW, "no email", 1)


# Answers that settle nothing


async def test_an_uncertain_answer_is_settled_by_looking(trigger, airflow, entry):
    outcome = await trigger.run(entry)
    airflow.answers = [Uncertain("time-out")]
    assert (await trigger.run(entry)).dag_run_id == outcome.dag_run_id
    assert airflow.count("trigger") == 2
    assert len(airflow.runs) == 1


async def test_an_uncertain_answer_without_a_run_is_asked_again(trigger, airflow, entry):
    airflow.answers = [Uncertain("time-out")]
    assert await trigger.run(entry) == Postponed(SECOND, "time-out")
    assert (await trigger.run(entry)).status is Status.TRIGGERED
    assert [call[2] for call in airflow.calls if call[0] == "trigger"] == [RUN_ID, RUN_ID]


async def test_silence_after_silence_is_postponed(trigger, airflow, entry):
    airflow.answers = [Uncertain("time-out")]
    airflow.down = "no connection"
    assert await trigger.run(entry) == Postponed(SECOND, "time-out; no connection")


async def test_delays_double_up_to_a_cap_and_start_anew_for_the_next_attempt(trigger, airflow, entry):
    airflow.answers = [TurnedAway("429")] * 8
    delays = [(await trigger.run(entry)).delay.total_seconds() for _ in range(7)]
    assert delays == [1, 2, 4, 8, 16, 30, 30]
    assert MAX_DELAY.total_seconds() == 30
    assert (await trigger.run(replace(entry, round=2))).delay == SECOND


async def test_a_run_that_was_there_and_is_gone_is_never_asked_for_again(trigger, airflow, entry):
    """Its id is free since it was deleted: a second request would run the command twice."""
    airflow.answers = [Exists()]
    assert isinstance(await trigger.run(entry), Postponed)
    outcome = await trigger.run(entry)
    assert (outcome.result, outcome.reason) == (RunState.DELETED, Reason.RUN_DELETED)
    assert airflow.count("trigger") == 1


async def test_a_run_that_shows_itself_late_is_adopted(trigger, airflow, entry):
    await trigger.run(entry)
    run = airflow.runs.pop(("probe", RUN_ID))
    airflow.answers = [Exists()]
    assert isinstance(await trigger.run(entry), Postponed)
    airflow.runs["probe", RUN_ID] = run
    assert (await trigger.run(entry)).status is Status.TRIGGERED


# A DAG that Airflow doesn't know


async def test_an_unknown_dag_is_waited_for_and_then_refused(trigger, airflow, entry, clock):
    airflow.answers = [DagMissing("not found")] * 20
    waited = timedelta()
    while isinstance(answer := await trigger.run(entry), Postponed):
        clock.advance(answer.delay)
        waited += answer.delay
    assert waited == GRACE
    assert (answer.result, answer.reason) == (RunState.NOT_CREATED, Reason.DAG_NOT_FOUND)
    assert answer.detail == "not found"


async def test_a_dag_that_turns_up_in_time_runs(trigger, airflow, entry, clock):
    airflow.answers = [DagMissing("not found")]
    clock.advance((await trigger.run(entry)).delay)
    assert (await trigger.run(entry)).status is Status.TRIGGERED


async def test_the_grace_starts_anew_when_airflow_was_away(trigger, airflow, entry, clock):
    airflow.answers = [DagMissing("not found"), TurnedAway("no connection"), DagMissing("not found")]
    for _ in range(3):
        assert isinstance(await trigger.run(entry), Postponed)
        clock.advance(GRACE)


async def test_the_grace_starts_anew_after_an_outage_in_which_nothing_was_tried(trigger, airflow, entry, clock):
    """The deploy that has taken the DAG away may have ended Airflow for a while, too."""
    airflow.answers = [DagMissing("not found")] * 20
    guard = Guard(airflow, Limit(1, clock), Breaker(), clock)
    trigger.outages = lambda: guard.breaker.opened
    first = await trigger.run(entry)
    assert isinstance(first, Postponed)
    for _ in range(3):
        guard.note_failure("lists", "no connection")
    guard.breaker.is_not_well("no connection")
    clock.advance(2 * GRACE)
    assert await trigger.run(entry) == replace(first, delay=2 * SECOND)
    clock.advance(GRACE)
    assert (await trigger.run(entry)).reason is Reason.DAG_NOT_FOUND


async def test_the_grace_starts_anew_when_the_dag_was_there_in_between(trigger, airflow, entry, clock):
    """A command that found it missing may wait for room meanwhile, which others of the DAG have taken."""
    airflow.answers = [DagMissing("not found")]
    first = await trigger.run(entry)
    clock.advance(SECOND)
    another = replace(entry, source=Source("commands", 3, 42), id="order-8")
    assert (await trigger.run(another)).status is Status.TRIGGERED
    clock.advance(2 * GRACE)
    airflow.answers = [DagMissing("not found")] * 2
    assert await trigger.run(entry) == replace(first, delay=2 * SECOND)
    clock.advance(GRACE)
    assert (await trigger.run(entry)).reason is Reason.DAG_NOT_FOUND


async def test_what_is_withdrawn_is_postponed_and_runs_when_it_is_due(trigger, airflow, entry):
    assert isinstance(await trigger.run(entry, lambda: False), Postponed)
    assert airflow.calls == []
    assert (await trigger.run(entry)).status is Status.TRIGGERED


async def test_what_is_withdrawn_does_not_prolong_the_grace(trigger, airflow, entry, clock):
    """Airflow was not away in between."""
    airflow.answers = [DagMissing("not found")] * 2
    assert isinstance(await trigger.run(entry), Postponed)
    assert isinstance(await trigger.run(entry, lambda: False), Postponed)
    clock.advance(GRACE)
    assert (await trigger.run(entry)).reason is Reason.DAG_NOT_FOUND


@pytest.mark.parametrize("lose", [lambda t: t.forget(Source("commands", 3, 41)), lambda t: t.drop({3})])
async def test_what_is_forgotten_starts_anew(trigger, airflow, entry, clock, lose):
    airflow.answers = [DagMissing("not found")] * 2
    await trigger.run(entry)
    clock.advance(GRACE)
    lose(trigger)
    assert await trigger.run(entry) == Postponed(SECOND, "not found")


async def test_other_partitions_are_kept(trigger, airflow, entry, clock):
    airflow.answers = [DagMissing("not found")] * 2
    await trigger.run(entry)
    clock.advance(GRACE)
    trigger.drop({4})
    assert isinstance(await trigger.run(entry), Outcome)


# Entries with a verdict that waits


@pytest.fixture
def ending(entry):
    return replace(entry, ending=Status.EXPIRED)


async def test_settling_never_asks_for_a_run(trigger, airflow, ending):
    outcome = await trigger.run(ending)
    assert (outcome.status, outcome.result) == (Status.RUN_ENDED, RunState.NOT_CREATED)
    assert (outcome.reason, outcome.detail) == (None, None)
    assert airflow.count("trigger") == 0


async def test_settling_adopts_a_run_that_exists(trigger, airflow, entry, ending):
    await trigger.run(entry)
    assert (await trigger.run(ending)).status is Status.TRIGGERED


async def test_settling_leaves_a_strangers_run_alone(trigger, airflow, ending):
    airflow.add("probe", RUN_ID, {"_command": {}})
    assert (await trigger.run(ending)).result is RunState.NOT_CREATED


async def test_settling_knows_that_the_run_was_there(trigger, airflow, entry, ending):
    """Airflow said so; somebody has deleted it since. An ending that does not count it would say that it never ran."""
    airflow.answers = [Exists()]
    assert isinstance(await trigger.run(entry), Postponed)
    assert (await trigger.run(ending)).result is RunState.DELETED


async def test_settling_waits_for_airflow(trigger, airflow, ending):
    airflow.down = "no connection"
    assert await trigger.run(ending) == Postponed(SECOND, "no connection")


async def test_settling_waits_until_a_request_without_an_answer_can_no_longer_create(
    trigger, airflow, entry, ending, clock
):
    airflow.answers = [Uncertain("time-out")]
    await trigger.run(entry)
    clock.advance(SECOND)
    assert (await trigger.run(ending)).delay == DOUBT - SECOND
    clock.advance(DOUBT - SECOND)
    assert (await trigger.run(ending)).result is RunState.NOT_CREATED


async def test_where_requests_may_take_long_a_run_that_is_not_there_is_doubted_as_long(
    patient, airflow, entry, ending, clock
):
    airflow.answers = [Uncertain("connection reset")]
    await patient.run(entry)
    assert (await patient.run(ending)).delay == LONG
    clock.advance(LONG)
    assert (await patient.run(ending)).result is RunState.NOT_CREATED


async def test_a_slow_request_of_the_worker_before_is_waited_for_before_a_command_ends_without_a_run(
    patient, trigger, entry, ending, clock
):
    patient.inherit(ending)
    clock.advance(LEASE + LONG - SECOND)
    assert (await patient.run(ending)).delay == SECOND
    await trigger.run(entry)  # the other worker's
    clock.advance(SECOND)
    assert (await patient.run(ending)).status is Status.TRIGGERED


async def test_a_request_without_an_answer_does_not_shorten_the_doubt_about_the_worker_before(
    trigger, airflow, entry, ending, clock
):
    trigger.inherit(entry)
    airflow.answers = [Uncertain("time-out")]
    await trigger.run(entry)
    assert (await trigger.run(ending)).delay == LEASE + DOUBT


async def test_an_unforeseen_error_propagates(trigger, entry):
    with pytest.raises(ValueError, match="Expecting"):
        await trigger.run(replace(entry, params="{"))


async def test_an_adopted_run_is_logged_as_such(trigger, entry, caplog):
    caplog.set_level("INFO", "streamapp")
    await trigger.run(entry)
    await trigger.run(entry)
    assert [record.action for record in caplog.records] == ["run_created", "run_adopted"]
    assert {record.command_id for record in caplog.records} == {"order-7"}


async def test_an_outage_does_not_fill_the_log(trigger, airflow, entry, caplog):
    caplog.set_level("INFO", "streamapp")
    airflow.answers = [TurnedAway("no connection")] * 5
    for _ in range(5):
        await trigger.run(entry)
    assert len(caplog.records) == 1


async def test_a_key_that_is_not_text_is_shown_as_base64(trigger, airflow, entry):
    await trigger.run(replace(entry, key=b"\xff"))
    assert airflow.runs["probe", RUN_ID].conf["_command"]["key"] == "/w=="


async def test_settling_waits_until_another_worker_can_no_longer_create_the_run(trigger, airflow, ending, clock):
    trigger.inherit(ending)
    assert (await trigger.run(ending)).delay == LEASE + DOUBT
    clock.advance(LEASE + DOUBT)
    assert (await trigger.run(ending)).result is RunState.NOT_CREATED


async def test_a_run_that_existed_is_not_asked_for_again_although_the_look_failed(trigger, airflow, entry):
    airflow.answers = [Exists()]
    airflow.broken = {"get"}
    assert isinstance(await trigger.run(entry), Postponed)
    airflow.broken.clear()
    assert (await trigger.run(entry)).result is RunState.DELETED
    assert airflow.count("trigger") == 1


async def test_what_was_inherited_anew_is_not_forgotten_with_an_earlier_try(trigger, airflow, entry, clock):
    """A worker loses a partition and gets it back while its first request is under way."""
    first = trigger.run(entry)
    airflow.answers = [Refused(Reason.REFUSED_BY_AIRFLOW, "no email")] * 2
    stock, answered = airflow.trigger, asyncio.Event()

    async def slow(*args):
        await answered.wait()
        return await stock(*args)

    airflow.trigger = slow
    task = asyncio.create_task(first)
    await asyncio.sleep(0)
    trigger.drop([3])
    trigger.inherit(entry)
    answered.set()
    await task
    airflow.trigger = stock
    assert isinstance(await trigger.run(entry), Postponed)


async def test_a_refusal_counts_once_no_earlier_request_can_create_the_run(trigger, airflow, entry, clock):
    refused = Refused(Reason.REFUSED_BY_AIRFLOW, "no email")
    airflow.answers = [Uncertain("no answer"), refused, refused]
    await trigger.run(entry)
    clock.advance(SECOND)
    assert await trigger.run(entry) == Postponed(DOUBT - SECOND, "no email")
    clock.advance(DOUBT - SECOND)
    assert (await trigger.run(entry)).result is RunState.NOT_CREATED


@pytest.mark.parametrize(
    "refusal", [Refused(Reason.REFUSED_BY_AIRFLOW, "400: import errors"), DagMissing("404: stale")], ids=["400", "404"]
)
@pytest.mark.parametrize("inherited", [True, False])
async def test_a_run_that_an_earlier_request_created_counts_more_than_a_refusal(
    trigger, airflow, entry, clock, refusal, inherited
):
    """Airflow refuses a DAG that is broken or gone before it looks whether the run exists."""
    await trigger.run(entry)  # stands for a request whose answer nobody heard
    if inherited:
        trigger.inherit(entry)
    else:
        airflow.answers = [Uncertain("no answer")]
        airflow.broken = {"get"}
        assert isinstance(await trigger.run(entry), Postponed)
        airflow.broken = set()
    airflow.answers = [refusal] * 10
    answer = await trigger.run(entry)
    while isinstance(answer, Postponed):
        clock.advance(answer.delay)
        answer = await trigger.run(entry)
    assert answer.status is Status.TRIGGERED


async def test_a_refusal_does_not_count_while_nobody_says_whether_the_run_exists(trigger, airflow, entry, clock):
    trigger.inherit(entry)
    clock.advance(LEASE + DOUBT)
    airflow.answers = [Refused(Reason.REFUSED_BY_AIRFLOW, "no email")]
    airflow.broken = {"get"}
    assert isinstance(await trigger.run(entry), Postponed)


async def test_a_first_refusal_is_believed_without_another_request(trigger, airflow, entry):
    airflow.answers = [Refused(Reason.REFUSED_BY_AIRFLOW, "no email")]
    assert (await trigger.run(entry)).result is RunState.NOT_CREATED
    assert airflow.count("get") == 0


async def test_an_inherited_dispatch_is_refused_once_the_worker_before_cannot_create_the_run(
    trigger, airflow, entry, clock
):
    trigger.inherit(entry)
    airflow.answers = [Refused(Reason.REFUSED_BY_AIRFLOW, "no email")]
    postponed = await trigger.run(entry)
    assert postponed.delay == LEASE + DOUBT
    clock.advance(postponed.delay)
    assert (await trigger.run(entry)).status is Status.TRIGGERED


async def test_an_inherited_run_that_turns_up_while_waiting_is_adopted(trigger, airflow, entry, ending):
    trigger.inherit(ending)
    assert isinstance(await trigger.run(ending), Postponed)
    await trigger.run(entry)  # stands for the other worker's late request
    assert (await trigger.run(ending)).status is Status.TRIGGERED


# A DAG that is paused


@pytest.mark.parametrize("paused", [True, False])
async def test_a_run_of_a_paused_dag_is_created_and_waits_in_airflow(trigger, airflow, entry, paused):
    airflow.dags["probe"] = Dag(max_active_runs=16, paused=paused)
    assert (await trigger.run(entry)).status is Status.TRIGGERED
    assert airflow.count("dag") == 0


@pytest.fixture
def hasty(entry):
    return replace(entry, policy=replace(entry.policy, paused=Paused.REJECT))


async def test_a_command_that_must_not_wait_for_a_paused_dag_is_refused(trigger, airflow, hasty):
    airflow.dags["probe"] = Dag(max_active_runs=16, paused=True)
    outcome = await trigger.run(hasty)
    assert (outcome.status, outcome.result) == (Status.RUN_ENDED, RunState.NOT_CREATED)
    assert outcome.reason is Reason.REFUSED_BY_AIRFLOW
    assert outcome.detail == "the DAG probe is paused, and its commands are not to wait"
    assert airflow.runs == {}


@pytest.mark.parametrize("dag", [None, Dag(max_active_runs=16, paused=False)])
async def test_it_runs_where_the_dag_is_not_paused(trigger, airflow, hasty, dag):
    if dag is not None:
        airflow.dags["probe"] = dag
    assert (await trigger.run(hasty)).status is Status.TRIGGERED


async def test_it_does_not_run_where_it_is_no_longer_due_after_the_question(trigger, airflow, hasty):
    """Its partition may have gone to another worker meanwhile."""
    assert isinstance(await trigger.run(hasty, lambda: False), Postponed)
    assert airflow.count("trigger") == 0


async def test_it_is_not_refused_while_nobody_says_whether_the_dag_is_paused(trigger, airflow, hasty):
    airflow.down = "no connection"
    assert isinstance(await trigger.run(hasty), Postponed)
    assert airflow.count("trigger") == 0


async def test_it_is_not_refused_while_an_earlier_request_may_still_create_its_run(trigger, airflow, hasty, clock):
    airflow.answers = [Uncertain("no answer")]
    await trigger.run(hasty)
    airflow.dags["probe"] = Dag(max_active_runs=16, paused=True)
    assert isinstance(await trigger.run(hasty), Postponed)
    clock.advance(DOUBT)
    assert (await trigger.run(hasty)).result is RunState.NOT_CREATED


async def test_it_is_not_refused_where_its_run_exists_already(trigger, airflow, hasty):
    """The DAG was paused after that: the run goes on, and refused, its command would be told to have none."""
    await trigger.run(hasty)
    airflow.broken = {"get"}
    assert isinstance(await trigger.run(hasty), Postponed)
    airflow.broken.clear()
    airflow.dags["probe"] = Dag(max_active_runs=16, paused=True)
    assert (await trigger.run(hasty)).status is Status.TRIGGERED
