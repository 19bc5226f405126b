from dataclasses import replace
from datetime import timedelta

from streamapp.cli.timeline import Timeline
from streamapp.core.model import Outcome, Reason, RunState, Source, Status, Timings
from tests.support.builders import AT, entry, outcome

FIRST, OURS = entry(3, id="order-3"), entry(7, id="order-7")


def later(seconds):
    return AT + timedelta(seconds=seconds)


def said(about, status, seconds, **fields):
    return outcome(about, status, at=later(seconds), **fields)


def answer(detail, seconds, *, partition=0, key=None, dag_id=None, status=Status.INSTRUCTION_APPLIED, command_id=""):
    return Outcome(
        command_id=command_id, key=key, command=None, dag_id=dag_id, dag_run_id=None, round=0, attempt=0,
        status=status, detail=detail, at=later(seconds), source=Source("commands-control", partition, 1),
        control_id=detail,
    )  # fmt: skip


def steps(*outcomes):
    timeline = Timeline("order-7")
    for one in outcomes:
        timeline.note(one)
    return [((step.at - AT).total_seconds(), step.what, step.text) for step in timeline.steps]


def test_from_the_acceptance_to_the_end():
    times = Timings(started_at=later(70), ended_at=later(200))
    accepted = said(OURS, Status.ACCEPTED, 0)
    assert steps(
        said(FIRST, Status.ACCEPTED, 0),
        accepted,
        said(FIRST, Status.SUCCEEDED, 61),
        accepted,
        said(OURS, Status.TRIGGERED, 65, attempt=1, dag_run_id="run-1"),
        said(OURS, Status.RUN_ENDED, 201, attempt=1, result=RunState.FAILED, timings=times),
        said(OURS, Status.ATTEMPT_FAILED, 202, attempt=1, reason=Reason.RUN_FAILED, detail="the run failed"),
        said(OURS, Status.TRIGGERED, 212, attempt=2, dag_run_id="run-2"),
        said(OURS, Status.RUN_ENDED, 213, attempt=2, result=RunState.SUCCESS),
        said(OURS, Status.SUCCEEDED, 7380, attempt=2),
    ) == [
        (0, "accepted", "app.probe from commands-0-7"),
        (61, "its key", "order-3, which was before it, ended as succeeded"),
        (65, "triggered", "attempt 1: run run-1 after 1m05s"),
        (201, "run_ended", "attempt 1: failed after 2m10s"),
        (202, "attempt_failed", "run_failed: the run failed"),
        (212, "triggered", "attempt 2: run run-2 after 10.0s"),
        (213, "run_ended", "attempt 2: success"),
        (7380, "succeeded", "2h03m after it was accepted"),
    ]


def test_another_record_of_its_id_changes_nothing_for_it():
    again = said(entry(9, id="order-7"), Status.DUPLICATE, 5, detail="the command id was first seen at commands-0-7")
    assert steps(
        said(OURS, Status.ACCEPTED, 0),
        again,
        said(FIRST, Status.SUCCEEDED, 61),
        said(OURS, Status.TRIGGERED, 65, attempt=1, dag_run_id="run-1"),
    )[1:] == [
        (5, "duplicate", "commands-0-9: the command id was first seen at commands-0-7"),
        (61, "its key", "order-3, which was before it, ended as succeeded"),
        (65, "triggered", "attempt 1: run run-1 after 1m05s"),
    ]


def test_who_has_touched_it():
    refused = answer("refused, its run is under way (skip by bob)", 4, command_id="order-7")
    assert steps(
        said(OURS, Status.ACCEPTED, 0),
        replace(answer("retry by ann: mended", 3, command_id="order-7"), source=OURS.source),
        replace(refused, status=Status.INSTRUCTION_REFUSED),
    )[1:] == [
        (3, "instruction", "retry by ann: mended"),
        (4, "instruction", "refused, its run is under way (skip by bob)"),
    ]


def test_what_stopped_its_key_and_its_dag_while_it_waited():
    assert steps(
        answer("pause by ann: mail is down", 0),
        answer("pause by ann: not this one", 0, dag_id="other"),
        answer("hold by bob: lifted before", 0, key=OURS.key),
        answer("release by bob", 1, key=OURS.key),
        said(OURS, Status.ACCEPTED, 2),
        answer("hold by bob", 3, key=OURS.key),
        answer("hold by bob: another key", 3, key=b"other"),
        answer("hold by bob: another partition", 3, key=OURS.key, partition=1),
        answer("refused, the key is on hold already", 4, key=OURS.key, status=Status.INSTRUCTION_REFUSED),
        answer("release by bob: paid", 5, key=OURS.key),
        answer("resume by ann", 6),
        answer("pause by ann: this one", 7, dag_id="probe"),
        said(OURS, Status.TRIGGERED, 8, attempt=1, dag_run_id="run-1"),
        answer("resume by ann: when it ran", 9, dag_id="probe"),
    ) == [
        (2, "accepted", "app.probe from commands-0-7"),
        (0, "all DAGs", "pause by ann: mail is down, still in force"),
        (3, "its key", "hold by bob"),
        (5, "its key", "release by bob: paid"),
        (6, "all DAGs", "resume by ann"),
        (7, "its DAG", "pause by ann: this one"),
        (8, "triggered", "attempt 1: run run-1 after 6.0s"),
    ]


def test_a_second_round_is_told_as_one():
    again = replace(OURS, source=Source("commands", 0, 90), round=2)
    told = steps(
        said(OURS, Status.ACCEPTED, 0), said(OURS, Status.FAILED, 5), said(again, Status.ACCEPTED, 300000),
        said(again, Status.SUCCEEDED, 300000 + 100000),
    )  # fmt: skip
    assert [text for _, _, text in told] == [
        "app.probe from commands-0-7",
        "5.0s after it was accepted",
        "app.probe from commands-0-90, round 2",
        "1d03h after it was accepted",
    ]
