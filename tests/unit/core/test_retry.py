from dataclasses import replace
from datetime import timedelta

import pytest

from streamapp.core.retry import retry_delay
from tests.support.builders import entry, policy

SECONDS_30 = timedelta(seconds=30)


def failed(attempt, delay=SECONDS_30, **fields):
    return entry(attempt=attempt, policy=policy(retry_delay=delay), **fields)


@pytest.mark.parametrize(
    ("attempt", "whole"),
    [(1, 30), (2, 60), (3, 120), (7, 1920), (8, 3600), (9, 3600), (10_000, 3600)],
)
def test_the_delay_doubles_up_to_an_hour_and_is_jittered_downwards(attempt, whole):
    delays = [retry_delay(failed(attempt, id=f"c{n}")) for n in range(100)]
    assert all(timedelta(seconds=whole) / 2 <= delay < timedelta(seconds=whole) for delay in delays)
    assert len(set(delays)) > 90
    assert max(delays) - min(delays) > timedelta(seconds=whole) * 0.4


def test_the_same_attempt_waits_the_same_wherever_it_is_decided():
    assert retry_delay(failed(2)) == retry_delay(replace(failed(2), at=failed(2).at + SECONDS_30, detail="other"))


def test_attempts_and_rounds_are_jittered_apart():
    assert retry_delay(failed(8)) != retry_delay(failed(9))
    assert retry_delay(failed(8)) != retry_delay(failed(8, round=2))


@pytest.mark.parametrize("delay", [timedelta(hours=5), timedelta(days=900_000_000)])
@pytest.mark.parametrize("attempt", [1, 2, 50])
def test_a_policys_longer_delay_is_kept_and_does_not_double(delay, attempt):
    assert delay / 2 <= retry_delay(failed(attempt, delay)) < delay


def test_a_delay_of_hours_may_double_as_often_as_one_likes():
    rules = policy(retry_delay=timedelta(hours=6), retry_delay_max=timedelta(days=1))
    assert timedelta(hours=12) <= retry_delay(entry(attempt=100, policy=rules)) < timedelta(days=1)


def test_no_delay_is_no_delay():
    assert retry_delay(failed(3, timedelta())) == timedelta()


def test_doubling_stops_where_the_policy_says():
    rules = policy(retry_delay=SECONDS_30, retry_delay_max=timedelta(seconds=50))
    assert all(SECONDS_30 / 2 <= retry_delay(entry(attempt=1, policy=rules, id=f"{n}")) < SECONDS_30 for n in range(50))
    longest = max(retry_delay(entry(attempt=9, policy=rules, id=f"{n}")) for n in range(200))
    assert timedelta(seconds=48) < longest < timedelta(seconds=50)
