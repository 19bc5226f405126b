import json
from collections import Counter

import pytest

from benchmarks.peers.workload import Workload


@pytest.mark.parametrize(
    ("commands", "distribution", "keys", "hottest"), [(120, "zipf", 12, 45), (120, "uniform", 12, 10)]
)
def test_keys(commands, distribution, keys, hottest):
    workload = Workload(commands, distribution)
    assert len(workload.keys) == commands
    assert len(set(workload.keys)) == keys
    assert workload.hottest == hottest


def test_it_is_always_the_same():
    assert Workload(120, "zipf").keys == Workload(120, "zipf").keys


def test_every_twentieth_command_fails():
    workload = Workload(120, "zipf")
    params = [json.loads(json.loads(workload.value("run", number))["params"]) for number in range(120)]
    assert Counter(one["fail"] for one in params) == {False: 114, True: 6}
    assert [one["n"] for one in params] == list(range(120))


def test_fewer_commands():
    assert len(Workload(120, "zipf").first(12).keys) == 12
    assert len(Workload(24, "zipf").first(120).keys) == 24
