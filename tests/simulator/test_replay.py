"""A seed is a schedule: in any process, again and again; a failing one is made smaller."""

import os
import subprocess
import sys
from pathlib import Path

from tests.simulator.mutations import the_next_is_released_when_a_run_exists
from tests.simulator.plan import make_plan
from tests.simulator.runner import run_all
from tests.simulator.shrink import shrink
from tests.simulator.world import simulate

ROOT = Path(__file__).resolve().parents[2]


def shown(seed, hash_seed):
    call = [sys.executable, "-m", "tests.simulator", "--seed", str(seed)]
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
    return subprocess.run(call, cwd=ROOT, env=environment, check=True, capture_output=True, text=True).stdout


def test_a_seed_gives_the_same_schedule_in_any_process():
    for seed in (3, 4):
        assert shown(seed, "1") == shown(seed, "2") != ""


def test_different_seeds_give_different_schedules():
    assert len({tuple(simulate(make_plan(seed), timeline=True).timeline) for seed in range(20)}) == 20


def test_processes_add_up_to_what_one_would_have_seen():
    together, alone = run_all(range(120), processes=2), run_all(range(120), processes=1)
    assert str(together) == str(alone)


def test_a_failing_plan_is_made_smaller():
    with the_next_is_released_when_a_run_exists():
        plan = next(plan for plan in map(make_plan, range(60)) if simulate(plan).violations)
        smaller = shrink(plan)
        report = simulate(smaller, timeline=True)
    assert report.violations
    assert "VIOLATION" in {line.split()[1] for line in report.timeline[-2:]}  # the step that breaks it may be told yet
    assert len(smaller.sendings) < len(plan.sendings)
    assert len(smaller.rates) < len(plan.rates)
    assert not simulate(smaller).violations
