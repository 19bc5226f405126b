from datetime import UTC, datetime

import pytest

from streamapp.core.effects import Bury, Emit
from streamapp.core.errors import TooLarge
from streamapp.core.model import DeadLetter, Original, Outcome, Reason, Source, Status
from streamapp.observe.outcomes import REMEMBERED, OutcomeWatch, Place

AT = datetime(2026, 1, 2, tzinfo=UTC)


class Recorder:
    def __init__(self):
        self.sent = []

    def prepare(self, effect):
        if isinstance(effect, Emit) and effect.outcome.detail == "long":
            raise TooLarge("too long")
        return lambda: self.sent.append(effect) or len(self.sent)


def outcome(offset=0, status=Status.ACCEPTED, detail=None):
    return Outcome(
        command_id=f"c{offset}",
        key=b"k",
        command="app.probe",
        dag_id="probe",
        dag_run_id=None,
        round=1,
        attempt=0,
        status=status,
        detail=detail,
        at=AT,
        source=Source("commands", 3, offset),
    )


def letter():
    return DeadLetter(
        source=Source("commands", 3, 0),
        key=b"k",
        original=Original(b"x"),
        round=1,
        reason=Reason.UNDECODABLE,
        detail="",
        at=AT,
    )


def test_everything_passes_through():
    outlet = Recorder()
    watch = OutcomeWatch(outlet)
    effects = [Emit(outcome()), Bury(letter())]
    assert [watch.prepare(effect)() for effect in effects] == [1, 2]
    assert outlet.sent == effects


def test_what_is_prepared_counts_when_it_leaves():
    watch = OutcomeWatch(Recorder())
    send = watch.prepare(Emit(outcome(status=Status.FAILED)))
    assert not watch.sent
    assert not list(watch.latest())
    send()
    assert watch.sent == {Status.FAILED: 1}


def test_dead_letters_are_not_outcomes():
    watch = OutcomeWatch(Recorder())
    watch.prepare(Bury(letter()))()
    assert not watch.sent


def test_what_does_not_fit_is_refused_as_before():
    with pytest.raises(TooLarge):
        OutcomeWatch(Recorder()).prepare(Emit(outcome(detail="long")))


def test_the_command_that_changed_last_comes_first():
    watch = OutcomeWatch(Recorder())
    for offset, status in [(1, Status.ACCEPTED), (2, Status.ACCEPTED), (1, Status.SUCCEEDED)]:
        watch.prepare(Emit(outcome(offset, status)))()
    assert list(watch.latest()) == [Place(3, b"k", 1), Place(3, b"k", 2)]


def test_memory_is_bounded():
    watch = OutcomeWatch(Recorder())
    for offset in range(REMEMBERED + 10):
        watch.prepare(Emit(outcome(offset)))()
    latest = [place.offset for place in watch.latest()]
    assert len(latest) == REMEMBERED
    assert latest[0] == REMEMBERED + 9
    assert latest[-1] == 10
