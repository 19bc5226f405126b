from streamapp.clock import SystemClock
from streamapp.kafka.dispatches import new_app
from streamapp.settings import Settings


async def test_the_data_directory_is_made_with_its_parents(tmp_path):
    app = new_app(Settings(), SystemClock(), datadir=tmp_path / "var" / "streamapp" / "1")
    await app.on_first_start()
    assert app.conf.tabledir.is_dir()
