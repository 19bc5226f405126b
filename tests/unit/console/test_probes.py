from datetime import timedelta

import pytest

from streamapp.airflow.port import Dag
from streamapp.core.errors import Unsafe
from streamapp.dispatch.ready import Ready
from tests.support.builders import policy, received


async def test_a_worker_at_work_is_live_and_ready(bench):
    assert await bench.get("/health/live") == {"ok": True, "problems": []}
    assert await bench.get("/health/ready") == {"ok": True, "problems": []}


@pytest.mark.parametrize(
    ("change", "problem"),
    [({"joined": False}, "not joined"), ({"rebalancing": True}, "given out"), ({"restoring": True}, "restored")],
)
async def test_before_it_has_its_partitions_it_is_live_but_not_ready(bench, change, problem):
    bench.partitions.give_up()
    bench.change(**change)
    await bench.get("/health/live")
    answer = await bench.get("/health/ready", status=503)
    assert problem in answer["problems"][0]


async def test_a_worker_without_partitions_is_ready(benches):
    (bench,) = await benches(())
    await bench.get("/health/ready")


async def test_a_failed_send_is_the_end(bench):
    bench.folds.stop(Unsafe("the changelog refused a row"))
    for path in ("/health/live", "/health/ready"):
        answer = await bench.get(path, status=503)
        assert answer == {"ok": False, "problems": ["folding has stopped: the changelog refused a row"]}


async def test_a_lapsed_membership_is_waited_for(bench):
    bench.change(lease_remaining=timedelta(seconds=-1))
    await bench.get("/health/live")
    await bench.get("/health/ready", status=503)


async def test_folds_that_never_end_are_noticed(bench):
    partition = bench.partitions.get(0)
    bench.folds.fold(("log", 0), partition, received(0), lambda: None)
    await bench.get("/health/live")
    bench.clock.elapsed += timedelta(seconds=100)
    answer = await bench.get("/health/live", status=503)
    assert "although 1 are under way" in answer["problems"][0]
    bench.settle()
    await bench.get("/health/live")


async def test_metrics_are_for_prometheus(bench):
    bench.fold(received(0))
    bench.gate.close("registry")
    answer = await bench.ask("/metrics")
    assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    lines = (await answer.text()).splitlines()
    for line in (
        "streamapp_folds_acked_total 1.0",
        'streamapp_outcomes_total{status="accepted"} 1.0',
        'streamapp_commands{phase="queued"} 1.0',
        'streamapp_commands_held{reason="registry"} 1.0',
        "streamapp_partitions_owned 2.0",
    ):
        assert line in lines


async def test_only_dags_of_airflow_have_series_of_their_own(bench):
    bench.airflow.dags["probe"] = Dag(max_active_runs=3, paused=True)
    bench.fold(received(0))
    for number in range(1, 30):
        bench.fold(received(number, key=b"%d" % number, policy=policy(dag_id=f"a.nonsense.{number}")))
    bench.followed = {"started": 1}
    bench.fold(received(30, key=b"30", policy=policy(dag_id="started")))

    async def queued():
        lines = (await (await bench.ask("/metrics")).text()).splitlines()
        return {line for line in lines if line.startswith("streamapp_dag_queued{")}

    started = 'streamapp_dag_queued{dag_id="started"} 1.0'
    assert await queued() == {started, 'streamapp_dag_queued{dag_id="(others)"} 30.0'}
    for _ in range(31):
        await bench.dags.look()
    assert await queued() == {
        started,
        'streamapp_dag_queued{dag_id="probe"} 1.0',
        'streamapp_dag_queued{dag_id="(others)"} 29.0',
    }
    text = await (await bench.ask("/metrics")).text()
    assert 'streamapp_dag_missing{dag_id="(others)"} 29.0' in text
    assert "nonsense" not in text


async def test_health_looks_at_no_dags(bench, monkeypatch):
    """Producers may have named thousands of them."""
    monkeypatch.setattr(Ready, "by_dag", property(lambda _: pytest.fail("it looked")))
    for path in ("/health/live", "/health/ready"):
        await bench.get(path)
