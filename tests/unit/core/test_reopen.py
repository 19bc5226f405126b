"""Redrives and replays: records that open the next round of a command."""

from dataclasses import replace

import pytest

from streamapp.core.effects import Identity, Reopened
from streamapp.core.model import Action, Holder, Original, Reason, Reopens, RunState, Status
from streamapp.core.prune import expired
from tests.support.builders import (
    AT,
    SECOND,
    instructed,
    observed,
    received,
    refused,
    rejection,
    run_ended,
    source,
    triggered,
)
from tests.support.memory import MemoryLedger, Table, letters, outcomes, tracked

ROUND_1 = Reopens(source(0), 1)


def redriven(offset=5, reopens=ROUND_1, **fields):
    """A record whose own id is another: it was made from its position."""
    return replace(received(offset, **({"id": f"commands-0-{offset}"} | fields)), reopens=reopens)


def run(table, offset, result=RunState.SUCCESS):
    table.fold(observed(triggered(table.entry(offset))))
    return table.fold(observed(run_ended(table.entry(offset), result)))


@pytest.fixture
def table():
    """A failed command, and others of its key behind it."""
    table = Table()
    table.folds(received(0), received(1), received(2))
    run(table, 0, RunState.FAILED)
    return table


def test_a_redriven_command_opens_its_next_round_at_the_end_of_its_key(table):
    decision = table.fold(redriven())
    now = table.entry(5)
    assert (now.id, now.round, now.attempt, now.status) == ("c0", 2, 0, Status.ACCEPTED)
    assert tracked(decision) == []  # two others of its key come first
    (said,) = outcomes(decision)
    assert (said.id, said.command_id, said.round) == ("commands-0-5-2.0-accepted", "c0", 2)
    assert said.detail == "follows commands-0-0-1"
    assert table.partition.holder("c0") == Holder(b"k", 5)


def test_a_redriven_command_that_fails_again_has_another_dead_letter(table):
    table.fold(redriven())
    run(table, 1)
    run(table, 2)
    (letter,) = letters(run(table, 5, RunState.FAILED))
    assert letter.id == "commands-0-5-2"
    table.fold(redriven(6, Reopens(source(5), 2)))
    assert (table.entry(6).round, table.entry(6).id) == (3, "c0")


def test_a_dead_letter_is_redriven_once(table):
    table.folds(redriven(5), redriven(6))
    assert (table.entry(6).status, table.entry(6).duplicate_of) == (Status.DUPLICATE, "commands-0-5")
    assert table.entry(6).detail == "commands-0-0-1 was followed by commands-0-5 already"
    assert table.entry(5).status is Status.ACCEPTED


def test_a_producer_who_sends_the_command_again_meets_the_newest_round(table):
    table.fold(redriven())
    table.fold(received(7, id="c0"))
    assert table.entry(7).duplicate_of == "commands-0-5"


def test_a_record_of_another_key_opens_no_round(table):
    """Both would be under way at once, and what is said of the command would meet the wrong one."""
    decision = table.fold(redriven(6, Reopens(source(1), 1), key=b"other", id="c1"))
    (said,) = outcomes(decision)
    assert (said.status, said.reason) == (Status.REJECTED, Reason.INVALID_COMMAND)
    assert said.detail == "commands-0-1 has another key, and rounds of a command have one"
    assert table.partition.holder("c1") == Holder(b"k", 1)


def test_a_rejected_record_is_redriven_mended():
    table = Table()
    table.fold(received(0, content=rejection(id="commands-0-0")))
    decision = table.fold(redriven(original=Original(b"mended")))
    assert (table.entry(5).id, table.entry(5).round) == ("commands-0-0", 2)
    assert [entry.source.offset for entry in tracked(decision)] == [5]


def test_a_record_that_is_rejected_again_can_be_redriven_again():
    table = Table()
    table.fold(received(0, content=rejection(id="commands-0-0")))
    decision = table.fold(replace(received(5, content=rejection(id="commands-0-5")), reopens=ROUND_1))
    assert [said.id for said in outcomes(decision)] == ["commands-0-5-2.0-rejected"]
    assert [letter.id for letter in letters(decision)] == ["commands-0-5-2"]
    table.fold(redriven(6, Reopens(source(5), 2)))
    assert (table.entry(6).id, table.entry(6).round) == ("commands-0-0", 3)


def test_a_dead_letter_whose_redrive_is_rejected_was_redriven_all_the_same(table):
    """The rejection has left a dead letter of its own. Were the old one redriven, too, two records would be round 2."""
    table.fold(replace(received(5, content=rejection(id="commands-0-5")), reopens=ROUND_1))
    decision = table.fold(redriven(6))
    assert (table.entry(6).status, table.entry(6).duplicate_of) == (Status.DUPLICATE, "commands-0-5")
    assert letters(decision) == []


@pytest.mark.parametrize("kept", range(4))
def test_a_command_that_has_run_and_whose_redrive_is_rejected_can_be_redriven_again(table, kept):
    """Its route was taken out for a while, say."""
    table.fold(replace(received(5, content=rejection(Reason.UNKNOWN_ROUTE, id="commands-0-5")), reopens=ROUND_1))
    assert (table.entry(5).status, table.entry(5).id, table.entry(5).round) == (Status.REJECTED, "c0", 2)
    again = redriven(6, Reopens(source(5), 2))
    table.fold(again, keep=kept)
    successor = table.again()
    successor.fold(again)
    assert (successor.entry(6).status, successor.entry(6).id, successor.entry(6).round) == (Status.ACCEPTED, "c0", 3)
    assert successor.partition.holder("c0") == Holder(b"k", 6)


def test_a_command_that_has_run_holds_its_id_although_its_redrive_is_refused(table):
    table.fold(redriven())
    run(table, 1)
    run(table, 2)
    table.fold(observed(refused(table.entry(5))))
    assert table.entry(5).status is Status.REJECTED
    table.fold(received(6, id="c0"))
    assert (table.entry(6).status, table.entry(6).duplicate_of) == (Status.DUPLICATE, "commands-0-0")
    table.fold(redriven(7, Reopens(source(5), 2)))
    assert (table.entry(7).status, table.entry(7).round) == (Status.ACCEPTED, 3)


def test_a_record_read_again_does_not_take_its_id_back_from_a_round_that_was_refused(table):
    """Else the round after that one would be taken for a duplicate."""
    table.fold(redriven())
    run(table, 1)
    run(table, 2)
    table.fold(observed(refused(table.entry(5))))
    successor = table.again()
    successor.folds(received(0), redriven())
    successor.fold(redriven(6, Reopens(source(5), 2)))
    assert (successor.entry(6).status, successor.entry(6).round) == (Status.ACCEPTED, 3)


def test_a_record_read_again_does_not_take_its_id_back_from_the_next_round(table):
    """Else an operator who cancels the command would be told that it has ended, while its next round runs on."""
    table.fold(redriven())
    successor = table.again()
    successor.fold(received(0))
    assert successor.partition.holder("c0") == Holder(b"k", 5)


def test_an_id_that_another_command_has_taken_meanwhile_is_its():
    table = Table()
    table.fold(received(0, content=rejection(id="c0")))
    table.fold(received(1, id="c0"))
    table.fold(redriven())
    assert (table.entry(5).status, table.entry(5).duplicate_of) == (Status.DUPLICATE, "commands-0-1")
    assert table.entry(5).id == "c0"  # the one that was to be redriven, by which its sender knows it


@pytest.mark.parametrize(
    ("reopens", "why"),
    [
        (Reopens(source(1), 1), "commands-0-1 has not ended: retry, skip or cancel it where it stands"),
        (Reopens(source(0), 2), "commands-0-0 is round 1 of its command, not 2"),
        (Reopens(source(3), 1), "commands-0-3 was a duplicate of commands-0-1: run that again"),
        (Reopens(source(4), 1), "commands-0-4 has ended as succeeded: there is nothing to redrive, but it can be"),
    ],
)
def test_what_can_not_be_redriven_is_rejected_and_nothing_is_lost(table, reopens, why):
    table.folds(received(3, id="c1"), received(4, key=None))
    table.fold(observed(triggered(table.entry(4, None))))
    table.fold(observed(run_ended(table.entry(4, None))))
    key = None if reopens.source.offset == 4 else b"k"
    decision = table.fold(redriven(reopens=reopens, key=key))
    (said,) = outcomes(decision)
    assert (said.status, said.reason, said.round) == (Status.REJECTED, Reason.INVALID_COMMAND, 1)
    assert said.detail.startswith(why)
    assert [letter.id for letter in letters(decision)] == ["commands-0-5-1"]


def test_what_is_rejected_leaves_the_round_open(table):
    table.fold(redriven(reopens=Reopens(source(1), 1)))
    run(table, 1, RunState.FAILED)
    table.fold(redriven(6, Reopens(source(1), 1)))
    assert (table.entry(6).id, table.entry(6).round) == ("c1", 2)


def test_a_replay_runs_again_what_has_succeeded(table):
    run(table, 1)
    (said,) = outcomes(table.fold(redriven(reopens=Reopens(source(1), 1, "monday"))))
    assert (said.command_id, said.round, said.replay_id) == ("c1", 2, "monday")


def test_a_round_is_followed_by_one_replay_only(table):
    run(table, 1)
    table.folds(
        redriven(5, Reopens(source(1), 1, "monday")),
        redriven(6, Reopens(source(1), 1, "monday")),
        redriven(7, Reopens(source(1), 1, "tuesday")),
    )
    assert [table.entry(offset).duplicate_of for offset in (6, 7)] == ["commands-0-5"] * 2


def test_what_is_forgotten_is_believed_and_still_redriven_once():
    table = Table()
    table.folds(redriven(5, id="c0"), redriven(6, id="c0"))
    assert (table.entry(5).round, table.entry(5).id) == (2, "c0")
    assert table.entry(6).status is Status.DUPLICATE


def test_what_is_forgotten_is_a_duplicate_where_another_key_has_its_id_meanwhile():
    table = Table()
    table.folds(received(3, key=b"other", id="c0"), redriven(5, id="c0"))
    assert (table.entry(5).status, table.entry(5).duplicate_of) == (Status.DUPLICATE, "commands-0-3")


@pytest.mark.parametrize("kept", range(4))
def test_a_redrive_read_again_after_a_crash_is_whole(table, kept):
    table.fold(redriven(), keep=kept)
    successor = table.again()
    decision = successor.fold(redriven(at=AT + SECOND))
    assert [said.id for said in outcomes(decision)] == ["commands-0-5-2.0-accepted"]
    assert successor.partition.holder("c0") == Holder(b"k", 5)
    assert successor.partition.reopened("commands-0-0-1") == Holder(b"k", 5)
    successor.fold(redriven(6))
    assert successor.entry(6).status is Status.DUPLICATE


def test_the_mark_of_a_round_is_forgotten_with_the_record_that_made_it(table):
    table.fold(redriven())
    run(table, 1)
    run(table, 2)
    run(table, 5)
    removals = expired(table.partition, table.entry(5), before=AT + SECOND, committed=9)
    assert [removal.key for removal in removals][:2] == [Identity("c0"), Reopened("commands-0-0-1")]


def test_an_instruction_that_a_crash_cut_short_is_not_followed_for_later_rounds():
    """Nor where one of them was rejected as it came, so that it has nothing but its place between the others."""
    table = Table()
    table.folds(received(0), received(1))
    cancel = instructed(Action.CANCEL, command_id="c1")
    table.fold(cancel, keep=1)
    table.fold(replace(redriven(2, Reopens(source(1), 1, "a")), content=rejection(id="c1"), policy=None))
    table.fold(redriven(3, Reopens(source(2), 2, "a")))
    (said, *_) = outcomes(table.again().fold(cancel))
    assert (said.status, said.source, table.entry(3).status) == (
        Status.INSTRUCTION_APPLIED,
        source(1),
        Status.ACCEPTED,
    )


# What it costs


class CountedLedger(MemoryLedger):
    gets = 0

    def get(self, partition, key):
        self.gets += 1
        return super().get(partition, key)


def gets(table, event):
    """G6: how many rows are read to fold this."""
    before = table.ledger.gets
    table.fold(event)
    return table.ledger.gets - before


def test_a_redrive_costs_the_same_however_many_rounds_were_refused_before():
    table, costs = Table(CountedLedger()), []
    table.fold(received(0))
    for offset in range(1, 50):
        table.fold(observed(refused(table.entry(offset - 1))))
        costs.append(gets(table, redriven(offset, Reopens(source(offset - 1), offset))))
    assert table.entry(49).round == 50
    assert set(costs) == {costs[0]}


def test_an_instruction_costs_the_same_however_many_rounds_there_were():
    table, costs = Table(CountedLedger()), []
    table.fold(received(0))
    for offset in range(1, 50):
        run(table, offset - 1)
        table.fold(redriven(offset, Reopens(source(offset - 1), offset, "replayed")))
        costs.append(gets(table, instructed(Action.RETRY, offset=offset, command_id="c0")))
    assert set(costs) == {costs[0]}
