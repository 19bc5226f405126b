from datetime import timedelta

import pytest

from streamapp.kafka import exits
from streamapp.kafka.lease import SAFE_SHARE, Lease
from tests.support.manual_clock import ManualClock

SESSION = timedelta(seconds=10)


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture
def left():
    return []


@pytest.fixture
def lease(clock, left):
    return Lease(clock, SESSION, leave=left.append)


def test_before_the_first_assignment_it_lasts(lease, clock, left):
    clock.advance(timedelta(hours=1))
    lease.check("starting a run")
    assert left == []


def test_it_ends_before_the_session_does(lease, clock, left):
    lease.renew(lease.now())
    clock.advance(SESSION * SAFE_SHARE - timedelta(milliseconds=1))
    lease.check("starting a run")
    assert left == []
    clock.advance(timedelta(milliseconds=1))
    lease.check("starting a run")
    assert left == [exits.LEASE_LOST]


def test_it_counts_from_before_the_heartbeat(lease, clock, left):
    since = lease.now()
    clock.advance(timedelta(seconds=8))
    lease.renew(since)
    clock.advance(timedelta(seconds=1))
    lease.check("starting a run")
    assert left == [exits.LEASE_LOST]


def test_a_late_answer_does_not_shorten_it(lease, clock):
    early = lease.now()
    clock.advance(timedelta(seconds=5))
    lease.renew(lease.now())
    remaining = lease.remaining
    lease.renew(early)
    assert lease.remaining == remaining
