import tracemalloc
from types import SimpleNamespace

import pytest

from streamapp.cli.replay import _parcels
from streamapp.cli.replaying import Seen, Step, Why, plan
from streamapp.core.model import Reason, Reopens, Status
from streamapp.wire.outcomes import OutcomeCodec
from tests.support.builders import source
from tests.support.rounds import rounds, said

ANY = frozenset()


def the_step(known, offset=0, only=ANY):
    (step,) = plan([Seen((0, offset), empty=False, later_round=False)], known, "monday", only)
    return step


def test_a_command_that_has_ended_is_replayed():
    step = the_step(rounds(said(0, Status.SUCCEEDED)))
    assert (step.why, step.newest) == (None, Reopens(source(0), 1, "monday"))


def test_the_newest_round_is_followed():
    known = rounds(
        said(0, Status.FAILED),
        said(5, Status.FAILED, round_=2),
        said(9, Status.SUCCEEDED, round_=3),
        at5=Reopens(source(0), 1),
        at9=Reopens(source(5), 2, "tuesday"),
    )
    assert the_step(known).newest == Reopens(source(9), 3, "monday")
    assert the_step(known).status is Status.SUCCEEDED


def test_what_this_replay_has_sent_is_not_sent_again_whatever_became_of_it():
    again = {"at5": Reopens(source(0), 1, "monday")}
    for became in ([], [said(5, Status.ACCEPTED, round_=2, attempt=0)], [said(5, Status.REJECTED)]):
        assert the_step(rounds(said(0, Status.SUCCEEDED), *became, **again)).why is Why.DONE
    known = rounds(
        said(0, Status.SUCCEEDED),
        said(5, Status.SUCCEEDED, round_=2),
        said(9, Status.FAILED, round_=3),
        at9=Reopens(source(5), 2, "tuesday"),
        **again,
    )
    assert the_step(known).why is Why.DONE


@pytest.mark.parametrize(
    ("outcomes", "followers", "why"),
    [
        ([], {}, Why.UNKNOWN),
        ([said(0, Status.TRIGGERED)], {}, Why.NOT_ENDED),
        ([said(0, Status.BLOCKED)], {}, Why.NOT_ENDED),
        ([said(0, Status.DUPLICATE)], {}, Why.DUPLICATE),
        ([said(0, Status.REJECTED, reason=Reason.TOMBSTONE)], {}, Why.TOMBSTONE),
        ([said(0, Status.REJECTED, reason=Reason.TOO_LARGE)], {}, Why.TOO_LARGE),
        ([said(0, Status.FAILED)], {"at5": Reopens(source(0), 1)}, Why.ON_ITS_WAY),
    ],
)
def test_what_is_passed_over(outcomes, followers, why):
    assert the_step(rounds(*outcomes, **followers)).why is why


def test_only_some_endings():
    known = rounds(said(0, Status.FAILED), said(1, Status.SUCCEEDED))
    assert the_step(known, 0, frozenset({Status.FAILED})).why is None
    assert the_step(known, 1, frozenset({Status.FAILED})).why is Why.STATUS


def test_records_keep_the_order_in_which_they_arrived():
    known = rounds(
        *(said(offset, Status.SUCCEEDED) for offset in range(3)),
        said(5, Status.SUCCEEDED, round_=2),
        at5=Reopens(source(0), 1),
    )
    seen = [
        Seen((0, 5), empty=False, later_round=True),
        Seen((0, 2), empty=False, later_round=False),
        Seen((0, 0), empty=False, later_round=False),
        Seen((0, 1), empty=True, later_round=False),
    ]
    steps = list(plan(seen, known, "monday", ANY))
    assert [(step.place[1], step.why) for step in steps] == [
        (0, None),
        (1, Why.TOMBSTONE),
        (2, None),
        (5, Why.LATER_ROUND),
    ]


async def test_a_command_of_a_span_takes_less_than_2_kb_of_memory():
    commands, codec = 2000, OutcomeCodec(None, "commands-results")
    detail = "d" * 1000
    records = [codec.encode(said(offset, Status.SUCCEEDED, detail=detail)) for offset in range(commands)]
    tracemalloc.start()
    try:
        known = rounds()
        for record in records:
            known.note_outcome(await codec.decode(record.key, record.value))
        seen = [Seen((0, offset), empty=False, later_round=False) for offset in range(commands)]
        steps = list(plan(seen, known, "monday", ANY))
        taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(steps) == commands
    assert taken / commands < 2000


async def test_what_would_be_too_large_with_the_headers_of_a_replay_is_passed_over_and_said(capsys):
    values = {0: b"x" * 100, 1: b"x"}

    async def pick(_, offsets):
        return {offset: SimpleNamespace(key=b"k", value=values[offset], headers=()) for offset in offsets}

    steps = [Step((0, offset), newest=Reopens(source(offset), 1, "monday")) for offset in values]
    topic = SimpleNamespace(name="commands", pick=pick)
    assert [parcel.what.place async for parcel in _parcels(topic, steps, 120)] == [(0, 1)]
    assert capsys.readouterr().err == "commands-0-0: it would be too large with the headers of a replay; passed over\n"
