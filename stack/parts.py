"""Reads: nothing. Writes: nothing. The parts by name, as the Procfile and the tests call them."""

from stack.airflow import AirflowApi, AirflowDagProcessor, AirflowScheduler, AirflowTriggerer
from stack.airflow2 import Airflow2Scheduler, Airflow2Web
from stack.kafka import Kafka
from stack.mail import Mail
from stack.part import Part
from stack.postgres import Postgres
from stack.registry import Registry
from stack.worker import Worker1, Worker2

# Each layer needs those before it, so the last one ends first.
LAYERS: tuple[tuple[type[Part], ...], ...] = (
    (Postgres, Kafka, Registry, Mail),
    (AirflowApi, AirflowScheduler, AirflowDagProcessor),
    (Worker1, Worker2),
)
PARTS: dict[str, type[Part]] = {part.name: part for layer in LAYERS for part in layer}
# Those that only tests and benchmarks start are not in the Procfile.
ALL_PARTS = PARTS | {part.name: part for part in (AirflowTriggerer, Airflow2Web, Airflow2Scheduler)}
