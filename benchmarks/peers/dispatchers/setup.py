"""Reads: PEER_* environment variables. Writes: nothing. What the dispatchers of this package share."""

import json
import os
from dataclasses import dataclass
from typing import Any

import httpx
from confluent_kafka import Consumer, Message

READY = "partitions assigned"
"""Printed once records come."""


@dataclass(frozen=True)
class Setup:
    """Where everything is."""

    topic: str = os.environ.get("PEER_TOPIC", "")
    bootstrap_servers: str = os.environ.get("PEER_BOOTSTRAP_SERVERS", "")
    airflow_url: str = os.environ.get("PEER_AIRFLOW_URL", "")
    username: str = os.environ.get("PEER_USERNAME", "")
    password: str = os.environ.get("PEER_PASSWORD", "")

    def consumer(self, **settings: Any) -> Consumer:
        """A consumer of the topic; what is not said is librdkafka's default, but for the session's length."""
        own = {"bootstrap.servers": self.bootstrap_servers, "group.id": self.topic, "auto.offset.reset": "earliest"}
        consumer = Consumer({**own, "session.timeout.ms": 6000, "heartbeat.interval.ms": 1000, **settings})
        consumer.subscribe([self.topic], on_assign=lambda *_: print(READY, flush=True))
        return consumer

    def client(self) -> httpx.Client:
        """A client that has logged in."""
        client = httpx.Client(base_url=self.airflow_url, timeout=30, limits=httpx.Limits(keepalive_expiry=2))
        login = {"username": self.username, "password": self.password}
        token = client.post("/auth/token", json=login).raise_for_status().json()["access_token"]
        client.headers["Authorization"] = f"Bearer {token}"
        return client


def command(message: Message) -> tuple[str, dict[str, Any]]:
    """The DAG that a record names, and its conf."""
    value = json.loads(message.value() or b"{}")
    return value["command"].partition(".")[2], json.loads(value["params"])


def post(client: httpx.Client, dag_id: str, conf: dict[str, Any], run_id: str | None = None) -> httpx.Response:
    """Ask Airflow for a run."""
    named = {"dag_run_id": run_id} if run_id else {}
    return client.post(f"/api/v2/dags/{dag_id}/dagRuns", json={"logical_date": None, "conf": conf, **named})
