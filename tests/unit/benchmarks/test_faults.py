from types import SimpleNamespace

from benchmarks.peers.faults import Faults


class Crew:
    """Two processes that are killed, and come back when told to."""

    processes = 2

    def __init__(self):
        self.killed = []
        self.down = set()

    def kill(self, number):
        self.killed.append(number)
        self.down.add(number)

    def running(self, number):
        return number not in self.down


def kills(crew):
    return Faults("kills", SimpleNamespace(), crew)


def test_kills_come_when_the_run_is_so_far_each_time_another_process():
    crew = Crew()
    faults = kills(crew)
    faults.tick(0.1, 12)
    assert crew.killed == []
    for runs in range(24, 96):
        faults.tick(runs / 120, runs)
        crew.down.clear()
    assert crew.killed == [0, 1, 0]
    assert faults.over


def test_a_kill_waits_until_the_killed_is_back_and_something_was_run():
    crew = Crew()
    faults = kills(crew)
    faults.tick(0.5, 60)
    faults.tick(0.6, 70)
    assert crew.killed == [0], "it is still down"
    crew.down.clear()
    faults.tick(0.6, 70)
    assert crew.killed == [0], "nothing was run since it came back"
    faults.tick(0.6, 71)
    assert crew.killed == [0, 1]
    assert not faults.over


def test_undisturbed():
    crew = Crew()
    faults = Faults("none", SimpleNamespace(), crew)
    faults.tick(1.0, 120)
    assert faults.over
    assert (crew.killed, faults.kills, faults.away_seconds) == ([], 0, None)
