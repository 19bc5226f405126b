"""The limit before servers of the shapes that were measured, in virtual time; each is compared with fixed numbers."""

import pytest

from tests.support.limit_model import SHAPES, Model, best_fixed

WARM_UP = 60
SECONDS = 180


@pytest.fixture(autouse=True)
def _quiet(caplog):
    caplog.set_level("ERROR", "streamapp")


def alone(shape):
    return Model(shape, fixed=1).run(60)


def test_the_model_is_as_it_was_measured():
    """Flat from a few to many on PostgreSQL and then a cliff; two on SQLite lock each other out."""
    postgres = [Model(SHAPES["postgres"], fixed=n).run(30) for n in (1, 4, 16, 40)]
    assert [round(load.per_second / 47, 1) for load in postgres] == [0.7, 1.0, 1.0, 0.0]
    sqlite = [Model(SHAPES["sqlite"], fixed=n).run(30) for n in (1, 2)]
    assert sqlite[0].per_second > 40
    assert sqlite[1].per_second < 1
    assert sqlite[1].failures >= 5


@pytest.mark.parametrize(
    ("name", "part", "slower"), [("sqlite", 0.95, 1.2), ("postgres", 0.95, 2.0), ("postgres at work", 0.9, 2.5)]
)
@pytest.mark.parametrize("seed", [1, 2])
def test_one_worker_has_nearly_the_best_throughput_and_short_latencies(name, part, slower, seed):
    shape = SHAPES[name]
    load = Model(shape, seed=seed).run(SECONDS, warm_up=WARM_UP)
    assert load.per_second >= part * best_fixed(shape, [1, 2, 4, 8], 30)
    assert load.p99_ms <= slower * alone(shape).p99_ms
    assert load.failures == 0


def test_a_server_that_scales_out_is_used_up_to_the_bound():
    shape = SHAPES["scaled out"]
    load = Model(shape, total=24).run(20, warm_up=70)
    assert load.per_second >= 0.95 * best_fixed(shape, [12, 16], 10)
    assert load.p99_ms <= 2 * alone(shape).p99_ms
    assert Model(shape, total=4).run(20, warm_up=20).per_second == pytest.approx(4 * 33.9, rel=0.1)


@pytest.mark.parametrize(
    ("name", "part", "slower"), [("sqlite", 0.95, 1.2), ("postgres", 0.95, 2.0), ("postgres at work", 0.9, 2.5)]
)
def test_three_workers_share_what_is_best_for_all_of_them(name, part, slower):
    shape = SHAPES[name]
    model = Model(shape, workers=3)
    load = model.run(SECONDS, warm_up=WARM_UP)
    assert load.per_second >= part * best_fixed(shape, [1, 2, 4, 8], 30, workers=3)
    assert load.p99_ms <= slower * alone(shape).p99_ms
    assert load.failures == 0
    assert model.server.peak <= 8


@pytest.mark.parametrize(("name", "workers", "most"), [("sqlite", 1, 2), ("sqlite", 3, 2), ("postgres", 3, 0)])
def test_finding_the_number_costs_few_failures(name, workers, most):
    assert Model(SHAPES[name], workers=workers).run(WARM_UP).failures <= most


@pytest.mark.parametrize(("workers", "part"), [(1, 0.8), (3, 0.5)])
def test_a_dag_that_always_fails_slowly_slows_the_others_once_for_each_worker_that_meets_it(workers, part):
    shape = SHAPES["scaled out"]
    well, load = (Model(shape, workers=workers, defect=defect).run(60, warm_up=170) for defect in (False, True))
    assert load.per_second >= part * well.per_second


@pytest.mark.parametrize("name", ["sqlite", "postgres"])
@pytest.mark.parametrize("workers", [1, 3])
def test_no_load_of_triggers_starves_the_polls(name, workers):
    model = Model(SHAPES[name], workers=workers)
    model.run(SECONDS, warm_up=WARM_UP)
    assert model.longest_poll <= 6.0
    assert model.polls >= workers * SECONDS
