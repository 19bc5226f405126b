"""Reads a worker's figures, writes them as text for Prometheus."""

from collections.abc import Callable, Iterator, Mapping

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from streamapp.observe.figures import AirflowFigures, DagFigures, Figures

OTHERS = "(others)"
"""In place of a DAG's name, for all together that Airflow is not known to have: producers could make series of any name
that a route takes. It is no name that a DAG can have."""
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Metrics(Collector):
    """The figures of one worker, read anew for each request.

    Args:
        figures: Of the worker.
        dags: Of the DAGs that have something to start or to wait for.
    """

    def __init__(self, figures: Callable[[], Figures], dags: Callable[[], Mapping[str, DagFigures]]) -> None:
        self._figures = figures
        self._dags = dags
        self._registry = CollectorRegistry()
        self._registry.register(self)

    def text(self) -> bytes:
        """What `/metrics` answers."""
        return generate_latest(self._registry)

    def describe(self) -> list[Metric]:
        """Nothing ahead of time: registering must not read the figures."""
        return []

    def collect(self) -> Iterator[Metric]:
        """All figures as they now are."""
        now = self._figures()
        yield _gauge("folds_open", "Events under way: their rows or effects are not acknowledged yet.", now.folds_open)
        yield _counter("folds_acked", "Events that were folded to the end.", now.folds_acked)
        phases = GaugeMetricFamily("streamapp_commands", "Commands in memory, by phase.", labels=["phase"])
        for phase, count in now.phases.items():
            phases.add_metric([phase], count)
        yield phases
        yield from _airflow(now.airflow)
        yield from _dags(self._dags())
        followed = GaugeMetricFamily("streamapp_runs_followed", "Runs that this worker watches.", labels=["dag_id"])
        for dag_id, count in now.following.runs.items():
            followed.add_metric([dag_id], count)
        yield followed
        yield _gauge("runs_missing", "Followed runs that Airflow did not have when last asked.", now.following.missing)
        yield _gauge(
            "runs_unfollowed", "Active runs of ours that no command waits for: cleared ones.", now.following.unfollowed
        )
        yield from _by("airflow_reads", "Requests of the follower to Airflow.", "purpose", now.following.asked)
        yield from _by("hints", "Hints of ending runs.", "use", now.following.hints)
        held = GaugeMetricFamily(
            "streamapp_commands_held", "1 while commands are not read, by reason.", labels=["reason"]
        )
        for reason in now.held:
            held.add_metric([reason], 1)
        yield held
        yield _gauge("partitions_owned", "Partitions of the commands topic.", len(now.partitions))
        yield _gauge("partitions_followed", "Partitions whose table is copied as a standby.", len(now.standbys))
        yield _gauge("standby_records_behind", "Changelog records that these copies lack.", sum(now.standbys.values()))
        yield _gauge("accepting", "1 while events are folded and runs started.", int(now.accepting))
        yield _gauge("lease_seconds", "Left of the group membership.", now.lease_remaining.total_seconds())
        yield _counter("records_passed_over", "Unreadable records of the results and control topics.", now.passed_over)
        yield _counter("commands_pruned", "Commands forgotten at the end of their retention.", now.pruned)
        yield _gauge("routes", "Routes in force.", now.routes)
        yield _gauge("routes_file_broken", "1 while the routes file does not fit and is not used.", now.routes_broken)
        yield _counter("routes_reloaded", "Changed routes files that were taken.", now.routes_reloaded)
        outcomes = CounterMetricFamily("streamapp_outcomes", "Outcomes sent, repeats included.", labels=["status"])
        for status, count in now.outcomes.items():
            outcomes.add_metric([status.value], count)
        yield outcomes


def _airflow(now: AirflowFigures) -> Iterator[Metric]:
    yield _gauge("airflow_permits_in_flight", "Requests to Airflow that hold a permit.", now.in_flight)
    yield _gauge("airflow_permits", "Permits just now, of all workers that share them.", now.limit)
    yield _gauge("airflow_permits_bound", "The most permits there may be.", now.bound)
    yield _gauge("airflow_permits_borrowed", "1 while the permits are another worker's.", int(now.lender is not None))
    latency = GaugeMetricFamily(
        "streamapp_airflow_latency_seconds",
        "Usual time of triggers under the present limit, and under the one it was compared with.",
        labels=["limit"],
    )
    for label, seconds in (("present", now.latency), ("compared", now.latency_before)):
        if seconds is not None:
            latency.add_metric([label], seconds)
    yield latency
    breaker = GaugeMetricFamily("streamapp_airflow_breaker", "1 for the state that it is in.", labels=["state"])
    breaker.add_metric([now.breaker], 1)
    yield breaker
    yield _counter("airflow_outages", "How often Airflow was found to be down.", now.outages)


def _dags(dags: Mapping[str, DagFigures]) -> Iterator[Metric]:
    known = {dag_id: now for dag_id, now in dags.items() if now.known}
    others = [now for now in dags.values() if not now.known]
    families = (
        ("dag_queued", "Commands that could start if there were room.", lambda now: now.queued),
        ("dag_outstanding", "Runs that are asked for or have not ended.", lambda now: now.outstanding),
        ("dag_cap", "Runs that may be outstanding: this worker's share.", lambda now: now.cap),
        ("dag_paused", "1 for a DAG that is paused in Airflow.", lambda now: int(now.paused)),
        ("dag_missing", "1 for a DAG that Airflow does not have.", lambda now: int(now.missing)),
    )
    for name, text, read in families:
        family = GaugeMetricFamily(f"streamapp_{name}", text, labels=["dag_id"])
        for dag_id, now in known.items():
            family.add_metric([dag_id], read(now))
        if others:
            family.add_metric([OTHERS], sum(map(read, others)))
        yield family


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(f"streamapp_{name}", text, value)


def _by(name: str, text: str, label: str, values: Mapping[str, int]) -> Iterator[Metric]:
    family = CounterMetricFamily(f"streamapp_{name}", text, labels=[label])
    for value, count in values.items():
        family.add_metric([value], count)
    yield family


def _counter(name: str, text: str, value: float) -> Metric:
    return CounterMetricFamily(f"streamapp_{name}", text, value)
