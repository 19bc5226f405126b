"""Reads: its ports and folder from Config. Writes: the broker's properties and data. Kafka, KRaft, one node."""

import logging
import subprocess
from pathlib import Path
from typing import ClassVar

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from stack import fetch
from stack.config import HOST, StackError
from stack.part import Command, Part

CLUSTER_ID = "c3RyZWFtYXBwLXN0YWNrMQ"
_quiet = logging.getLogger("stack.kafka.probe")
_quiet.addHandler(logging.NullHandler())
_quiet.propagate = False


class Kafka(Part):
    """A broker that is its own controller; topics are made on purpose only."""

    name: ClassVar[str] = "kafka"
    ports: ClassVar[tuple[str, ...]] = ("kafka_port", "kafka_controller_port")

    def prepare(self) -> None:
        """Write the properties and format the data folder unless that was done."""
        data = self.state / "data"
        data.mkdir(parents=True, exist_ok=True)
        self._properties_file.write_text("".join(f"{name}={value}\n" for name, value in self._properties().items()))
        if (data / "meta.properties").exists():
            return
        format_it = ["kafka.tools.StorageTool", "format", "-t", CLUSTER_ID, "-c", str(self._properties_file)]
        done = subprocess.run([*self._java("128m"), *format_it], check=False, capture_output=True, text=True)
        if done.returncode:
            raise StackError(f"Kafka's data folder can't be formatted: {done.stderr or done.stdout}")

    def command(self) -> Command:
        """Return the broker's command line."""
        return Command([*self._java("512m"), "kafka.Kafka", str(self._properties_file)])

    def waiting_for(self) -> str | None:
        """Ask for metadata."""
        return metadata_problem({"bootstrap.servers": self.config.bootstrap_servers})

    @property
    def _properties_file(self) -> Path:
        return self.state / "server.properties"

    def _java(self, heap: str) -> list[str]:
        log = Path(__file__).with_name("log4j2.properties")
        return ["java", f"-Xmx{heap}", f"-Dlog4j2.configurationFile={log}", "-cp", f"{fetch.kafka()}/*"]

    def _properties(self) -> dict[str, str]:
        listeners = (
            f"PLAINTEXT://{self.config.bootstrap_servers},CONTROLLER://{HOST}:{self.config.kafka_controller_port}"
        )
        properties = {
            "process.roles": "broker,controller",
            "node.id": "1",
            "controller.quorum.voters": f"1@{HOST}:{self.config.kafka_controller_port}",
            "listeners": listeners,
            "controller.listener.names": "CONTROLLER",
            "log.dirs": str(self.state / "data"),
            "auto.create.topics.enable": "false",
            # One broker; small internal topics start and stop faster.
            "offsets.topic.replication.factor": "1",
            "offsets.topic.num.partitions": "4",
            "transaction.state.log.replication.factor": "1",
            "transaction.state.log.min.isr": "1",
            "transaction.state.log.num.partitions": "4",
            "share.coordinator.state.topic.replication.factor": "1",
            "share.coordinator.state.topic.min.isr": "1",
            "group.initial.rebalance.delay.ms": "0",
        }
        if self.config.kafka_properties:
            properties |= _read_properties(Path(self.config.kafka_properties))
        return properties


def metadata_problem(client: dict[str, str]) -> str | None:
    """Return why a broker does not answer a metadata request with these client settings, or None."""
    try:
        admin = AdminClient({**client, "reconnect.backoff.max.ms": "200"}, logger=_quiet)
        brokers = admin.list_topics(timeout=2).brokers
    except KafkaException as error:
        return f"{client['bootstrap.servers']}: {error.args[0].str()}"
    return None if brokers else f"{client['bootstrap.servers']}: no broker has registered"


def _read_properties(path: Path) -> dict[str, str]:
    lines = (line.strip() for line in path.read_text().splitlines())
    pairs = (line.partition("=") for line in lines if line and not line.startswith("#"))
    return {name: value for name, _, value in pairs}
