from datetime import timedelta

from prometheus_client.parser import text_string_to_metric_families

from streamapp.core.model import Status
from streamapp.observe.figures import AirflowFigures, DagFigures, Figures, Following
from streamapp.observe.metrics import Metrics


def figures(**fields):
    defaults = {
        "lease_remaining": timedelta(seconds=7.5),
        "joined": True,
        "rebalancing": False,
        "restoring": False,
        "accepting": True,
    }
    return Figures(**defaults | fields)


def samples(metrics):
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(metrics.text().decode())
        for sample in family.samples
    }


def test_every_figure_is_told():
    now = figures(
        partitions=(0, 2),
        standbys={1: 30, 3: 4},
        folds_open=3,
        folds_acked=40,
        phases={"queued": 5, "running": 1},
        airflow=AirflowFigures(
            in_flight=2,
            limit=3,
            bound=8,
            lender="http://one:6066",
            latency=0.5,
            latency_before=0.25,
            breaker="open",
            outages=1,
        ),
        following=Following(runs={"probe": 1}, missing=2, unfollowed=3, asked={"poll": 4}, hints={"taken": 5}),
        held=("ready",),
        passed_over=6,
        pruned=4,
        routes=3,
        routes_broken=True,
        routes_reloaded=2,
        outcomes={Status.SUCCEEDED: 9},
    )
    dags = {"probe": DagFigures(queued=2, outstanding=4, cap=5, known=True, paused=True, missing=True)}
    assert samples(Metrics(lambda: now, lambda: dags)) == {
        ("streamapp_folds_open",): 3,
        ("streamapp_folds_acked_total",): 40,
        ("streamapp_commands", "queued"): 5,
        ("streamapp_commands", "running"): 1,
        ("streamapp_airflow_permits_in_flight",): 2,
        ("streamapp_airflow_permits",): 3,
        ("streamapp_airflow_permits_bound",): 8,
        ("streamapp_airflow_permits_borrowed",): 1,
        ("streamapp_airflow_latency_seconds", "present"): 0.5,
        ("streamapp_airflow_latency_seconds", "compared"): 0.25,
        ("streamapp_airflow_breaker", "open"): 1,
        ("streamapp_airflow_outages_total",): 1,
        ("streamapp_dag_queued", "probe"): 2,
        ("streamapp_dag_outstanding", "probe"): 4,
        ("streamapp_dag_cap", "probe"): 5,
        ("streamapp_dag_paused", "probe"): 1,
        ("streamapp_dag_missing", "probe"): 1,
        ("streamapp_runs_followed", "probe"): 1,
        ("streamapp_runs_missing",): 2,
        ("streamapp_runs_unfollowed",): 3,
        ("streamapp_airflow_reads_total", "poll"): 4,
        ("streamapp_hints_total", "taken"): 5,
        ("streamapp_commands_held", "ready"): 1,
        ("streamapp_partitions_owned",): 2,
        ("streamapp_partitions_followed",): 2,
        ("streamapp_standby_records_behind",): 34,
        ("streamapp_accepting",): 1,
        ("streamapp_lease_seconds",): 7.5,
        ("streamapp_records_passed_over_total",): 6,
        ("streamapp_commands_pruned_total",): 4,
        ("streamapp_routes",): 3,
        ("streamapp_routes_file_broken",): 1,
        ("streamapp_routes_reloaded_total",): 2,
        ("streamapp_outcomes_total", "succeeded"): 9,
    }


def test_figures_are_read_anew_each_time():
    looks = iter([figures(folds_open=1), figures(folds_open=2)])
    metrics = Metrics(lambda: next(looks), dict)
    assert samples(metrics)["streamapp_folds_open",] == 1
    assert samples(metrics)["streamapp_folds_open",] == 2


def test_two_workers_in_one_process_do_not_mix():
    one, other = Metrics(lambda: figures(folds_open=1), dict), Metrics(lambda: figures(folds_open=2), dict)
    assert samples(one)["streamapp_folds_open",] == 1
    assert samples(other)["streamapp_folds_open",] == 2


def test_a_dag_with_a_strange_name_does_not_break_the_text():
    metrics = Metrics(lambda: figures(following=Following(runs={'a"b\\c\nd': 4})), dict)
    assert samples(metrics)["streamapp_runs_followed", 'a"b\\c\nd'] == 4


def test_dags_that_airflow_is_not_known_to_have_are_one():
    unknown = {
        "asked about": DagFigures(queued=0, outstanding=0, cap=16, missing=True),
        "also": DagFigures(queued=0, outstanding=0, cap=16, missing=True),
        **{f"nonsense {number}": DagFigures(queued=1, outstanding=2, cap=16) for number in range(5000)},
    }
    dags = {"probe": DagFigures(queued=2, outstanding=4, cap=5, known=True), **unknown}
    found = {name: value for name, value in samples(Metrics(figures, lambda: dags)).items() if len(name) == 2}
    assert {name: value for name, value in found.items() if name[0].startswith("streamapp_dag_")} == {
        ("streamapp_dag_queued", "probe"): 2,
        ("streamapp_dag_outstanding", "probe"): 4,
        ("streamapp_dag_cap", "probe"): 5,
        ("streamapp_dag_paused", "probe"): 0,
        ("streamapp_dag_missing", "probe"): 0,
        ("streamapp_dag_queued", "(others)"): 5000,
        ("streamapp_dag_outstanding", "(others)"): 10000,
        ("streamapp_dag_cap", "(others)"): 5002 * 16,
        ("streamapp_dag_paused", "(others)"): 0,
        ("streamapp_dag_missing", "(others)"): 2,
    }
