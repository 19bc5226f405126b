from datetime import timedelta

import pytest

from streamapp.agents.rebalance import DRAIN_SHARE
from streamapp.clock import SystemClock
from streamapp.kafka.dispatches import new_app
from streamapp.kafka.lease import SAFE_SHARE
from streamapp.settings import Settings


async def test_the_data_directory_is_made_with_its_parents(tmp_path):
    app = new_app(Settings(), SystemClock(), datadir=tmp_path / "var" / "streamapp" / "1")
    await app.on_first_start()
    assert app.conf.tabledir.is_dir()


async def test_a_worker_without_partitions_stays_in_its_group_however_long_it_waits_for_some(tmp_path):
    """It reads nothing; the client leaves the group of who has not read for so long, and never joins again."""
    app = new_app(Settings(), SystemClock(), datadir=tmp_path)
    assert timedelta(seconds=app.conf.broker_max_poll_interval) > timedelta(days=365)


@pytest.mark.parametrize("seconds", [6, 10, 45, 120])
def test_no_lease_outlasts_the_time_in_which_kafka_waits_for_members_to_join_again(seconds, tmp_path):
    settings = Settings(session_timeout=timedelta(seconds=seconds))
    conf = new_app(settings, SystemClock(), datadir=tmp_path).conf
    lease, drain = SAFE_SHARE * seconds, DRAIN_SHARE * SAFE_SHARE * seconds
    assert seconds / 3 + drain + lease < conf.broker_rebalance_timeout < conf.broker_request_timeout
