"""Reads: nothing. Writes: a broker, a registry and workers of one chaos run. Everything that faults act on."""

import random
import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support.airflow_api import AirflowApi, FakeAirflowProcess
from tests.support.chaos_crew import Crew
from tests.support.chaos_load import Commands, Load
from tests.support.gateway import Gateway
from tests.support.installation import Installation
from tests.support.stack import Kafka, Registry

AIRFLOW_TIMEOUT_SECONDS = 5.0
"""For requests to the fake one, so that it can be too slow for them."""
WAYS_IN = ("trigger", "get", "list")
"""What workers ask Airflow for."""


class Broker(Kafka):
    """A broker that can be stopped in its tracks."""

    @property
    def client(self) -> dict[str, str]:
        """What a Confluent client needs to reach it, and to bear its absence in silence."""
        return {**super().client, "log_level": "0"}

    def freeze(self) -> None:
        """Stop its clock hands: connections stay, and nobody answers."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)


@dataclass(frozen=True)
class Scene:
    """What a chaos run plays on."""

    broker: Broker
    site: Installation
    crew: Crew
    load: Load
    partitions: int
    registry_way: Gateway
    airflow_way: Gateway
    standbys: int
    """Copies of each partition's table, beside its owner's."""
    fake: FakeAirflowProcess | None
    """None: the Airflow is real, and can only be away."""


@dataclass(frozen=True, kw_only=True)
class Size:
    """How much of everything."""

    partitions: int = 4
    workers: int = 2
    keys: int = 24
    per_second: float = 6.0
    run_seconds: tuple[float, ...] = (0.0, 0.05, 0.3, 1.0)
    seed: int = 1
    standbys: int = 0
    sabotage: tuple[str, ...] = ()
    """What goes wrong in every worker, see tests.support.sabotage: to see that the judges notice."""


@contextmanager
def stage(directory: Path, airflow: AirflowApi, registry: Registry, size: Size) -> Iterator[Scene]:
    """Build it all, around an Airflow and a registry that others may use as well, and take it down."""
    fake = airflow if isinstance(airflow, FakeAirflowProcess) else None
    with ExitStack() as opened:
        broker = opened.enter_context(Broker(directory / "broker"))
        registry_way = opened.enter_context(Gateway(registry.url))
        airflow_way = opened.enter_context(Gateway(airflow.url))
        site = opened.enter_context(
            Installation(
                f"chaos-{size.partitions}-{size.seed}", directory, broker, airflow, registry.url,
                partitions=size.partitions, airflow_url=airflow_way.url, schema_registry_url=registry_way.url,
                standby_replicas=str(size.standbys),
                **({"airflow_timeout": f"{AIRFLOW_TIMEOUT_SECONDS}s"} if fake else {}),
            )
        )  # fmt: skip
        site.create_topics()
        names = [f"worker-{number}" for number in range(1, size.workers + 1)]
        crew = Crew([site.worker(name, *size.sabotage) for name in names], site.worker("extra", *size.sabotage))
        chance = random.Random(size.seed)
        draw = Commands(site, chance, keys=size.keys, seconds=size.run_seconds)
        load = opened.enter_context(Load(site, broker, draw, size.per_second))
        yield Scene(broker, site, crew, load, size.partitions, registry_way, airflow_way, size.standbys, fake)
