from datetime import timedelta

from streamapp.clock import SystemClock
from streamapp.kafka.dispatches import new_app
from streamapp.settings import Settings


async def test_the_data_directory_is_made_with_its_parents(tmp_path):
    app = new_app(Settings(), SystemClock(), datadir=tmp_path / "var" / "streamapp" / "1")
    await app.on_first_start()
    assert app.conf.tabledir.is_dir()


async def test_a_worker_without_partitions_stays_in_its_group_however_long_it_waits_for_some(tmp_path):
    """It reads nothing; the client leaves the group of who has not read for so long, and never joins again."""
    app = new_app(Settings(), SystemClock(), datadir=tmp_path)
    assert timedelta(seconds=app.conf.broker_max_poll_interval) > timedelta(days=365)
    assert app.conf.broker_request_timeout >= app.conf.broker_session_timeout
