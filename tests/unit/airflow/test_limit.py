import pytest

from streamapp.airflow.limit import Limit


def test_gives_no_more_permits_than_the_limit():
    limit = Limit(2)
    assert [limit.try_acquire() for _ in range(3)] == [True, True, False]
    assert limit.in_flight == 2


def test_a_permit_that_came_back_is_given_again():
    limit = Limit(1)
    assert limit.try_acquire()
    limit.release()
    assert limit.try_acquire()


@pytest.mark.parametrize(
    ("total", "owned", "everything", "share"),
    [(8, 4, 8, 4), (8, 3, 8, 3), (8, 1, 16, 1), (8, 0, 8, 1), (8, 5, 12, 3), (8, 8, 8, 8), (8, 0, 0, 1)],
)
def test_the_share_follows_the_partitions_and_is_at_least_one(total, owned, everything, share):
    limit = Limit(total)
    limit.share(owned, everything)
    assert limit.limit == share


def test_a_smaller_share_takes_effect_as_permits_come_back():
    limit = Limit(4)
    assert all(limit.try_acquire() for _ in range(4))
    limit.share(1, 4)
    limit.release()
    limit.release()
    assert not limit.try_acquire()
    limit.release()
    limit.release()
    assert limit.try_acquire()


def test_a_permit_that_is_not_out_cannot_come_back():
    with pytest.raises(ValueError, match="no permit"):
        Limit(1).release()


def test_a_limit_of_nothing_is_refused():
    with pytest.raises(ValueError, match="at least one"):
        Limit(0)
