from dataclasses import replace

import pytest

from streamapp.core.effects import Free, Queued, Settled, place
from streamapp.core.key import show_key
from streamapp.core.model import TERMINAL, Ordering, Source, Status
from tests.support.builders import entry, outcome, policy


def test_the_terminal_statuses():
    assert {status for status in Status if status.terminal} == TERMINAL
    assert {str(status) for status in TERMINAL} == {
        "succeeded",
        "failed",
        "rejected",
        "duplicate",
        "expired",
        "cancelled",
        "skipped",
    }


def test_a_source_is_shown_with_its_place():
    assert str(Source("commands", 3, 42)) == "commands-3-42"


def test_the_id_of_an_outcome_names_position_round_attempt_and_status():
    told = outcome(entry(7), Status.SUCCEEDED, round=2, attempt=3)
    assert told.id == "commands-0-7-2.3-succeeded"
    assert replace(told, detail="other").id == told.id


@pytest.mark.parametrize("status", sorted(TERMINAL))
def test_what_has_ended_is_settled(status):
    assert place(entry(1, status=status)) == Settled(b"k", 1)
    assert place(entry(1, status=status, key=None)) == Settled(None, 1)


@pytest.mark.parametrize("status", [status for status in Status if not status.terminal])
@pytest.mark.parametrize("attempt", [0, 1])
def test_with_ordering_completed_an_active_command_is_queued(status, attempt):
    assert place(entry(1, status=status, attempt=attempt)) == Queued(b"k", 1)


def test_what_holds_no_key_is_free():
    assert place(entry(1, key=None)) == Free(1)
    assert place(entry(1, policy=policy(ordering=Ordering.NONE))) == Free(1)


def test_with_ordering_triggered_a_command_is_queued_until_its_first_run():
    triggers = policy(ordering=Ordering.TRIGGERED)
    assert place(entry(1, policy=triggers)) == Queued(b"k", 1)
    assert place(entry(1, policy=triggers, status=Status.TRIGGERED, attempt=1)) == Free(1)
    assert place(entry(1, policy=triggers, status=Status.ATTEMPT_FAILED, attempt=1)) == Free(1)


@pytest.mark.parametrize(
    ("status", "attempt", "ending", "dispatchable", "run_attempt"),
    [
        (Status.ACCEPTED, 0, None, True, 1),
        (Status.ACCEPTED, 0, Status.EXPIRED, False, 1),
        (Status.TRIGGERED, 1, None, False, 1),
        (Status.ATTEMPT_FAILED, 1, None, True, 2),
        (Status.ATTEMPT_FAILED, 1, Status.EXPIRED, False, 2),
        (Status.BLOCKED, 2, None, False, 2),
        (Status.SUCCEEDED, 1, None, False, 1),
    ],
)
def test_what_comes_next(status, attempt, ending, dispatchable, run_attempt):
    now = entry(status=status, attempt=attempt, ending=ending)
    assert (now.dispatchable, now.run_attempt) == (dispatchable, run_attempt)


@pytest.mark.parametrize(("key", "shown"), [(None, None), (b"", ""), ("é".encode(), "é"), (b"\xff\x00", "/wA=")])
def test_keys_are_shown_as_text_or_base64(key, shown):
    assert show_key(key) == shown
