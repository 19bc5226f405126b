from collections import Counter
from dataclasses import replace
from datetime import timedelta

import pytest

from streamapp.core.effects import OfDag, OfKey
from streamapp.core.model import Status, Timings
from streamapp.dispatch.ready import AT_ONCE, OVERDUE_AGAIN_AFTER, DagFigures, Phase, Ready
from tests.support.builders import entry, policy
from tests.support.manual_clock import START, ManualClock

SECOND = timedelta(seconds=1)


class Index(Ready):
    """The real one, with its clock and a count of its calls for attention at hand."""

    def __init__(self):
        self.clock = ManualClock()
        self.woken = 0
        self.caps = {}
        super().__init__(self.clock, self._wake_up_call, lambda dag_id: self.caps.get(dag_id, 16))

    def _wake_up_call(self):
        self.woken += 1

    def take_all(self):
        notes = []
        while self.takeable:
            notes.append(self.take())
        return notes

    def offsets(self):
        return [note.source.offset for note in self.take_all()]


@pytest.fixture
def ready():
    return Index()


def at(offset, *, dag="probe", cap=16, partition=0, **fields):
    """An entry without a key, so that many stand side by side."""
    made = entry(offset, key=None, policy=policy(dag_id=dag, max_in_flight=cap), **fields)
    return replace(made, source=replace(made.source, partition=partition))


def running(of):
    return replace(of, status=Status.TRIGGERED, attempt=of.run_attempt)


def ended(of):
    return replace(of, status=Status.SUCCEEDED, attempt=1)


def test_an_empty_index_has_nothing(ready):
    assert (ready.takeable, ready.take(), len(ready), ready.advance()) == (False, None, 0, [])


def test_a_partition_that_was_taken_in_later_is_not_behind_the_other(ready):
    def sent(second, partition, *, taken_in):
        made = at(second, partition=partition, recorded_at=START + second * SECOND)
        return replace(made, timings=Timings(accepted_at=START + taken_in * SECOND))

    for second in (4, 2, 3, 5):
        ready.track(sent(second, 0, taken_in=10))
    ready.track(sent(1, 1, taken_in=20))
    assert ready.offsets() == [4, 1, 2, 3, 5], "in turn: who is ready for longest, who was sent first"


def test_a_time_of_a_record_that_is_yet_to_come_leaves_the_command_its_age(ready):
    for offset, (recorded, taken_in) in enumerate(((1, 1), (2, 2), (9999, 0))):
        made = at(offset, recorded_at=START + recorded * SECOND)
        ready.track(replace(made, timings=Timings(accepted_at=START + taken_in * SECOND)))
    assert ready.offsets() == [0, 2, 1]


def test_what_is_tracked_can_be_taken_once(ready):
    ready.track(at(3))
    assert ready.woken == 1
    note = ready.take()
    assert (note.source.offset, note.key, note.dag_id, note.run_attempt, note.phase) == (
        3,
        None,
        "probe",
        1,
        Phase.BUSY,
    )
    assert (ready.take(), ready.takeable) == (None, False)


@pytest.mark.parametrize("status", [status for status in Status if status.terminal] + [Status.BLOCKED])
def test_what_has_nothing_to_do_is_forgotten(ready, status):
    ready.track(at(0))
    ready.track(at(0, status=status))
    assert (ready.takeable, sum(ready.figures.values())) == (False, 0)


def test_dags_are_served_in_turn(ready):
    for offset in range(6):
        ready.track(at(offset, dag="ab"[offset >= 4]))
    assert ready.offsets() == [0, 4, 1, 5, 2, 3]


def test_a_dag_at_its_cap_does_not_stand_in_anothers_way(ready):
    for offset in range(4):
        ready.track(at(offset, dag="full", cap=2))
    ready.track(at(9, dag="other"))
    assert ready.offsets() == [0, 9, 1]


def test_a_run_counts_until_it_has_ended(ready):
    first, second = at(0, cap=1), at(1, cap=1)
    ready.track(first)
    ready.track(second)
    note = ready.take()
    assert not ready.takeable  # asked for
    ready.done(note, None)
    assert not ready.takeable  # reported
    ready.track(running(first))
    assert not ready.takeable  # running
    ready.track(ended(first))
    assert ready.offsets() == [1]


def test_a_run_found_at_a_rebuild_counts(ready):
    ready.track(running(at(0, cap=1)))
    ready.track(at(1, cap=1))
    assert not ready.takeable


def test_a_dispatch_that_is_tried_again_gives_its_room_back_meanwhile(ready):
    ready.track(at(0, cap=1))
    ready.track(at(1, cap=1))
    ready.done(ready.take(), 5 * SECOND)
    assert ready.offsets() == [1]


@pytest.mark.parametrize(("owned", "total", "may_run"), [(1, 1, 4), (1, 2, 2), (1, 3, 1), (1, 100, 1), (0, 4, 1)])
def test_a_dags_cap_is_shared_by_partitions_owned(ready, owned, total, may_run):
    for offset in range(6):
        ready.track(at(offset, cap=4))
    ready.share(owned, total)
    assert len(ready.offsets()) == may_run


def test_more_partitions_wake_who_waits(ready):
    ready.share(1, 4)
    assert ready.woken == 1


def test_without_a_cap_of_its_route_a_dag_has_its_own(ready):
    for offset in range(6):
        ready.track(at(offset, cap=None, dag="small" if offset % 2 else "large"))
    ready.caps = {"small": 1}
    assert sorted(ready.offsets()) == [0, 1, 2, 4]
    ready.caps = {"small": 2}
    ready.caps_changed()
    assert ready.offsets() == [3]


def test_a_dag_keeps_its_turn_while_it_has_no_room(ready):
    for offset, dag in enumerate("aabbcc"):
        ready.track(at(offset, dag=dag, cap=1))
    assert [ready.take().dag_id, ready.take().dag_id] == ["a", "b"]
    ready.track(ended(at(2, dag="b", cap=1)))
    ready.track(ended(at(0, dag="a", cap=1)))
    assert ready.offsets() == [4, 1, 3]


def test_who_comes_after_one_without_room_may_have_room(ready):
    for offset, cap in enumerate((1, 1, 2)):
        ready.track(at(offset, cap=cap))
    assert ready.offsets() == [0]
    ready.track(ended(at(1, cap=1)))
    assert ready.offsets() == [2]


def test_dags_without_room_are_not_looked_at_again_and_again(ready):
    """G6: what a dispatch costs is the same, however many DAGs wait for room."""
    looked = Counter()
    cap_of = ready._cap_of

    def counted(dag_id):
        looked[dag_id] += 1
        return cap_of(dag_id)

    ready._cap_of = counted
    for number in range(500):
        ready.caps[f"full-{number}"] = 1
        for offset in (2 * number, 2 * number + 1):
            ready.track(at(offset, dag=f"full-{number}", cap=None))
    assert len(ready.take_all()) == 500
    looked.clear()
    for offset in range(5000, 5100):
        ready.track(at(offset, dag="open", cap=None))
        assert ready.take().dag_id == "open"
        ready.track(ended(at(offset, dag="open", cap=None)))
        assert not ready.takeable
    assert looked.total() == looked["open"] <= 300


@pytest.mark.parametrize("others", ["full", "missing", "paused"])
def test_however_many_wait_for_one_dag_another_is_next(ready, others):
    """A DAG at its cap, one whose commands are tried again and again, one whose runs stay queued."""
    for offset in range(50):
        ready.track(at(offset, dag="slow", cap=4))
    for note in ready.take_all():
        if others == "missing":
            ready.done(note, SECOND)
        elif others == "paused":
            ready.track(running(at(note.source.offset, dag="slow", cap=4)))
    ready.track(at(99, dag="quick"))
    taken = [ready.take().source.offset for _ in range(2 if others == "missing" else 1)]
    assert 99 in taken


def test_it_tells_how_dags_stand(ready):
    assert (ready.dags, ready.by_dag) == (set(), {})
    for offset in range(3):
        ready.track(at(offset, dag="a", cap=2))
    ready.track(running(at(8, dag="b", cap=None)))
    ready.caps = {"b": 6}
    ready.take_all()
    ready.share(1, 2)
    assert ready.dags == {"a", "b"}
    ready.track(at(9, dag="c"))
    ready.done(ready.take(), SECOND)
    assert ready.by_dag.pop("c") == DagFigures(queued=0, outstanding=0, cap=8)
    ready.drop(frozenset({0}))
    assert ready.dags == set()


def test_it_tells_the_share_of_caps(ready):
    for offset in range(3):
        ready.track(at(offset, dag="a", cap=2))
    ready.track(running(at(8, dag="b", cap=None)))
    ready.caps = {"b": 6}
    ready.take_all()
    ready.share(1, 2)
    assert ready.by_dag == {
        "a": DagFigures(queued=1, outstanding=2, cap=1),
        "b": DagFigures(queued=0, outstanding=1, cap=3),
    }


def test_a_resume_costs_what_its_partition_has(ready):
    """It comes once for each partition."""
    for partition in range(10):
        ready.steer(partition, OfDag(""), stopped=True)
        for offset in range(10):
            ready.track(at(offset, partition=partition))
    assert ready.figures["stopped"] == 100
    asked = []
    cover = ready._stops.cover
    ready._stops.cover = lambda source, *rest: asked.append(source.partition) or cover(source, *rest)
    for stopped in (False, True):
        ready.steer(3, OfDag(""), stopped=stopped)
        assert ready.figures["stopped"] == (100 if stopped else 90)
    assert set(asked) == {3}


# Time


def test_not_before_is_kept(ready):
    ready.track(at(0, not_before=START + 2 * SECOND))
    assert not ready.takeable
    ready.clock.advance(SECOND)
    ready.advance()
    assert not ready.takeable
    ready.clock.advance(SECOND)
    woken = ready.woken
    ready.advance()
    assert ready.woken > woken
    assert ready.offsets() == [0]


def test_a_time_that_has_come_delays_nothing(ready):
    ready.track(at(0, not_before=START))
    assert ready.offsets() == [0]


def test_what_waits_for_a_time_does_not_fill_the_index(ready):
    ready.track(at(0, not_before=START + SECOND))
    ready.track(running(at(1)))
    assert len(ready) == 0
    ready.track(at(2))
    ready.track(at(3))
    first, second = ready.take_all()
    assert len(ready) == 2
    ready.done(first, None)
    ready.done(second, SECOND)
    assert len(ready) == 2
    assert (ready.figures["reported"], ready.figures["backing_off"]) == (1, 1)


def test_a_try_again_comes_after_its_delay(ready):
    ready.track(at(0))
    ready.done(ready.take(), 5 * SECOND)
    ready.clock.advance(4 * SECOND)
    ready.advance()
    assert not ready.takeable
    ready.clock.advance(SECOND)
    ready.advance()
    assert ready.offsets() == [0]


def test_a_new_attempt_replaces_what_waited(ready):
    ready.track(at(0, not_before=START + SECOND))
    ready.track(at(0, not_before=START + 9 * SECOND))
    ready.clock.advance(SECOND)
    ready.advance()
    assert not ready.takeable
    ready.clock.advance(8 * SECOND)
    ready.advance()
    assert ready.offsets() == [0]


# Deadlines


def test_a_passed_deadline_is_told_and_its_command_is_not_handed_out_any_more(ready):
    ready.track(at(0, deadline=START + SECOND))
    assert ready.advance() == []
    ready.clock.advance(SECOND)
    assert not ready.takeable  # also before anybody has looked at the time
    assert ready.take() is None
    assert [note.source.offset for note in ready.advance()] == [0]
    assert ready.advance() == []
    assert not ready.takeable


def test_thousands_of_deadlines_that_have_passed_hold_up_no_other_dag(ready):
    """Nobody knows of them yet, and only so many are seen to in one go."""
    for offset in range(20 * AT_ONCE):
        ready.track(at(offset, dag="old", deadline=START + SECOND))
    for offset in range(10):
        ready.track(at(offset, dag="new", partition=1, cap=99))
    ready.clock.advance(SECOND)
    assert ready.offsets() == list(range(10))


def test_a_deadline_that_had_passed_before_is_told_at_once(ready):
    ready.track(at(0, deadline=START - SECOND))
    ready.track(at(1))
    assert ready.offsets() == [1]
    assert [note.source.offset for note in ready.advance()] == [0]


def test_a_deadline_that_led_to_nothing_is_told_again(ready):
    ready.track(at(0, deadline=START))
    ready.advance()
    ready.clock.advance(OVERDUE_AGAIN_AFTER - SECOND)
    assert ready.advance() == []
    ready.clock.advance(SECOND)
    assert [note.source.offset for note in ready.advance()] == [0]


@pytest.mark.parametrize("delay", [SECOND, 20 * SECOND])
def test_a_deadline_passes_while_the_command_waits_for_a_time(ready, delay):
    ready.track(at(0, not_before=START + delay, deadline=START + SECOND))
    ready.clock.advance(SECOND)
    assert [note.source.offset for note in ready.advance()] == [0]
    ready.clock.advance(delay)
    ready.advance()
    assert not ready.takeable


def test_a_deadline_passes_while_the_sink_has_the_command(ready):
    ready.track(at(0, deadline=START + SECOND))
    note = ready.take()
    ready.clock.advance(SECOND)
    assert ready.advance() == [note]
    ready.done(note, SECOND)
    ready.clock.advance(SECOND)
    ready.advance()
    assert not ready.takeable


@pytest.mark.parametrize("now", [running, ended, lambda of: replace(of, ending=Status.EXPIRED)])
def test_a_deadline_ends_with_a_run_or_a_verdict(ready, now):
    ready.track(at(0, deadline=START + SECOND))
    ready.track(now(at(0, deadline=START + SECOND)))
    ready.clock.advance(2 * SECOND)
    assert ready.advance() == []


def test_many_that_come_due_at_once_are_woken_a_few_at_a_time(ready):
    """Else the event loop would stand still for so long that the worker loses its partitions, and the next one, too."""
    many = 3 * AT_ONCE
    for offset in range(many):
        ready.track(at(offset, not_before=START + SECOND))
    ready.clock.advance(SECOND)
    for woken in range(AT_ONCE, many + 1, AT_ONCE):
        ready.advance()
        assert (ready.figures["queued"], ready.later) == (woken, many - woken)
    assert ready.offsets() == list(range(16))  # as many as there is room for


@pytest.mark.parametrize("not_before", [START, START + timedelta(hours=1)])
def test_many_deadlines_that_pass_at_once_are_told_a_few_at_a_time_the_first_ones_first(ready, not_before):
    many = 3 * AT_ONCE
    for offset in range(many):
        ready.track(at(offset, not_before=not_before, deadline=START + SECOND))
    ready.clock.advance(SECOND)
    told = [[note.source.offset for note in ready.advance()] for _ in range(4)]
    assert [len(some) for some in told] == [AT_ONCE] * 3 + [0]
    assert [offset for some in told for offset in some] == list(range(many))
    ready.clock.advance(OVERDUE_AGAIN_AFTER)
    assert len(ready.advance()) == AT_ONCE


def test_many_that_are_overdue_are_set_aside_a_few_at_a_time_and_what_is_behind_them_starts(ready):
    many = 3 * AT_ONCE
    for offset in range(many):
        ready.track(at(offset, deadline=START + SECOND))
    ready.track(at(many))
    ready.clock.advance(SECOND)
    looks = 0
    while not ready.takeable:
        looks += 1
        assert ready.figures["queued"] == many + 1 - looks * AT_ONCE
    assert looks == 3
    assert ready.offsets() == [many]


def test_deadlines_and_times_leave_nothing_behind(ready):
    for offset in range(100):
        command = at(offset, deadline=START + timedelta(days=1), not_before=START + timedelta(hours=1))
        ready.track(command)
        ready.track(replace(command, not_before=None))
        ready.track(running(command))
        ready.track(ended(command))
    assert not ready._deadlines
    assert not ready._later
    assert not ready._notes
    assert not ready._queues
    assert ready._outstanding == Counter()


# Endings


def test_an_ending_command_needs_no_room_and_passes_those_that_do(ready):
    ready.track(running(at(0, cap=1)))
    ready.track(at(1, cap=1))
    ready.track(at(2, cap=1, ending=Status.EXPIRED))
    (note,) = ready.take_all()
    assert (note.source.offset, note.ending, note.settling) == (2, True, True)


def test_an_ending_command_waits_for_no_time(ready):
    ready.track(at(0, not_before=START + SECOND))
    ready.track(at(0, not_before=START + SECOND, ending=Status.EXPIRED))
    assert ready.offsets() == [0]


def test_a_verdict_that_comes_while_the_sink_is_busy_is_settled_next(ready):
    ready.track(at(0))
    note = ready.take()
    ready.track(at(0, ending=Status.EXPIRED))
    assert not ready.takeable  # one at a time
    ready.done(note, timedelta(hours=1))
    assert ready.take() is note


def test_settling_is_tried_again_after_a_delay(ready):
    """Airflow is away: asking without a pause would not bring it back."""
    ready.track(at(0, ending=Status.EXPIRED))
    ready.done(ready.take(), 5 * SECOND)
    assert not ready.takeable
    ready.clock.advance(5 * SECOND)
    ready.advance()
    assert ready.offsets() == [0]


# What comes back


def test_a_report_waits_for_its_fold(ready):
    ready.track(at(0))
    ready.done(ready.take(), None)
    assert (ready.takeable, ready.figures["reported"]) == (False, 1)
    ready.track(running(at(0)))
    assert ready.figures["running"] == 1


def test_the_same_attempt_is_not_handed_out_twice(ready):
    ready.track(at(0))
    ready.take()
    ready.track(at(0))
    assert not ready.takeable


def test_what_was_reported_is_not_asked_for_again_by_a_retry_that_is_folded_before_the_report(ready):
    waits = at(0, status=Status.ATTEMPT_FAILED, attempt=1)
    ready.track(waits)
    ready.done(ready.take(), None)
    ready.track(waits)
    assert (ready.takeable, ready.figures["reported"]) == (False, 1), "the report may be a refusal"
    ready.track(at(0, status=Status.ATTEMPT_FAILED, attempt=2))
    assert ready.take().run_attempt == 3


def test_what_was_reported_is_looked_up_once_it_is_to_end(ready):
    ready.track(at(0))
    ready.done(ready.take(), None)
    ready.track(at(0, ending=Status.CANCELLED))
    assert ready.take().settling


def test_the_next_attempt_is_handed_out_although_the_sink_still_has_the_last(ready):
    """Another owner's run was adopted, failed, and is to be tried again."""
    ready.track(at(0))
    old = ready.take()
    ready.track(at(0, status=Status.ATTEMPT_FAILED, attempt=1))
    note = ready.take()
    assert note.run_attempt == 2
    ready.done(old, None)
    assert ready.figures["busy"] == 1


def test_what_was_folded_meanwhile_counts_more_than_what_the_sink_brings_back(ready):
    ready.track(at(0))
    note = ready.take()
    ready.track(running(at(0)))
    ready.done(note, SECOND)
    assert ready.figures["running"] == 1
    ready.clock.advance(SECOND)
    ready.advance()
    assert not ready.takeable


def test_a_dispatch_that_is_no_longer_due_is_forgotten(ready):
    ready.track(at(0, cap=1))
    ready.track(at(1, cap=1))
    ready.forget(ready.take())
    assert ready.offsets() == [1]


def test_forgetting_does_not_touch_a_newer_note(ready):
    ready.track(at(0))
    old = ready.take()
    ready.track(running(at(0)))
    ready.forget(old)
    assert ready.figures["running"] == 1


# Partitions


def test_entries_of_partitions_that_went_are_gone(ready):
    for partition in (0, 1):
        ready.track(at(0, partition=partition))
        ready.track(at(1, partition=partition, not_before=START + SECOND))
        ready.track(at(2, partition=partition, deadline=START + SECOND))
        ready.track(running(at(3, partition=partition)))
    busy = ready.take()
    ready.drop(frozenset({0}))
    ready.done(busy, SECOND)
    ready.clock.advance(SECOND)
    assert {note.source.partition for note in ready.advance()} == {1}
    assert {note.source.partition for note in ready.take_all()} == {1}
    assert sum(ready.figures.values()) == 4


def test_a_dispatch_whose_partition_went_and_came_back_is_another_one(ready):
    ready.track(at(0, partition=1))
    note = ready.take()
    assert ready.knows(note)
    ready.drop(frozenset({1}))
    ready.track(at(0, partition=1))
    assert not ready.knows(note)
    assert ready.knows(ready.take())


def test_the_same_offset_of_two_partitions_is_two_entries(ready):
    ready.track(at(0, partition=0))
    ready.track(at(0, partition=1))
    assert len(ready.take_all()) == 2


def test_runs_of_partitions_that_went_give_their_room_back(ready):
    ready.track(running(at(0, cap=1)))
    ready.track(at(0, cap=1, partition=1))
    ready.drop(frozenset({0}))
    assert len(ready.take_all()) == 1


def test_figures_name_every_phase(ready):
    assert ready.figures == {phase.name.lower(): 0 for phase in Phase}
    ready.track(running(at(0)))
    assert ready.figures["running"] == 1


def test_a_hold_goes_with_its_partition(ready):
    """Released at another worker meanwhile, the key would stay on hold here once the partition comes back."""
    ready.steer(0, OfKey(b"k"), stopped=True)
    ready.drop(frozenset({0}))
    ready.track(entry(0))
    assert ready.offsets() == [0]
