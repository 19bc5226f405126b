from dataclasses import replace
from datetime import timedelta

import pytest

from streamapp.core.model import DeadLetter, Original, Outcome, Reason, Source, Status
from tests.support.builders import AT
from tests.support.history import Run, Sent, violations


def at(seconds):
    return None if seconds is None else AT + timedelta(seconds=seconds)


def sent(offset, key=b"k", **fields):
    return Sent(**({"partition": 0, "offset": offset, "key": key, "id": f"c{offset}"} | fields))


def run(offset, start, end, *, round_=1, attempt=1, state="success", **fields):
    id_ = fields.pop("id", f"c{offset}")
    mark = {"topic": "commands", "partition": 0, "offset": offset, "round": round_, "attempt": attempt, "id": id_}
    values = {"run_id": f"cmd__app__{id_}__{round_}.{attempt}", "conf": {"n": 1, "_command": mark | fields}}
    return Run(start=at(start), end=at(end), state=state, **values)


def told(offset, status=Status.SUCCEEDED, *, round_=1, attempt=1, **fields):
    values = {"command_id": f"c{offset}", "key": b"k", "command": "app.x", "dag_id": "x", "dag_run_id": None, "at": AT}
    return Outcome(
        source=Source("commands", 0, offset), status=status, round=round_, attempt=attempt, **(values | fields)
    )


def letter(offset, round_=1, **fields):
    values = {"key": b"k", "original": Original(b""), "reason": Reason.RUN_FAILED, "detail": "", "at": AT}
    return DeadLetter(source=Source("commands", 0, offset), round=round_, **(values | fields))


GOOD = {
    "sent": [sent(0), sent(1), sent(2, key=b"other")],
    "runs": [run(0, 0, 2), run(1, 2, 3), run(2, 1, 9)],
    "outcomes": [told(0, Status.ACCEPTED, attempt=0), told(0), told(1), told(2), told(2)],
    "dead_letters": [],
}
RAN_IN_VAIN = [*GOOD["runs"][:2], run(2, 1, 9, state="failed")]


def check(**changed):
    return violations(**(GOOD | changed))


def assert_only(found, *parts):
    (sentence,) = found
    for part in parts:
        assert part in sentence


def test_a_good_history_has_no_violations():
    assert check() == []


def test_outcomes_may_be_json():
    as_json = [
        {
            "id": one.id,
            "command_id": one.command_id,
            "round": one.round,
            "attempt": one.attempt,
            "status": str(one.status),
            "reason": None,
            "source": {"topic": "commands", "partition": 0, "offset": one.source.offset},
        }
        for one in GOOD["outcomes"]
    ]
    assert check(outcomes=as_json) == []
    assert_only(check(outcomes=as_json[:-2]), "commands-0-2 has no ending")


def test_runs_of_others_are_passed_over():
    assert check(runs=[*GOOD["runs"], Run(run_id="manual__1", conf={}, start=at(0), end=None, state="running")]) == []


# G1


def test_two_runs_for_one_attempt():
    twice = run(1, 4, 5, id="c1")
    twice = Run(run_id="cmd__app__c1__1.1b", conf=twice.conf, start=twice.start, end=twice.end, state="success")
    assert_only(check(runs=[*GOOD["runs"], twice]), "G1: commands-0-1 has 2 runs for round 1, attempt 1", "1.1b")


def test_the_same_run_twice():
    assert_only(check(runs=[*GOOD["runs"][1:], run(0, 0, 1), run(0, 1, 2)]), "G1: Airflow shows 2 runs under the id")


def test_attempts_and_rounds_have_runs_of_their_own():
    runs = [run(0, 0, 1, state="failed"), run(0, 1, 2, attempt=2), *GOOD["runs"][1:], run(3, 9, 10, id="c0", round_=2)]
    outcomes = [*GOOD["outcomes"][2:], told(0, attempt=2), told(3, round_=2, command_id="c0")]
    assert check(sent=[*GOOD["sent"], sent(3, id="c0")], runs=runs, outcomes=outcomes) == []


def test_one_id_run_from_two_positions():
    found = check(
        sent=[sent(0), sent(1, id="c0"), sent(2, key=b"other")],
        runs=[run(0, 0, 2), run(1, 2, 3, id="c0"), run(2, 1, 9)],
        outcomes=[told(0), told(1, command_id="c0"), told(2)],
    )
    assert any("G1: round 1 of the command id c0 was run from 2 positions: commands-0-0, " in one for one in found)


def test_a_run_that_nobody_asked_for():
    found = check(runs=[*GOOD["runs"], run(7, 9, 10)])
    assert_only(found, "G1: run cmd__app__c7__1.1", "nobody sent")


@pytest.mark.parametrize("status", [Status.REJECTED, Status.EXPIRED, Status.CANCELLED, Status.SKIPPED])
def test_a_run_of_a_command_that_is_said_to_have_had_none(status):
    outcomes = [told(0), told(1, status, attempt=0), told(2)]
    assert_only(check(outcomes=outcomes, dead_letters=None), f"1.0-{status} says that nothing was run")


def test_a_run_of_an_attempt_after_the_last_one():
    found = check(runs=[*GOOD["runs"], run(2, 9, 10, attempt=2)])
    assert_only(found, "G1: commands-0-2-1.1-succeeded says that 1 attempts were all, but Airflow has run", "__1.2")


# G2


def test_an_overlap():
    found = check(runs=[run(0, 0, 2), run(1, 1.9, 3), run(2, 1, 9)])
    assert_only(found, "G2: key b'k'", "c1__1.1 of commands-0-1", "before the end of run cmd__app__c0__1.1")


def test_an_overlap_with_a_run_that_goes_on():
    assert_only(check(runs=[run(0, 0, None, state="success"), run(1, 5, 6), run(2, 1, 9)]), "G2", "before the end")


def test_an_overlap_with_a_longer_run_that_started_earlier():
    found = check(
        sent=[*GOOD["sent"], sent(3)],
        runs=[run(0, 0, 10), run(1, 1, 2), run(3, 3, 4), run(2, 1, 9)],
        outcomes=[*GOOD["outcomes"], told(3)],
    )
    assert len(found) == 2
    assert all("before the end of run cmd__app__c0__1.1" in one for one in found)


def test_the_wrong_order():
    found = check(runs=[run(1, 0, 1), run(0, 1, 2), run(2, 1, 9)])
    assert_only(found, "G2: key b'k'", "which was sent first")


def test_the_wrong_order_of_attempts():
    runs = [run(0, 0, 1, attempt=2), run(0, 1, 1.5, state="failed"), *GOOD["runs"][1:]]
    assert_only(check(runs=runs, outcomes=[told(0, attempt=2), *GOOD["outcomes"][2:]]), "G2", "sent first")


def test_an_attempt_after_the_next_command():
    runs = [run(0, 0, 1, state="failed"), run(1, 2, 3), run(0, 3, 4, attempt=2), run(2, 1, 9)]
    assert_only(check(runs=runs, outcomes=[told(0, attempt=2), *GOOD["outcomes"][2:]]), "G2", "sent first")


def test_touching_runs_do_not_overlap():
    assert check(runs=[run(0, 0, 2), run(1, 2, 2), run(2, 1, 9)]) == []


@pytest.mark.parametrize("change", [{"key": None}, {"ordered": False}])
def test_what_has_no_order_may_overlap(change):
    assert (
        check(
            sent=[sent(0, **change), sent(1, **change), GOOD["sent"][2]],
            runs=[run(0, 0, 2), run(1, 0, 3), run(2, 1, 9)],
        )
        == []
    )


def test_an_unstarted_run_takes_no_time():
    runs = [run(0, None, 1, state="failed"), run(0, 1, 2, attempt=2), *GOOD["runs"][1:]]
    assert check(runs=runs, outcomes=[told(0, attempt=2), *GOOD["outcomes"][2:]]) == []


def test_a_later_round_may_come_later_but_not_overlap():
    again = {
        "sent": [*GOOD["sent"], sent(3, id="c0")],
        "outcomes": [*GOOD["outcomes"], told(3, round_=2, command_id="c0")],
    }
    assert check(**again, runs=[*GOOD["runs"], run(3, 3, 4, id="c0", round_=2)]) == []
    assert_only(check(**again, runs=[*GOOD["runs"], run(3, 2.5, 4, id="c0", round_=2)]), "G2", "__2.1")


# G3


def test_no_ending():
    assert_only(check(outcomes=GOOD["outcomes"][:-2]), "G3: commands-0-2 has no ending")
    assert check(outcomes=GOOD["outcomes"][:-2], complete=False) == []


def test_a_record_is_one_round():
    outcomes = [*GOOD["outcomes"], told(0, Status.ACCEPTED, round_=2, attempt=0)]
    assert_only(check(outcomes=outcomes), "G3: commands-0-0 was told of in the rounds 1 and 2")


def test_two_endings():
    outcomes = [*GOOD["outcomes"], told(2, Status.CANCELLED)]
    assert_only(check(outcomes=outcomes), "G3: commands-0-2 has 2 endings", "1.1-cancelled, commands-0-2-1.1-succeeded")


def test_two_failures_of_different_attempts_are_two_endings():
    failed = told(2, Status.FAILED, reason=Reason.RUN_FAILED)
    outcomes = [*GOOD["outcomes"][:-2], failed, replace(failed, attempt=2)]
    found = check(outcomes=outcomes, runs=GOOD["runs"][:2], dead_letters=[letter(2)])
    assert_only(found, "commands-0-2 has 2 endings")


def test_one_ending_told_in_two_ways():
    failed = told(2, Status.FAILED, reason=Reason.RUN_FAILED)
    outcomes = [*GOOD["outcomes"][:-2], replace(failed, reason=Reason.RUN_DELETED), failed]
    found = check(outcomes=outcomes, runs=RAN_IN_VAIN, dead_letters=[letter(2)])
    assert_only(found, "told twice with different content")


def test_an_ending_of_a_command_that_nobody_sent():
    assert_only(check(outcomes=[*GOOD["outcomes"], told(9, Status.EXPIRED, attempt=0)]), "commands-0-9", "nobody sent")


def test_an_ending_under_another_id():
    outcomes = [*GOOD["outcomes"][:-2], told(2, command_id="c3")]
    assert_only(check(outcomes=outcomes), "names the command c3, but c2 was sent")


def test_an_id_that_could_not_be_foreseen_may_be_any():
    assert check(sent=[*GOOD["sent"][:2], sent(2, key=b"other", id=None)]) == []


def test_answers_to_instructions_are_no_endings():
    answer = told(99, Status.INSTRUCTION_REFUSED, control_id="x")
    assert check(outcomes=[*GOOD["outcomes"], answer]) == []


def test_a_success_that_airflow_does_not_know():
    assert_only(check(runs=GOOD["runs"][:2]), "commands-0-2-1.1-succeeded", "Airflow has no such run")
    assert_only(check(runs=[*GOOD["runs"][:2], run(2, 1, 9, state="failed")]), "Airflow has no such run")


def test_a_failure_that_airflow_knows_as_a_success():
    outcomes = [*GOOD["outcomes"][:-2], told(2, Status.FAILED, reason=Reason.RUN_FAILED)]
    found = check(outcomes=outcomes, dead_letters=[letter(2)])
    assert_only(found, "G3: commands-0-2-1.1-failed says that the run failed", "it has succeeded")


def passed_over(*of, id_="c0"):
    """What is wrong with the records 1 and 2 as duplicates of these."""
    endings = [
        told(offset, Status.DUPLICATE, attempt=0, command_id=name, duplicate_of=first)
        for offset, name, first in zip((1, 2), (id_, "c0"), of, strict=True)
    ]
    return check(sent=[sent(0), sent(1, id=id_), sent(2, id="c0")], runs=GOOD["runs"][:1], outcomes=[told(0), *endings])


def test_duplicates_of_duplicates_of_what_was_taken_in():
    assert passed_over("commands-0-0", "commands-0-1") == []


@pytest.mark.parametrize("first", [None, "commands-0-1", "commands-0-2", "commands-0-9"])
def test_a_duplicate_of_nothing_that_was_taken_in(first):
    found = passed_over(first, "commands-0-1")
    assert "G3: commands-0-1 was passed over as a duplicate of" in found[0]
    assert "none of them was taken in" in found[0]


def test_a_duplicate_of_another_command():
    found = passed_over("commands-0-0", "commands-0-0", id_="c1")
    assert_only(found, "commands-0-1 was passed over as a duplicate of commands-0-0, which has another id")


# Dead letters

FAILED = [*GOOD["outcomes"][:-2], told(2, Status.FAILED, reason=Reason.RUN_FAILED)]


def test_a_failure_with_its_dead_letter():
    assert check(runs=RAN_IN_VAIN, outcomes=FAILED, dead_letters=[letter(2), letter(2)]) == []


def test_a_failure_without_a_dead_letter():
    assert_only(check(runs=RAN_IN_VAIN, outcomes=FAILED), "G3: commands-0-2-1.1-failed has 0 dead letters")
    assert check(runs=RAN_IN_VAIN, outcomes=FAILED, dead_letters=None) == []


def test_a_dead_letter_of_what_did_not_fail():
    assert_only(check(dead_letters=[letter(1)]), "G3: commands-0-1 has a dead letter in round 1")


def test_a_dead_letter_that_gives_another_reason():
    found = check(runs=RAN_IN_VAIN, outcomes=FAILED, dead_letters=[letter(2, reason=Reason.RUN_DELETED)])
    assert_only(found, "G3: commands-0-2-1.1-failed ended as run_failed, but its dead letter says run_deleted")


def test_a_dead_letter_for_each_round():
    again = {
        "runs": RAN_IN_VAIN,
        "sent": [*GOOD["sent"], sent(3, id="c2")],
        "outcomes": [*FAILED, told(3, Status.FAILED, round_=2, command_id="c2", reason=Reason.RUN_FAILED)],
    }
    assert_only(check(**again, dead_letters=[letter(2)]), "2.1-failed has 0 dead letters")
    assert check(**again, dead_letters=[letter(2), letter(3, round_=2)]) == []
