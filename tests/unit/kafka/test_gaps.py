import pytest
from faust.types import TP

from streamapp.kafka.gaps import Gaps

ONE = TP("commands", 0)


@pytest.fixture
def gaps():
    gaps = Gaps()
    gaps.start({ONE: 10}, {})
    return gaps


def test_records_in_order_are_expected(gaps):
    gaps.fetched(ONE, [10, 11, 12])
    assert [gaps.expects(ONE, offset) for offset in (10, 11, 12)] == [True, True, True]
    assert not gaps.take_asked([ONE])


def test_a_record_is_expected_once(gaps):
    gaps.fetched(ONE, [10])
    assert gaps.expects(ONE, 10)
    assert not gaps.expects(ONE, 10)


def test_what_was_lost_on_the_way_is_read_again(gaps):
    gaps.fetched(ONE, [10, 11, 12, 13])
    assert gaps.expects(ONE, 10)
    assert not gaps.expects(ONE, 12)
    assert not gaps.expects(ONE, 13)
    assert gaps.take_asked([ONE]) == {ONE: 11}
    gaps.fetched(ONE, [11, 12, 13])
    assert [gaps.expects(ONE, offset) for offset in (11, 12, 13)] == [True, True, True]
    assert (gaps.sought, gaps.skipped) == (1, 0)


def test_it_goes_back_once_however_much_was_on_the_way(gaps):
    gaps.fetched(ONE, [10, 11, 12, 13])
    assert not gaps.expects(ONE, 11)
    assert gaps.take_asked([ONE]) == {ONE: 10}
    assert not gaps.expects(ONE, 12)  # fetched before reading went back
    assert not gaps.expects(ONE, 13)
    assert not gaps.take_asked([ONE])


@pytest.mark.parametrize("batches", [[[10, 13]], [[10], [13]], [[10], [13, 14]]])
def test_a_gap_of_the_broker_is_counted_and_passed(gaps, batches):
    for batch in batches:
        gaps.fetched(ONE, batch)
        assert all(gaps.expects(ONE, offset) for offset in batch)
    assert (gaps.sought, gaps.skipped) == (0, 2)


def test_a_log_that_starts_later_is_read_from_its_start(gaps):
    gaps.fetched(ONE, [50, 51])
    assert gaps.expects(ONE, 50)
    assert gaps.expects(ONE, 51)
    assert gaps.skipped == 40


def test_a_gap_of_the_broker_does_not_excuse_a_loss_before_it(gaps):
    gaps.fetched(ONE, [10, 11, 14])
    assert gaps.expects(ONE, 10)
    assert not gaps.expects(ONE, 14)
    assert gaps.take_asked([ONE]) == {ONE: 11}


def test_partitions_of_others_are_not_expected(gaps):
    gaps.start({}, {})
    gaps.fetched(ONE, [10])
    assert not gaps.expects(ONE, 10)


def test_a_partition_that_is_held_goes_back_when_it_is_fetched_again(gaps):
    gaps.fetched(ONE, [10, 11])
    assert not gaps.expects(ONE, 11)
    assert not gaps.take_asked([])
    assert gaps.take_asked([ONE]) == {ONE: 10}


def test_it_is_caught_up_once_all_that_was_there_is_done(gaps):
    gaps.start({ONE: 10}, {ONE: 12})
    assert not gaps.caught_up
    gaps.fetched(ONE, [10, 11])
    gaps.reached(ONE, 12)
    assert not gaps.caught_up  # read, but not folded
    for offset in (10, 11):
        assert gaps.expects(ONE, offset)
        gaps.acked(ONE, offset)
    gaps.reached(ONE, 12)
    assert gaps.caught_up


def test_where_nothing_is_to_be_read_it_is_caught_up(gaps):
    gaps.start({ONE: 10}, {ONE: 10})
    assert gaps.caught_up


def test_an_end_without_records_is_reached(gaps):
    gaps.start({ONE: 10}, {ONE: 12})
    gaps.reached(ONE, 12)  # markers of a transaction, or deleted by retention
    assert gaps.caught_up


def test_after_giving_up_it_is_not_caught_up_until_reading_starts_again(gaps):
    assert gaps.caught_up
    gaps.stop()
    assert not gaps.caught_up
    gaps.start({}, {})
    assert gaps.caught_up


def test_what_is_written_later_is_not_waited_for(gaps):
    gaps.start({ONE: 10}, {ONE: 12})
    gaps.fetched(ONE, [10, 11, 12])
    for offset in (10, 11):
        assert gaps.expects(ONE, offset)
        gaps.acked(ONE, offset)
    gaps.fetched(ONE, [13, 14])
    gaps.reached(ONE, 15)
    assert gaps.caught_up


def test_reading_can_be_sent_elsewhere_with_records_still_on_the_way(gaps):
    gaps.fetched(ONE, [10, 11, 12, 13])
    assert [gaps.expects(ONE, offset) for offset in (10, 11)] == [True, True]
    gaps.go_to({ONE: 11}, {ONE: 12})
    assert gaps.expects(ONE, 12)
    gaps.fetched(ONE, [11, 12, 13, 14])
    assert [gaps.expects(ONE, offset) for offset in (11, 12, 13, 14)] == [False, False, True, True]
    assert gaps.sought == 0


def test_where_reading_is_sent_again_what_was_taken_is_not_taken_twice(gaps):
    assert gaps.expects(ONE, 10)
    gaps.go_to({ONE: 9}, {ONE: 10})
    gaps.fetched(ONE, [9, 10, 11])
    assert [gaps.expects(ONE, offset) for offset in (9, 10, 11)] == [False, False, True]


def test_what_was_on_its_way_when_a_partition_was_given_up_is_not_taken(gaps):
    gaps.fetched(ONE, [10, 11, 12])
    assert not gaps.expects(ONE, 12)
    gaps.stop()
    assert not gaps.expects(ONE, 10)
    assert not gaps.take_asked([ONE])
    gaps.go_to({ONE: 9}, {ONE: 10})
    assert gaps.expects(ONE, 10)


def test_what_the_broker_has_no_more_where_reading_was_sent_is_passed(gaps):
    gaps.stop()
    gaps.go_to({ONE: 20}, {ONE: 21})
    gaps.fetched(ONE, [25, 26])
    assert gaps.expects(ONE, 25)
    assert gaps.expects(ONE, 26)
    assert gaps.skipped == 4


def test_what_gets_lost_where_reading_was_sent_is_read_again(gaps):
    gaps.stop()
    gaps.go_to({ONE: 20}, {ONE: 21})
    gaps.fetched(ONE, [20, 21, 22])
    assert not gaps.expects(ONE, 22)
    assert gaps.take_asked([ONE]) == {ONE: 21}


def test_a_partition_that_is_not_read_expects_nothing(gaps):
    assert not gaps.expects(TP("commands", 1), 0)
