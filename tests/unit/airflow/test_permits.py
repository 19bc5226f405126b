"""The same for permits that a worker has itself and for those that another one lends."""

import pytest

from streamapp.airflow.lending import KEPT_FOR, SAMPLES, Lender, Loan
from streamapp.airflow.limit import Limit
from streamapp.airflow.permits import Ask
from tests.support.manual_clock import ManualClock


class Bench:
    """Permits, and who asks for them."""

    def __init__(self, *, lent):
        self.clock = ManualClock()
        self.limit = Limit(8, self.clock)
        self.limit.own.gradient._settle(2)
        self.post = []
        self.asks = []
        self.granted = []
        self.source = self.limit.own
        if lent:
            self.lender = Lender(self.limit)
            self.desk = self.lender.open(lambda text: self.post.append((self.loan.take, text)))
            self.loan = self.source = Loan(lambda text: self.post.append((self.desk.take, text)), (1, 2), self.clock)
            self.deliver()

    def ask(self, name, *, reading=False):
        ask = Ask(reading, lambda: self.granted.append(name))
        self.asks.append(ask)
        if self.source.ask(ask):
            self.granted.append(name)
        self.deliver()
        return ask

    def give_back(self):
        self.clock.advance(KEPT_FOR)
        self.source.give_back()
        self.deliver()

    def deliver(self):
        while self.post:
            take, text = self.post.pop(0)
            take(text)


@pytest.fixture(params=["own", "lent"])
def bench(request):
    return Bench(lent=request.param == "lent")


@pytest.fixture
def loan():
    return Bench(lent=True)


def test_there_are_as_many_as_the_number(bench):
    for name in "abc":
        bench.ask(name)
    assert bench.granted == ["a", "b"]
    assert bench.source.full
    assert (bench.source.number, bench.limit.own.out) == (2, 2)


def test_who_waits_is_served_in_turn_and_who_reads_first(bench):
    for name, reading in (("a", False), ("b", False), ("c", False), ("d", True), ("e", False)):
        bench.ask(name, reading=reading)
    for _ in range(3):
        bench.give_back()
    assert bench.granted == ["a", "b", "d", "c", "e"]


def test_who_no_longer_waits_is_passed_over(bench):
    bench.ask("a"), bench.ask("b")
    gone = bench.ask("c")
    bench.ask("d")
    bench.source.withdraw(gone)
    bench.deliver()
    bench.give_back()
    assert bench.granted == ["a", "b", "d"]


def test_what_requests_tell_moves_the_number(bench):
    bench.ask("a")
    bench.ask("b")
    bench.source.failed(5.0, again=False)
    bench.deliver()
    assert bench.limit.own.number == 1
    era = bench.limit.own.era
    bench.give_back()
    bench.give_back()
    bench.ask("c")
    told = []
    bench.limit.own.gradient.sample = lambda seconds, _: told.append(seconds)
    bench.source.sample(0.01, era - 1)  # began under another number
    bench.source.sample(0.02, bench.source.era)
    bench.give_back()  # a borrower tells it with its next message
    assert told == [0.02]
    bench.limit.own.gradient._settle(4)
    bench.source.restart()
    bench.deliver()
    assert bench.limit.own.number == 1


def test_a_borrower_and_its_lender_share(loan):
    mine = Ask(False, lambda: loan.granted.append("mine"))
    assert loan.limit.own.ask(mine)
    loan.ask("a")
    loan.ask("b")
    assert loan.granted == ["a"]
    loan.limit.own.give_back()
    loan.deliver()
    assert loan.granted == ["a", "b"]


def test_a_borrower_uses_a_permit_again_for_a_while_and_then_it_is_others_turn(loan):
    loan.limit.own.gradient._settle(1)
    loan.ask("a")
    loan.ask("b")
    other = Ask(False, lambda: loan.granted.append("other"))
    assert not loan.limit.own.ask(other)
    loan.source.give_back()
    assert (loan.granted, loan.post) == (["a", "b"], [])  # without a message
    loan.ask("c")
    loan.give_back()  # it was lent for long enough
    assert loan.granted == ["a", "b", "c"]  # `b` had been asked for before `other`
    loan.give_back()
    assert loan.granted == ["a", "b", "c", "other"]


def test_a_permit_that_nobody_here_waits_for_goes_back_at_once(loan):
    loan.ask("a")
    loan.source.give_back()
    loan.deliver()
    assert loan.limit.own.out == 0


def test_what_was_asked_for_and_served_meanwhile_goes_back(loan):
    loan.ask("a")
    loan.ask("b")
    loan.ask("c")
    loan.source.give_back()  # serves `c`
    loan.source.give_back()
    loan.source.give_back()
    loan.deliver()
    assert loan.granted == ["a", "b", "c"]
    assert loan.limit.own.out == 0


def test_the_lender_has_the_borrowers_part_while_it_is_there(loan):
    loan.limit.share([0, 3], 8)
    assert loan.limit.own.bound == 4
    loan.loan.own((1,))
    loan.deliver()
    assert loan.limit.own.bound == 3
    loan.desk.close()
    assert loan.limit.own.bound == 2
    assert len(loan.lender) == 0


def test_a_borrower_that_is_gone_has_nothing(loan):
    for name in "abc":
        loan.ask(name)
    loan.desk.close()
    assert loan.limit.own.out == 0
    assert loan.granted == ["a", "b"]


def test_who_waited_and_is_gone_gets_no_permit(loan):
    """Nobody would give it back, and all workers would have one less."""
    mine = [Ask(False, lambda: None) for _ in range(2)]
    assert all(loan.limit.own.ask(ask) for ask in mine)
    loan.ask("a")
    loan.desk.close()
    for _ in mine:
        loan.limit.own.give_back()
    assert loan.limit.own.out == 0


def test_a_borrower_tells_of_a_bounded_number_of_requests_at_once(loan):
    """A message has a longest size: one that is longer would end the loan."""
    loan.ask("a")
    told = []
    loan.limit.own.gradient.sample = lambda seconds, _: told.append(seconds)
    for _ in range(2 * SAMPLES):
        loan.source.sample(0.02, loan.source.era)
    loan.ask("b")
    assert len(told) == SAMPLES


def test_a_lender_that_is_gone_gets_nothing(loan):
    loan.ask("a")
    loan.loan.close()
    loan.source.give_back()
    assert loan.post == []


def test_a_start_whose_permit_a_read_was_given_is_asked_for_again(loan):
    loan.limit.own.gradient._settle(1)
    loan.source.ask(Ask(False, lambda: loan.granted.append("start")))
    loan.ask("read", reading=True)  # comes before what was asked for is there, and goes first
    loan.ask("another read", reading=True)
    assert loan.granted == ["read"]
    for _ in range(3):
        loan.give_back()
    assert loan.granted == ["read", "another read", "start"]
    assert loan.limit.own.out == 0


def test_a_permit_that_crosses_its_withdrawal_goes_back(loan):
    ask = Ask(False, lambda: loan.granted.append("a"))
    loan.source.ask(ask)
    take, text = loan.post.pop(0)
    take(text)  # granted, and on its way
    loan.source.withdraw(ask)
    loan.deliver()
    assert loan.granted == []
    assert loan.limit.own.out == 0


@pytest.mark.parametrize("text", ["", "[]", "{", '{"ask": "x"}', '{"owned": [null]}', '{"samples": 1}', "\x00"])
def test_what_is_no_message_is_an_error(loan, text):
    with pytest.raises(ValueError, match="validation error"):
        loan.desk.take(text)


def test_a_borrower_cannot_give_back_what_it_has_not(loan):
    loan.desk.take('{"back": true}')
    assert loan.limit.own.out == 0


def test_a_message_of_a_later_release_is_understood_as_far_as_it_goes(loan):
    loan.desk.take('{"ask": 7, "colour": "blue"}')
    assert loan.limit.own.out == 1
