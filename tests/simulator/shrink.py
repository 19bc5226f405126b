"""Makes a failing plan smaller: reads a plan, answers one with less in it that fails, too."""

from collections.abc import Iterator
from dataclasses import replace

from tests.simulator.plan import Plan
from tests.simulator.world import simulate


def shrink(plan: Plan) -> Plan:
    """Leave out one thing after the other, as long as something still fails. What is left depends on the order."""
    smaller = next((one for one in _smaller(plan) if simulate(one).violations), None)
    return plan if smaller is None else shrink(smaller)


def _smaller(plan: Plan) -> Iterator[Plan]:
    for fault in plan.rates:
        yield plan.without(fault)
    for number in range(len(plan.sendings)):
        yield replace(plan, sendings=plan.sendings[:number] + plan.sendings[number + 1 :])
    if plan.workers > 1:
        yield replace(plan, workers=plan.workers - 1)
    if plan.faults_until_ms > 1000:
        yield replace(plan, faults_until_ms=plan.faults_until_ms // 2)
