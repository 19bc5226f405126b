from benchmarks.peers.ways import Dispatcher, defined, settings_of


class Mortal(Dispatcher):
    """Processes that are alive or not."""

    processes = 2

    def __init__(self):
        super().__init__()
        self.alive = [True, True]

    def start(self):
        """Nothing to do."""

    def stop(self):
        """Nothing to do."""

    def kill(self, number):
        self.alive[number] = False

    def running(self, number):
        return self.alive[number]

    def _start_one(self, number):
        self.alive[number] = True


def test_what_has_ended_is_started_again_after_a_pause():
    dispatcher = Mortal()
    dispatcher.kill(1)
    dispatcher.tick(7.0)
    assert dispatcher.alive == [True, False]
    dispatcher.tick(7.6)
    assert dispatcher.alive == [True, True]
    assert dispatcher.restarts == 1


def test_ways_from_the_command_line():
    assert defined("plain=1") == ("plain", 1, {})
    text = "two=2:STREAMAPP_POLL_INTERVAL=2s,STREAMAPP_WEB_BIND=127.0.0.{worker}"
    assert defined(text) == ("two", 2, {"poll_interval": "2s", "web_bind": "127.0.0.{worker}"})
    assert settings_of(defined(text)[2], 1) == {"poll_interval": "2s", "web_bind": "127.0.0.1"}
