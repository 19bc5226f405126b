"""What the console may see of its worker: reads the moving parts, writes nothing."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta

from streamapp.airflow.guard import Guard
from streamapp.clock import Clock
from streamapp.dispatch.dags import Dags
from streamapp.dispatch.fold import Folds
from streamapp.dispatch.gate import Gate
from streamapp.dispatch.partitions import Partitions
from streamapp.dispatch.ready import Ready
from streamapp.observe.figures import AirflowFigures, DagFigures, Figures, Following
from streamapp.observe.health import Progress
from streamapp.observe.outcomes import OutcomeWatch
from streamapp.routes import Routes


@dataclass(frozen=True, slots=True, kw_only=True)
class Membership:
    """How the worker stands in its group."""

    lease_remaining: timedelta
    joined: bool
    rebalancing: bool
    restoring: bool
    standbys: Mapping[int, int] = field(default_factory=dict)
    """Partitions whose table it only keeps a copy of, each with the records that the copy lacks."""
    url: str
    """Under which the group knows this worker."""
    workers: Mapping[str, frozenset[int]]
    """The addresses of all workers, with the partitions they own. Workers that share one address count once."""
    total: int
    """Partitions of the commands topic; 0 while they aren't known."""

    @property
    def elsewhere(self) -> frozenset[int]:
        """Partitions that other workers can be asked about."""
        return frozenset().union(*(owned for url, owned in self.workers.items() if url != self.url))


@dataclass(frozen=True, kw_only=True)
class Worker:
    """The parts that are read."""

    clock: Clock
    membership: Callable[[], Membership]
    partitions: Partitions
    folds: Folds
    ready: Ready
    gate: Gate
    guard: Guard
    dags: Dags
    outcomes: OutcomeWatch
    following: Callable[[], Following]
    passed_over: Callable[[], int]
    pruned: Callable[[], int]
    routes: Routes
    lender: Callable[[], str | None] = lambda: None
    """The worker whose permits this one borrows."""
    untaken: Callable[[], Mapping[str, timedelta]] = dict
    caught_up: Callable[[], bool] = lambda: True
    """Whether all is folded that the workers before have seen."""
    _progress: Progress = field(default_factory=Progress)

    def airflow(self) -> AirflowFigures:
        """How the way to Airflow stands."""
        limit, breaker = self.guard.limit, self.guard.breaker
        return AirflowFigures(
            in_flight=limit.in_flight,
            limit=limit.source.number,
            bound=limit.source.bound,
            lender=self.lender(),
            latency=limit.source.recent,
            latency_before=limit.source.before,
            breaker=breaker.state.value,
            breaker_why=breaker.why,
            breaker_since=self.guard.down_since,
            outages=breaker.opened,
        )

    def by_dag(self) -> dict[str, DagFigures]:
        """How the DAGs stand that have something to start or to wait for; producers may name thousands."""
        known, followed = self.dags.known, self.following().runs
        found = {}
        for dag_id, now in self.ready.by_dag.items():
            said = known.get(dag_id)
            found[dag_id] = DagFigures(
                queued=now.queued,
                outstanding=now.outstanding,
                cap=now.cap,
                known=said is not None or dag_id in followed,
                paused=said is not None and said.paused,
                missing=dag_id in known and said is None,
            )
        return found

    def figures(self) -> Figures:
        """The worker as it now is."""
        member, folds = self.membership(), self.folds
        return Figures(
            failed=None if folds.failed is None else str(folds.failed),
            lease_remaining=member.lease_remaining,
            joined=member.joined,
            rebalancing=member.rebalancing,
            restoring=member.restoring,
            accepting=self.partitions.accepting,
            stalled=self._progress.look(folds.open, folds.acked, self.clock.monotonic()),
            untaken=self.untaken(),
            standbys=member.standbys,
            partitions=tuple(sorted(partition.number for partition in self.partitions)),
            folds_open=folds.open,
            folds_acked=folds.acked,
            phases=self.ready.figures,
            airflow=self.airflow(),
            following=self.following(),
            held=tuple(sorted(self.gate.reasons)),
            passed_over=self.passed_over(),
            pruned=self.pruned(),
            outcomes=dict(self.outcomes.sent),
            routes=len(self.routes),
            routes_broken=self.routes.problem is not None,
            routes_reloaded=self.routes.reloads,
        )
