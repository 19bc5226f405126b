"""docker-compose.yml is valid, complete, and the same stack as `make up`."""

import json
import re
from typing import Any

import pytest
import yaml
from compose_spec import PyCompose

from stack.config import ROOT


@pytest.fixture
def compose() -> dict[str, Any]:
    text = (ROOT / "docker-compose.yml").read_text()
    return dict(yaml.safe_load(text))


def test_is_valid(compose: dict[str, Any]) -> None:
    PyCompose.from_json(json.dumps(compose)).validate()


def test_the_check_would_see_a_wrong_key(compose: dict[str, Any]) -> None:
    compose["services"]["kafka"]["portz"] = []
    with pytest.raises(ValueError, match="portz"):
        PyCompose.from_json(json.dumps(compose))


def test_every_service_has_an_image_and_its_dependencies_exist(compose: dict[str, Any]) -> None:
    services = compose["services"]
    for name, service in services.items():
        assert ":" in service["image"] or service["build"], name
        for other, how in service.get("depends_on", {}).items():
            assert other in services, f"{name} depends on {other}"
            if how["condition"] == "service_healthy":
                assert "healthcheck" in services[other], f"{name} waits for the health of {other}"


def test_volumes_and_build_files_exist(compose: dict[str, Any]) -> None:
    for service in compose["services"].values():
        if build := service.get("build"):
            assert (ROOT / build["context"] / build["dockerfile"]).is_file()
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            assert (ROOT / source).exists() if source.startswith(".") else source in compose["volumes"]


def test_listens_on_this_machine_only(compose: dict[str, Any]) -> None:
    ports = [port for service in compose["services"].values() for port in service.get("ports", [])]
    assert len(ports) >= 6
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_workers_answer_by_the_names_of_their_services(compose: dict[str, Any]) -> None:
    services = compose["services"]
    workers = {name: service for name, service in services.items() if "worker" in service.get("command", [])}
    assert set(workers) == {"worker1", "worker2"}
    for service in workers.values():
        assert set(service["environment"]["STREAMAPP_WEB_HOSTS"].split(",")) == set(workers)


def test_tables_live_no_longer_than_the_logs_that_they_follow(compose: dict[str, Any]) -> None:
    """After `docker compose down` a new Kafka has no changelog; a worker with an older table would refuse to start."""
    services = compose["services"]
    assert "volumes" not in services["kafka"]
    assert "volumes" not in services["worker1"]
    assert "volumes" not in services["worker2"]
    assert "VOLUME" not in (ROOT / "stack/Dockerfile").read_text()


def test_runs_the_versions_of_the_stack(compose: dict[str, Any]) -> None:
    services = compose["services"]
    kafka = re.search(r"kafka_2.13</artifactId>\s*<version>(.+)</", (ROOT / "stack/kafka/pom.xml").read_text())
    registry = re.search(r"registry-app</artifactId>\s*<version>(.+)</", (ROOT / "stack/registry/pom.xml").read_text())
    airflow = re.search(r"^apache-airflow==(.+)$", (ROOT / "requirements/airflow.txt").read_text(), re.MULTILINE)
    assert kafka
    assert registry
    assert airflow
    assert services["kafka"]["image"] == f"apache/kafka:{kafka[1]}"
    assert services["registry"]["image"] == f"apicurio/apicurio-registry:{registry[1]}"
    assert services["airflow-api"]["image"] == f"apache/airflow:{airflow[1]}"


def test_the_mail_connection_is_json(compose: dict[str, Any]) -> None:
    connection = json.loads(compose["services"]["airflow-scheduler"]["environment"]["AIRFLOW_CONN_SMTP_DEFAULT"])
    assert (connection["host"], connection["port"]) == ("mail", 1025)
