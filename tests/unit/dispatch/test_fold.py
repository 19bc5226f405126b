import asyncio

import pytest

from streamapp.core.effects import Free, Identity, OfKey, Queued, Settled
from streamapp.core.errors import ConfigError, TooLarge, Unsafe
from streamapp.core.events import Observed
from streamapp.core.key import MAX_KEY_BYTES
from streamapp.core.model import Action, Original, Reason, Status
from streamapp.dispatch.fold import Folds
from streamapp.dispatch.partition import Partition
from streamapp.wire import rows
from tests.support.builders import AT, instructed, observed, received, rejection, run_ended, triggered
from tests.support.memory import MemoryLedger, MemoryOutlet, Turns

COMMANDS, RESULTS = ("commands", 0), ("results", 0)


class Pipeline:
    """A fold pipeline whose logs and turns a test moves by hand."""

    def __init__(self, ledger=None, outlet=None):
        self.ledger = ledger or MemoryLedger()
        self.outlet = outlet or MemoryOutlet()
        self.turns = Turns()
        self.tracked = []
        self.steered = []
        self.acked = []
        self.failures = []
        self.folds = Folds(self.ledger, self.outlet, self, soon=self.turns, fail=self.failures.append)
        self.partitions = {}

    def track(self, entry):
        self.tracked.append(entry)

    def steer(self, partition, scope, *, stopped):
        self.steered.append((partition, scope, stopped))

    def partition(self, number=0):
        return self.partitions.setdefault(number, Partition(number, self.ledger, rows))

    def fold(self, event, source=COMMANDS, number=0):
        name = event.outcome.status if isinstance(event, Observed) else event.source.offset
        return self.folds.fold(source, self.partition(number), event, lambda: self.acked.append(name))

    @property
    def changelog(self):
        return self.ledger.changelogs[0]

    @property
    def results(self):
        return self.outlet.results[0]

    def settle(self):
        """Acknowledge everything, until nothing moves any more."""
        while True:
            logs = [*self.ledger.changelogs.values(), *self.outlet.logs]
            if not len(self.turns) and not any(log.in_flight for log in logs):
                return
            for log in logs:
                log.take_all()
            self.turns.turn()


@pytest.fixture
def pipe():
    return Pipeline()


def names(log):
    return [rows.parse_key(key) for key, _ in log.records]


# The four steps


def test_each_step_waits_for_the_acknowledgement_of_the_one_before(pipe):
    pipe.fold(received(0))
    assert [rows.parse_key(key) for (key, _), _ in pipe.changelog.in_flight] == [Queued(b"k", 0), Identity("c0")]

    pipe.changelog.take(1)
    pipe.turns.turn()
    assert (pipe.ledger.databases[0], len(pipe.results.in_flight), pipe.tracked) == ({}, 0, [])

    pipe.changelog.take(1)
    assert pipe.ledger.databases[0] == {}  # not inside the acknowledgement: one write for each turn
    pipe.turns.turn()
    assert set(map(rows.parse_key, pipe.ledger.databases[0])) == {Queued(b"k", 0), Identity("c0")}
    assert pipe.ledger.saved[0] == 1
    assert [outcome.status for outcome, _ in pipe.results.in_flight] == [Status.ACCEPTED]
    assert [entry.source.offset for entry in pipe.tracked] == [0]
    assert pipe.acked == []

    pipe.results.take(1)
    pipe.turns.turn()
    assert pipe.acked == [0]
    assert (pipe.folds.open, pipe.folds.acked) == (0, 1)


def test_a_hold_stops_its_key_once_its_row_is_safe_and_a_release_lets_it_go_on(pipe):
    """Without it, an operator is told that the key is on hold, and its commands start until the worker is restarted."""
    for number, action in enumerate([Action.HOLD, Action.RELEASE]):
        pipe.fold(instructed(action, offset=number, key=b"k"), ("control", 0))
        assert len(pipe.steered) == number
        pipe.settle()
    assert pipe.steered == [(0, OfKey(b"k"), True), (0, OfKey(b"k"), False)]


def test_folds_are_pipelined_and_the_next_one_sees_the_last(pipe):
    pipe.fold(received(0))
    decision = pipe.fold(received(1))
    assert len(decision.effects) == 1  # it waits behind the first of its key
    assert pipe.folds.open == 2
    pipe.settle()
    assert pipe.acked == [0, 1]
    assert len(pipe.partition()._overlay) == 0


def test_what_one_turn_acknowledges_is_written_at_once(pipe):
    for offset in range(5):
        pipe.fold(received(offset))
    pipe.changelog.take_all()
    pipe.turns.turn()
    assert pipe.ledger.writes == 1
    assert len(pipe.results.in_flight) == 5


def test_a_batch_ends_before_a_fold_that_is_half_acknowledged(pipe):
    pipe.fold(received(0))
    pipe.fold(received(1))
    pipe.changelog.take(3)
    pipe.turns.turn()
    assert pipe.ledger.saved[0] == 1
    assert len(pipe.results.in_flight) == 1
    pipe.changelog.take(1)
    pipe.turns.turn()
    assert pipe.ledger.saved[0] == 3


def test_acks_go_out_in_offset_order_for_each_source(pipe):
    pipe.fold(received(0, content=rejection()))  # an outcome and a dead letter
    pipe.fold(received(1))
    pipe.changelog.take_all()
    pipe.turns.turn()
    pipe.results.take_all()
    pipe.turns.turn()
    assert pipe.acked == []  # the dead letter of the first is still on its way
    pipe.outlet.dead_letters[0].take_all()
    pipe.turns.turn()
    assert pipe.acked == [0, 1]


def test_sources_do_not_wait_for_each_others_acks(pipe):
    pipe.fold(received(0, content=rejection()))
    pipe.settle()
    pipe.fold(received(1, content=rejection(id="c1")))
    pipe.fold(instructed("skip", offset=7), ("control", 0))
    pipe.changelog.take_all()
    pipe.turns.turn()
    pipe.results.take_all()
    pipe.turns.turn()
    assert pipe.acked == [0, 7]


def test_partitions_do_not_wait_for_each_other(pipe):
    pipe.fold(received(0))
    pipe.fold(received(0, partition=1), ("commands", 1), number=1)
    pipe.ledger.changelogs[1].take_all()
    pipe.turns.turn()
    assert pipe.ledger.saved[1] == 1
    assert pipe.ledger.saved[0] == -1


def test_a_fold_without_rows_waits_for_the_rows_before_it(pipe):
    """What it tells may rest on them."""
    pipe.fold(received(0))
    pipe.fold(instructed("retry", command_id="nobody", offset=5), ("control", 0))
    pipe.turns.turn()
    assert len(pipe.results.in_flight) == 0
    pipe.changelog.take_all()
    pipe.turns.turn()
    assert [outcome.status for outcome, _ in pipe.results.in_flight] == [Status.ACCEPTED, Status.INSTRUCTION_REFUSED]


def test_an_event_that_means_nothing_is_acked_in_its_turn(pipe):
    pipe.fold(received(0))
    pipe.folds.pass_over(COMMANDS, pipe.partition(), lambda: pipe.acked.append("passed"))
    pipe.turns.turn()
    assert pipe.acked == []
    pipe.settle()
    assert pipe.acked == [0, "passed"]


def test_an_event_without_rows_and_effects_is_acked_alone(pipe):
    pipe.folds.pass_over(COMMANDS, pipe.partition(), lambda: pipe.acked.append("passed"))
    assert pipe.acked == []
    pipe.settle()
    assert pipe.acked == ["passed"]


def test_effects_leave_in_the_order_of_folding_outcomes_before_what_is_tracked(pipe):
    order = []
    report = pipe.outlet.report
    pipe.outlet.report = lambda outcome: order.append(str(outcome.status)) or report(outcome)
    pipe.track = lambda entry: order.append(entry.source.offset)
    for offset in (0, 1):
        pipe.fold(received(offset, key=None))
    pipe.changelog.take_all()
    pipe.turns.turn()
    assert order == ["accepted", 0, "accepted", 1]


def test_names_of_topics_do_not_matter(pipe):
    for offset in range(2):
        pipe.fold(received(offset), ("logged", 0))
        pipe.changelog.take_all()
        pipe.turns.turn()
    pipe.settle()
    assert pipe.acked == [0, 1]


# Failures


def assert_stopped(pipe, match):
    assert len(pipe.failures) == 1
    assert pipe.folds.failed is pipe.failures[0]
    with pytest.raises(Unsafe, match="an earlier fold failed"):
        pipe.fold(received(99))
    sent = len(pipe.results.records) + len(pipe.results.in_flight)
    before = (list(pipe.acked), pipe.ledger.databases[0].copy(), len(pipe.tracked), sent)
    pipe.settle()
    sent = len(pipe.results.records) + len(pipe.results.in_flight)
    assert (pipe.acked, pipe.ledger.databases[0], len(pipe.tracked), sent) == before
    with pytest.raises(type(pipe.failures[0]), match=match):
        raise pipe.failures[0]


def test_a_refused_row_stops_everything_at_once_and_nothing_behind_it_leaves(pipe):
    pipe.fold(received(0))
    pipe.fold(received(1, key=None))
    pipe.changelog.refuse(OSError("too large"))
    assert_stopped(pipe, "too large")
    assert (pipe.acked, pipe.tracked, pipe.ledger.databases[0]) == ([], [], {})


def test_a_refused_second_row_stops_although_the_first_was_taken(pipe):
    pipe.fold(received(0))
    pipe.changelog.take(1)
    pipe.changelog.refuse(OSError("refused"))
    assert_stopped(pipe, "refused")
    assert pipe.ledger.databases[0] == {}


def test_a_refused_outcome_stops_and_is_not_acked(pipe):
    pipe.fold(received(0))
    pipe.fold(received(1))
    pipe.changelog.take_all()
    pipe.turns.turn()
    pipe.results.refuse(OSError("refused"))
    assert_stopped(pipe, "refused")
    assert pipe.acked == []


def test_a_send_that_was_given_up_stops(pipe):
    pipe.fold(received(0))
    pipe.changelog.in_flight.popleft()[1].cancel()
    assert_stopped(pipe, "given up")


def test_rows_that_are_safe_when_another_partition_fails_stay_out(pipe):
    pipe.fold(received(0, partition=1), ("commands", 1), number=1)
    pipe.fold(received(0))
    pipe.ledger.changelogs[1].take_all()
    pipe.changelog.refuse(OSError("refused"))
    pipe.turns.turn()
    assert pipe.ledger.databases[1] == {}
    assert pipe.tracked == []


def test_the_worker_is_stopped_once(pipe):
    pipe.fold(received(0))
    pipe.changelog.refuse(OSError("first"))
    pipe.changelog.refuse(OSError("second"))
    assert [str(error) for error in pipe.failures] == ["first"]


class NotSent(MemoryLedger):
    """A changelog that breaks at the second row."""

    def append(self, partition, key, value):
        if self.changelogs[partition].in_flight:
            raise OSError("the producer is closed")
        return super().append(partition, key, value)


def test_a_row_that_could_not_even_be_sent_keeps_its_fold_out_of_the_database():
    pipe = Pipeline(NotSent())
    with pytest.raises(OSError, match="closed"):
        pipe.fold(received(0))
    assert_stopped(pipe, "closed")
    assert pipe.ledger.databases[0] == {}


class NotWritten(MemoryLedger):
    def enter(self, partition, rows, last):
        raise OSError("disk full")


def test_a_database_that_does_not_take_the_rows_stops_before_the_effects():
    pipe = Pipeline(NotWritten())
    pipe.fold(received(0))
    pipe.changelog.take_all()
    pipe.turns.turn()
    assert_stopped(pipe, "disk full")
    assert (len(pipe.results.in_flight), pipe.tracked) == (0, [])


def test_an_event_that_cannot_be_decided_stops(pipe):
    pipe.fold(received(0))
    with pytest.raises(ConfigError, match="created again"):
        pipe.fold(received(0, recorded_at=AT))
    assert_stopped(pipe, "created again")


# Sizes


def too_large(**limits):
    return Pipeline(
        MemoryLedger(**{name: limits[name] for name in limits if name == "max_row_bytes"}),
        MemoryOutlet(**{name: limits[name] for name in limits if name != "max_row_bytes"}),
    )


def test_a_command_whose_row_does_not_fit_is_rejected_and_nothing_of_it_was_sent():
    pipe = too_large(max_row_bytes=700)
    pipe.fold(received(0, params="x" * 1000))
    pipe.settle()
    assert names(pipe.changelog) == [Settled(b"k", 0), Identity("c0")]
    (told,), (letter,) = pipe.outlet.taken(), pipe.outlet.buried()
    assert (told.status, told.reason, told.command_id) == (Status.REJECTED, Reason.TOO_LARGE, "c0")
    assert "bytes" in told.detail
    assert letter.original == received(0).original
    assert pipe.acked == [0]
    assert pipe.failures == []


def test_a_rejected_command_does_not_hold_its_key_back():
    pipe = too_large(max_row_bytes=700)
    pipe.fold(received(0, params="x" * 1000))
    pipe.fold(received(1))
    pipe.settle()
    assert [entry.source.offset for entry in pipe.tracked] == [1]


def test_a_dead_letter_that_does_not_fit_goes_without_its_bytes():
    pipe = too_large(max_letter_bytes=100)
    pipe.fold(received(0, original=Original(b"x" * 101), content=rejection(Reason.TOO_LARGE, detail="it is large")))
    pipe.settle()
    (told,), (letter,) = pipe.outlet.taken(), pipe.outlet.buried()
    assert (letter.original, letter.key, letter.id) == (Original(None), b"k", "commands-0-0-1")
    assert letter.detail == told.detail
    assert told.detail == "its bytes are too many for a dead letter and stand at commands-0-0 only; it is large"
    assert pipe.acked == [0]


def test_a_command_of_which_nothing_fits_is_still_told_and_buried():
    pipe = too_large(max_row_bytes=700, max_letter_bytes=100)
    key = b"k" * (MAX_KEY_BYTES + 1)
    pipe.fold(received(0, key=key, params="x" * 1000, original=Original(b"x" * 1000)))
    pipe.settle()
    (told,), (letter,) = pipe.outlet.taken(), pipe.outlet.buried()
    assert (told.status, told.reason, told.key) == (Status.REJECTED, Reason.TOO_LARGE, None)
    assert (letter.key, letter.original) == (None, Original(None))
    assert pipe.failures == []


def test_a_large_key_alone_stops_nobody():
    """Neither value nor headers could be left out: compressed, such a key fits into a topic of small records."""
    pipe = too_large(max_letter_bytes=100)
    key = b"k" * (MAX_KEY_BYTES + 1)
    pipe.fold(received(0, key=key, original=Original(None), content=rejection(Reason.TOMBSTONE)))
    pipe.settle()
    (letter,) = pipe.outlet.buried()
    assert (letter.key, letter.original) == (None, Original(None))
    assert (pipe.acked, pipe.failures) == ([0], [])


def test_where_not_even_a_rejection_fits_the_worker_stops():
    """It could try for ever."""
    pipe = too_large(max_row_bytes=10)
    with pytest.raises(Unsafe, match="does not fit into Kafka"):
        pipe.fold(received(0))
    assert (names(pipe.changelog), pipe.acked) == ([], [])


def test_what_follows_from_an_observation_must_fit():
    pipe = too_large(max_row_bytes=900)
    pipe.fold(received(0, params="x" * 200))
    pipe.settle()
    entry = pipe.partition().entry(b"k", 0)
    pipe.ledger.max_row_bytes = 100
    with pytest.raises(Unsafe, match=r"from a record of .*'results', 0.* does not fit into Kafka") as raised:
        pipe.fold(observed(triggered(entry)), RESULTS)
    assert isinstance(raised.value.__cause__, TooLarge)
    assert_stopped(pipe, "does not fit")


# On real futures


async def test_an_asyncio_future_is_a_receipt():
    sent = []

    class Ledger(MemoryLedger):
        def append(self, partition, key, value):
            sent.append(asyncio.get_running_loop().create_future())
            return sent[-1]

        def enter(self, partition, rows, last):
            self.databases[partition] |= dict(rows)

    pipe = Pipeline(Ledger())
    pipe.folds._soon = asyncio.get_running_loop().call_soon
    pipe.fold(received(0))
    for future in sent:
        future.set_result(None)
    for _ in range(5):
        await asyncio.sleep(0)
    assert set(map(rows.parse_key, pipe.ledger.databases[0])) == {Queued(b"k", 0), Identity("c0")}
    pipe.fold(observed(run_ended(pipe.partition().entry(b"k", 0))), RESULTS)
    sent[-1].cancel()
    for _ in range(5):
        await asyncio.sleep(0)
    assert [str(error) for error in pipe.failures] == ["a send was given up"]


def test_the_free_places_of_a_table_are_used(pipe):
    pipe.fold(received(0, key=None))
    pipe.settle()
    assert names(pipe.changelog)[0] == Free(0)
