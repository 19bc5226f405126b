"""What is known of each DAG: how many runs it lets run, whether it is paused. Reads Airflow now and then; no table.

Only DAGs with something to do are asked about, one at a time, however many there are.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import timedelta

from streamapp.airflow.port import AirflowPort, AirflowUnavailable, Dag
from streamapp.clock import Clock

UNKNOWN_CAP = 16
"""Runs that may be outstanding for a DAG that Airflow says nothing of: Airflow's own default of `max_active_runs`."""
LOOK_EVERY = timedelta(milliseconds=500)
"""Between two questions: two hundred DAGs cost two requests a second, no more."""
LOOK_AGAIN = timedelta(seconds=30)
"""How old what is known may be; with more than sixty DAGs it is older."""


@dataclass(frozen=True, slots=True)
class _Look:
    """What Airflow said."""

    dag: Dag | None
    at: float


class Dags:
    """The DAGs of one worker's commands.

    Args:
        airflow: What is asked.
        clock: For pauses.
        wanted: The DAGs that have something to do.
        changed: Called when something else is known than before.
    """

    def __init__(
        self,
        airflow: AirflowPort,
        clock: Clock,
        *,
        wanted: Callable[[], Collection[str]],
        changed: Callable[[], None] = lambda: None,
    ) -> None:
        self._airflow = airflow
        self._clock = clock
        self._wanted = wanted
        self._changed = changed
        self._looks: dict[str, _Look] = {}

    @property
    def known(self) -> Mapping[str, Dag | None]:
        """What Airflow said last; None for a DAG that it does not have."""
        return {dag_id: look.dag for dag_id, look in self._looks.items()}

    def cap(self, dag_id: str) -> int:
        """Runs of the DAG that may be outstanding, as it says itself."""
        look = self._looks.get(dag_id)
        if look is None or look.dag is None or look.dag.max_active_runs is None:
            return UNKNOWN_CAP
        return look.dag.max_active_runs

    def paused(self, dag_id: str) -> bool:
        """Whether it was paused when it was last looked at."""
        look = self._looks.get(dag_id)
        return look is not None and look.dag is not None and look.dag.paused

    async def run(self) -> None:
        """Look now and then, for ever."""
        while True:
            await self._clock.sleep(LOOK_EVERY)
            await self.look()

    async def look(self) -> None:
        """Ask about the DAG of which least is known, if that is long ago."""
        wanted, now = frozenset(self._wanted()), self._clock.monotonic()
        self._looks = {
            dag_id: look
            for dag_id, look in self._looks.items()
            if dag_id in wanted or now - look.at < LOOK_AGAIN.total_seconds()
        }
        unknown = min(wanted - self._looks.keys(), default=None)
        oldest = unknown or min(wanted, key=lambda dag_id: (self._looks[dag_id].at, dag_id), default=None)
        if oldest is None or (unknown is None and now - self._looks[oldest].at < LOOK_AGAIN.total_seconds()):
            return
        before = self._looks.get(oldest)
        try:
            dag = await self._airflow.dag(oldest)
        except AirflowUnavailable:
            dag = before.dag if before is not None else None  # not worth more than the next turn
        self._looks[oldest] = _Look(dag, self._clock.monotonic())
        if before is None or before.dag != dag:
            self._changed()
