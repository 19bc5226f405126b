import pytest

from streamapp.dispatch.gate import Gate


@pytest.fixture
def calls():
    return []


@pytest.fixture
def gate(calls):
    return Gate(hold=lambda: calls.append("hold"), release=lambda: calls.append("release"))


def test_it_holds_from_the_limit_on_and_lets_go_at_half_of_it(gate, calls):
    for level in (9, 10, 7, 6, 5, 4):
        gate.measure("ready", level, 10)
    assert calls == ["hold", "release"]


def test_it_holds_again_at_every_look_because_a_rebalance_lets_go(gate, calls):
    gate.measure("ready", 10, 10)
    gate.measure("ready", 12, 10)
    assert calls == ["hold", "hold"]


def test_it_lets_go_only_when_no_reason_is_left(gate, calls):
    gate.measure("ready", 10, 10)
    gate.close("registry")
    assert gate.reasons == {"ready", "registry"}
    gate.open("registry")
    assert calls == ["hold", "hold"]
    gate.measure("ready", 0, 10)
    assert calls == ["hold", "hold", "release"]
    assert gate.reasons == frozenset()


def test_what_did_not_hold_does_not_let_go(gate, calls):
    gate.measure("ready", 0, 10)
    gate.open("registry")
    assert calls == []


@pytest.mark.parametrize("limit", [1, 2, 3])
def test_small_limits_hold_and_let_go(gate, calls, limit):
    gate.measure("ready", limit, limit)
    gate.measure("ready", 0, limit)
    assert calls == ["hold", "release"]
