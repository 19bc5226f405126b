from dataclasses import replace
from datetime import timedelta

import pytest

from streamapp.cli.choosing import Chosen
from streamapp.cli.letters import Letter, Search
from streamapp.cli.redrive import changed_value
from streamapp.cli.redriving import Way, instruction_of, plan, record_of
from streamapp.cli.values import Shown
from streamapp.core.errors import ConfigError
from streamapp.core.key import MAX_KEY_BYTES
from streamapp.core.model import Action, DeadLetter, Original, Reason, Reopens, Status
from streamapp.settings import Settings
from streamapp.wire.discards import Discard
from tests.support.builders import AT, source
from tests.support.rounds import rounds, said

SETTINGS = Settings()
ALL = Chosen()


def letter(offset=0, *, value=b"{}", key=b"k", known=None, **fields):
    dead = DeadLetter(
        source=source(offset), key=key, original=Original(value, (("mine", b"1"),)), round=1,
        reason=Reason.RUN_FAILED, detail="it failed", at=AT,
    )  # fmt: skip
    known = known or rounds(said(offset, Status.FAILED))
    follower = known.follower((0, offset), 1)
    return Letter(
        letter=dead, place=(0, 0), shown=Shown("json", {}), told=known.told((0, offset)), follower=follower,
        follower_told=known.told(follower[0].place) if follower else None, **fields,
    )  # fmt: skip


def the_plan(*letters, known=None, chosen=ALL, end=100, at=AT):
    return plan(SETTINGS, chosen, Search(list(letters), known or rounds(), {0: end}), at)


def test_a_dead_letter_goes_to_the_end_of_its_key():
    (step,) = the_plan(letter())
    assert (step.id, step.way, step.why) == ("commands-0-0-1", Way.AT_END, "")
    key, value, headers = record_of(step.letter, b"{}")
    assert (key, value, headers) == (b"k", b"{}", [("mine", b"1"), ("streamapp-redrive", b"commands-0-0-1")])


def test_what_holds_its_key_is_tried_again_in_place():
    (step,) = the_plan(known=rounds(said(3, Status.BLOCKED, attempt=2, reason=Reason.RUN_FAILED)))
    assert (step.id, step.way) == ("commands-0-3-1", Way.IN_PLACE)
    given = instruction_of(step, "ann", AT)
    assert (given.action, given.command_id, given.by) == (Action.RETRY, "c3", "ann")
    assert given.control_id == "redrive-commands-0-3-1.2"  # the same however often it is given, for this failure


def test_all_stand_in_the_order_of_their_offsets():
    steps = the_plan(letter(4), letter(0), known=rounds(said(2, Status.BLOCKED)))
    assert [(step.place[1], step.way) for step in steps] == [(0, Way.AT_END), (2, Way.IN_PLACE), (4, Way.AT_END)]


def test_a_letter_that_was_redriven_is_passed_over():
    followed = {"at5": Reopens(source(0), 1)}
    (step,) = the_plan(letter(known=rounds(**followed)))
    assert (step.way, step.why) == (Way.NOT, "already redriven as commands-0-5: not yet read")
    (step,) = the_plan(letter(known=rounds(said(5, Status.FAILED, round_=2), **followed)))
    assert step.why == "already redriven as commands-0-5: failed"


def test_a_letter_whose_record_was_refused_is_redriven_again():
    (step,) = the_plan(letter(known=rounds(said(5, Status.REJECTED), at5=Reopens(source(0), 1))))
    assert step.way is Way.AT_END


def test_a_discarded_letter_is_redriven_only_by_name():
    discarded = letter(discard=Discard(dlq_id="commands-0-0-1", by="ann", at=AT))
    assert [step.why for step in the_plan(discarded)] == ["discarded"]
    (step,) = the_plan(discarded, chosen=Chosen(ids=frozenset({"commands-0-0-1"})))
    assert step.way is Way.AT_END


@pytest.mark.parametrize(
    ("dead", "more", "why"),
    [
        (letter(value=None), {}, "it has no value"),
        (letter(value=b"x" * SETTINGS.max_command_bytes), {}, "it is too large"),
        (letter(key=b"k" * (MAX_KEY_BYTES + 1)), {}, "its key is too long"),
        (letter(7), {"end": 7}, "the topic was made anew"),
    ],
)
def test_what_can_not_be_redriven(dead, more, why):
    (step,) = the_plan(dead, **more)
    assert step.way is Way.NOT
    assert why in step.why


async def test_a_changed_value_has_to_fit_with_the_header_of_a_redrive():
    """Else it would be sent, told as redriven, and rejected as too large."""
    before = letter(value=b'{"command": "app.probe", "params": "{}"}')
    before = replace(before, shown=Shown("json", {"command": "app.probe", "params": {}}))

    def params(length):
        return {"text": "x" * length}

    room = SETTINGS.max_command_bytes - record_of(before, await changed_value(SETTINGS, before, params(0))).size
    fits = await changed_value(SETTINGS, before, params(room))
    assert record_of(before, fits).size == SETTINGS.max_command_bytes
    with pytest.raises(ConfigError, match=r"too_large.*nothing was sent"):
        await changed_value(SETTINGS, before, params(room + 1))


def test_what_the_workers_may_have_forgotten_is_said_to_be():
    old = replace(letter(), told=None)
    (step,) = the_plan(old, at=AT + SETTINGS.retention + timedelta(seconds=1))
    assert (step.way, step.why) == (Way.AT_END, "no longer known: it is taken as it stands there")


def test_a_named_command_that_has_not_failed_is_told_apart():
    named = Chosen(ids=frozenset({"commands-0-3-1"}))
    retried = rounds(said(3, Status.BLOCKED), said(3, Status.INSTRUCTION_APPLIED, control_id="x"))
    assert [step.why for step in the_plan(known=retried, chosen=named)] == ["it is tried again already"]
    running = rounds(said(3, Status.TRIGGERED), said(4, Status.TRIGGERED))
    assert [step.why for step in the_plan(known=running, chosen=named)] == ["it has not failed for good: triggered"]


def test_filters_choose_what_holds_its_key_too():
    known = rounds(said(3, Status.BLOCKED, reason=Reason.RUN_FAILED))
    for fits in (Chosen(reasons=frozenset({"run_failed"})), Chosen(dag="pro*"), Chosen(key="k"), Chosen(since=AT)):
        assert len(the_plan(known=known, chosen=fits)) == 1
    for other in (Chosen(reasons=frozenset({"too_large"})), Chosen(dag="x"), Chosen(key="l"), Chosen(until=AT)):
        assert the_plan(known=known, chosen=other) == []


def test_a_limit_counts_what_is_redriven():
    done = letter(0, known=rounds(at9=Reopens(source(0), 1)))
    steps = the_plan(done, letter(1), letter(2), letter(3), chosen=Chosen(limit=2))
    assert [(step.place[1], step.way) for step in steps] == [(0, Way.NOT), (1, Way.AT_END), (2, Way.AT_END)]
