"""Reads: its port and folder from Config. Writes: its schemas under the state directory. Apicurio's registry."""

from typing import ClassVar

from stack import fetch
from stack.config import HOST
from stack.part import Command, Part, http_problem


class Registry(Part):
    """A schema registry that Confluent's clients understand."""

    name: ClassVar[str] = "registry"
    ports: ClassVar[tuple[str, ...]] = ("registry_port",)

    def command(self) -> Command:
        """Return the registry's command line."""
        jar = fetch.registry() / "apicurio-registry-app-3.0.9-runner.jar"
        environment = {
            "QUARKUS_HTTP_HOST": HOST,
            "QUARKUS_HTTP_PORT": str(self.config.registry_port),
            "QUARKUS_HTTP_ACCESS_LOG_ENABLED": "false",
            # On disk and at once: a schema id must mean the same as long as Kafka holds records that name it.
            "APICURIO_DATASOURCE_URL": f"jdbc:h2:file:{self.state / 'schemas'};WRITE_DELAY=0",
        }
        return Command(["java", "-Xmx256m", "-jar", str(jar)], environment)

    def waiting_for(self) -> str | None:
        """Ask for the subjects."""
        return http_problem(f"{self.config.registry_url}/subjects")
