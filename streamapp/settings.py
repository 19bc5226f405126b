"""Reads: STREAMAPP_* variables, streamapp.toml, a Confluent-style properties file. Writes: warnings of unknown names.

Environment over `streamapp.toml` over the properties file over defaults. Nothing is read when this module is imported,
and nothing when a `Settings` is built by hand.
"""

import json
import logging
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    FilePath,
    SecretStr,
    ValidationError,
    model_validator,
)

from streamapp.core.errors import ConfigError
from streamapp.files import meant, parse_toml, read_text

log = logging.getLogger(__name__)

PREFIX = "STREAMAPP_"
DEFAULT_ROUTES_FILE = "streamapp.toml"
"""Read from the working directory when STREAMAPP_ROUTES_FILE names no other."""

PROPERTIES = {
    "bootstrap.servers": "bootstrap_servers",
    "security.protocol": "security_protocol",
    "sasl.mechanism": "sasl_mechanism",
    "sasl.mechanisms": "sasl_mechanism",
    "sasl.username": "sasl_username",
    "sasl.password": "sasl_password",
    "ssl.ca.location": "ssl_ca_location",
    "schema.registry.url": "schema_registry_url",
    "basic.auth.user.info": "schema_registry_user_info",
}
"""Names of the properties file and the fields they set."""
CREDENTIALS_SOURCE = "basic.auth.credentials.source"

_UNITS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}
_DURATION = re.compile(r"\s*(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)?\s*")
_PROPERTY = re.compile(r"([\w.-]+)(\s*[=:]|\s)\s*(.*)")
"""A line of the properties file; a colon or a blank is as good as = to Java."""
_NAME = re.compile(r"[A-Za-z0-9._-]+")
_HEADER = re.compile(r"[A-Za-z0-9_-]+")
_OWN_HEADERS = {"accept", "content-length", "content-type", "host", "transfer-encoding", "connection"}
_LONGEST_NAME = 249
"""Kafka's limit for the name of a topic."""


def read_duration(value: Any) -> Any:
    """30, "30", "30s", "5m", "500ms", "2h", "1d"; ISO 8601 is left to pydantic."""
    match = _DURATION.fullmatch(value) if isinstance(value, str) else None
    if not match:
        return value
    try:
        return timedelta(seconds=float(match[1]) * _UNITS[match[2] or "s"])
    except OverflowError:
        raise ValueError("is longer than can be counted") from None


def _kafka_name(limit: int) -> AfterValidator:
    def check(value: str) -> str:
        if not _NAME.fullmatch(value) or len(value) > limit or value in {".", ".."}:
            raise ValueError(f"must be 1 to {limit} of the characters A-Z a-z 0-9 . _ -")
        return value

    return AfterValidator(check)


def _servers(value: str) -> str:
    servers = [server.strip() for server in value.split(",") if server.strip()]
    for server in servers:
        host, colon, port = server.rpartition(":")
        if not (colon and host and port.isdecimal() and 0 < int(port) < 65536) or "/" in host:
            raise ValueError("must be host:port, or several with commas between")
    if not servers:
        raise ValueError("must name at least one host:port")
    return ",".join(servers)


def _server(value: str) -> str:
    if "," in value:
        raise ValueError("must be one host:port")
    return _servers(value)


def _hosts(value: str) -> str:
    names = [name.strip().removesuffix(".").lower() for name in value.split(",") if name.strip()]
    if not names or not all(name == "*" or _NAME.fullmatch(name) for name in names):
        raise ValueError("must be the name of a host, without a port, or several with commas between, or *")
    return ",".join(names)


def _address(value: str) -> str:
    if "@" in value:  # also where a / in the password, say, makes it a part of the path
        raise ValueError("must hold no user and password: there are settings for them")
    try:
        parts = urlsplit(value)
        fits = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0 and "," not in value
    except ValueError:
        fits = False
    if not fits or parts.query or parts.fragment or any(character.isspace() for character in value):
        raise ValueError("must be one address such as http://127.0.0.1:8080")
    return value.rstrip("/")


def _user_info(value: SecretStr) -> SecretStr:
    if ":" not in value.get_secret_value():
        raise ValueError("must be <user or API key>:<password or secret>")
    return value


def _json(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except ValueError:  # its text would show a part of the value
        raise ValueError('must be a JSON object such as {"X-Api-Key": "…"}') from None


def _header_value(value: SecretStr) -> SecretStr:
    text = value.get_secret_value()
    if not text or not text.isascii() or not text.isprintable():
        raise ValueError("must be one line of ASCII")
    return value


def _headers(value: dict[str, SecretStr]) -> dict[str, SecretStr]:
    for name, text in value.items():
        if not _HEADER.fullmatch(name):
            raise ValueError("must have names of headers: letters, digits and -")
        if name.lower() in _OWN_HEADERS:
            raise ValueError(f"must not have {name}: it is made for each request")
        _header_value(text)
    return value


Duration = Annotated[timedelta, BeforeValidator(read_duration), Field(gt=timedelta(0))]
HttpAddress = Annotated[str, AfterValidator(_address)]
TopicName = Annotated[str, _kafka_name(_LONGEST_NAME)]


def _memory(value: timedelta) -> timedelta:
    if value.days > 365_000:
        raise ValueError("must be 365000d at most: what is so long ago must still have a date")
    return value


def _derived(end: str) -> Callable[[dict[str, Any]], str]:
    return lambda values: f"{values.get('commands_topic', 'commands')}-{end}"


class Settings(BaseModel):
    """Everything that can be set. Each field is also the environment variable STREAMAPP_<FIELD>.

    Durations are written 30s, 5m, 500ms, 2h, 1d, as seconds, or in ISO 8601.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, use_attribute_docstrings=True)

    bootstrap_servers: Annotated[str, AfterValidator(_servers)] = "127.0.0.1:9092"
    """Kafka's brokers: host:port, several with commas between."""
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    """How Kafka is spoken to."""
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = "PLAIN"
    """How to log in to Kafka, where the security protocol is one of SASL."""
    sasl_username: str | None = None
    """Kafka's user name or API key."""
    sasl_password: SecretStr | None = None
    """Kafka's password or API secret."""
    ssl_ca_location: FilePath | None = None
    """A file with the certificates (PEM) that Kafka's own must be signed by; default: those of the machine."""

    schema_registry_url: HttpAddress | None = None
    """The Confluent-compatible schema registry. With it, what is written is Avro; without it, JSON."""
    schema_registry_user_info: Annotated[SecretStr, AfterValidator(_user_info)] | None = None
    """The registry's basic auth as user:password."""

    app_id: Annotated[str, _kafka_name(_LONGEST_NAME - len("-dispatches-changelog"))] = "streamapp"
    """Name of the installation: the consumer group, the changelog's and every run's name contain it."""
    commands_topic: Annotated[str, _kafka_name(_LONGEST_NAME - len("-dead-letters"))] = "commands"
    """The topic that commands are read from."""
    results_topic: TopicName = Field(default_factory=_derived("results"))
    """The topic of outcomes; default: <commands_topic>-results."""
    control_topic: TopicName = Field(default_factory=_derived("control"))
    """The topic of operators' instructions; default: <commands_topic>-control."""
    dead_letters_topic: TopicName = Field(default_factory=_derived("dead-letters"))
    """The topic of what could not be run; default: <commands_topic>-dead-letters."""
    partitions: Annotated[int, Field(ge=1, le=10000)] = 8
    """Partitions of the topics that `streamapp topics --create` makes: the most workers that can share the work."""
    replication_factor: Annotated[int, Field(ge=1, le=100)] = 1
    """Copies of the topics that are made, and the least that a check accepts; 3 in production."""
    min_insync_replicas: Annotated[int, Field(ge=1, le=100)] = 1
    """Copies that must have a record before it counts as written, for topics that are made; 2 in production."""
    results_retention: Duration | None = None
    """How long a topic of outcomes that is made keeps them: how far `streamapp history` sees; default: the broker's."""
    max_command_bytes: Annotated[int, Field(ge=1)] = 262144
    """The most bytes that value, key and headers of a command's record may have together; else it is rejected."""
    session_timeout: Duration = timedelta(seconds=10)
    """How long a worker may be silent before Kafka gives its partitions to others."""
    heartbeat_interval: Duration = timedelta(seconds=1)
    """How often a worker tells Kafka that it lives; at most a third of session_timeout."""

    standby_replicas: Annotated[int, Field(ge=0, le=100)] = 0
    """Other workers that keep a copy of each partition's table, so that one of them takes over without restoring it."""

    airflow_url: HttpAddress = "http://127.0.0.1:8080"
    """Airflow's address, without /api."""
    airflow_api: Literal["auto", "v1", "v2"] = "auto"
    """Airflow's REST API: v1 of Airflow 2, v2 of Airflow 3; auto asks Airflow for its version."""
    airflow_username: str | None = None
    """The user that triggers runs."""
    airflow_password: SecretStr | None = None
    """That user's password."""
    airflow_token: Annotated[SecretStr, AfterValidator(_header_value)] | None = None
    """A bearer token that is taken as it is, instead of user and password."""
    airflow_headers: Annotated[dict[str, SecretStr], BeforeValidator(_json), AfterValidator(_headers)] = {}
    """Headers for every request, for what stands before Airflow: a JSON object (a table in TOML) of texts."""
    airflow_ca_file: FilePath | None = None
    """A file with the certificates (PEM) that Airflow's own must be signed by; default: the public ones of certifi."""
    airflow_max_in_flight: Annotated[int, Field(ge=1, le=1000)] = 8
    """Requests to Airflow under way at a time, all workers together."""
    airflow_timeout: Duration = timedelta(seconds=30)
    """How long a request to Airflow may take before its outcome counts as unknown."""
    dag_missing_grace: Duration = timedelta(seconds=60)
    """How long a DAG that Airflow does not know (yet) is asked for before its command is rejected."""
    poll_interval: Duration = timedelta(seconds=0.05)
    """The shortest time between two requests for ended runs; so short only where a command waits for a young run."""
    reconcile_interval: Duration = timedelta(seconds=30)
    """How often runs that the polls may have missed, or that were deleted, are looked for."""
    hint_listen: Annotated[str, AfterValidator(_server)] | None = None
    """host:port (UDP) at which a worker takes hints of Airflow's plugin that a run ends; default: it takes none."""
    hint_secret: Annotated[SecretStr, AfterValidator(_header_value)] | None = None
    """What signs these hints; the plugin must have the same."""
    retention: Annotated[Duration, AfterValidator(_memory)] = timedelta(days=7)
    """How long a command that has ended is remembered: its id (a second one ends as duplicate), its history."""
    ready_limit: Annotated[int, Field(ge=1)] = 5000
    """Commands of a worker that may wait for Airflow in memory; above it no further ones are read."""
    later_limit: Annotated[int, Field(ge=1)] = 100000
    """Commands of a worker that may wait for a time (not_before, retries) or an operator (hold, pause): each first one
    of a key, and each without a key; above it no further ones are read, of any DAG."""

    web_bind: Annotated[str, Field(min_length=1)] = "127.0.0.1"
    """The network address on which a worker serves its pages, health and metrics."""
    web_hosts: Annotated[str, AfterValidator(_hosts)] | None = None
    """Names by which the pages are reached, beside addresses, localhost and the name that the worker announces: of a
    proxy or a service, several with commas between, without ports; * for any."""
    worker_url: HttpAddress = "http://127.0.0.1:6066"
    """The worker that the command line asks."""

    routes_file: FilePath | None = None
    """The TOML file of routes, and of settings; default: streamapp.toml in the working directory, if there is one."""
    config_file: FilePath | None = None
    """A properties file as Confluent's clients use it: bootstrap.servers=… and so on."""

    @model_validator(mode="after")
    def _fit_together(self) -> Self:
        for one, other in (
            ("sasl_username", "sasl_password"),
            ("airflow_username", "airflow_password"),
            ("hint_listen", "hint_secret"),
        ):
            if (getattr(self, one) is None) != (getattr(self, other) is None):
                raise ValueError(f"{variable(one)} and {variable(other)} must be set together")
        if self.airflow_token is not None and self.airflow_username is not None:
            raise ValueError(f"{variable('airflow_token')} and {variable('airflow_username')} exclude each other")
        logs_in = self.airflow_token is not None or self.airflow_username is not None
        if logs_in and any(name.lower() == "authorization" for name in self.airflow_headers):
            raise ValueError(f"{variable('airflow_headers')} must not have Authorization beside another log-in")
        if self.security_protocol.startswith("SASL") and self.sasl_username is None:
            needed = f"{variable('sasl_username')} and {variable('sasl_password')}"
            raise ValueError(f"{variable('security_protocol')}={self.security_protocol} needs {needed}")
        topics = [self.commands_topic, self.results_topic, self.control_topic, self.dead_letters_topic]
        if len(set(topics)) < len(topics):
            raise ValueError(f"{variable('*_topic')}: the four topics must have different names")
        if self.heartbeat_interval * 3 > self.session_timeout:
            third = f"a third of {variable('session_timeout')}"
            raise ValueError(f"{variable('heartbeat_interval')} must be at most {third}")
        if self.min_insync_replicas > self.replication_factor:
            raise ValueError(f"{variable('min_insync_replicas')} must be at most {variable('replication_factor')}")
        return self


@dataclass(frozen=True)
class Loaded:
    """Settings and how they came about."""

    settings: Settings
    origins: Mapping[str, str]
    """Where each field that is not at its default was set."""
    unknown: tuple[str, ...]
    """Names that were found and not understood, each with its place."""


@dataclass
class _Values:
    """What one place says."""

    values: dict[str, Any] = field(default_factory=dict)
    origins: dict[str, str] = field(default_factory=dict)
    unknown: list[str] = field(default_factory=list)

    def put(self, name: str, value: Any, origin: str) -> None:
        self.values[name] = value
        self.origins[name] = origin

    def put_over(self, other: "_Values") -> None:
        self.values |= other.values
        self.origins |= other.origins
        self.unknown += other.unknown


def load_settings(environ: Mapping[str, str] | None = None, *, config_file: Path | None = None) -> Settings:
    """Read the settings, and warn of names that are not known.

    Args:
        environ: The environment; default: the process's own.
        config_file: A properties file named on the command line: what it says wins over everything else.

    Raises:
        ConfigError: A value does not fit; one line that names it and how to mend it.
    """
    loaded = read_settings(environ, config_file=config_file)
    for name in loaded.unknown:
        log.warning("not used: %s", name)
    return loaded.settings


def read_settings(environ: Mapping[str, str] | None = None, *, config_file: Path | None = None) -> Loaded:
    """Read the settings and tell where each came from. Arguments and errors: see `load_settings`."""
    environment = _from_environment(os.environ if environ is None else environ)
    routes_file = environment.values.get("routes_file")
    toml = _from_toml(Path(routes_file) if routes_file else None)
    named = (toml.values | environment.values).get("config_file")
    merged = _from_properties(Path(str(named))) if named and not config_file else _Values()
    merged.put_over(toml)
    merged.put_over(environment)
    if config_file:
        merged.put_over(_from_properties(config_file))
        merged.put("config_file", config_file, "the command line")
    try:
        settings = Settings(**merged.values)
    except ValidationError as error:
        # `from None`: the original shows values, and some of them are secrets.
        raise ConfigError(_one_line(error, merged)) from None
    return Loaded(settings, merged.origins, tuple(merged.unknown))


def variable(name: str) -> str:
    """The environment variable of a field."""
    return PREFIX + name.upper()


def _from_environment(environ: Mapping[str, str]) -> _Values:
    found = _Values()
    for name in sorted(environ):
        text = environ[name].strip()
        # Set but empty is how compose files and CI say "not set".
        if not name.startswith(PREFIX) or not text:
            continue
        known = name.removeprefix(PREFIX).lower()
        if known in Settings.model_fields and name.isupper():
            found.put(known, text, name)
        else:
            found.unknown.append(f"{name} in the environment{meant(name, map(variable, Settings.model_fields))}")
    return found


def _from_toml(path: Path | None) -> _Values:
    found = _Values()
    if path is None:
        path = Path(DEFAULT_ROUTES_FILE)
        if not path.is_file():
            return found
        found.put("routes_file", path, "the working directory")
    toml = parse_toml(path, read_text(path, variable("routes_file")))
    table = toml.content.get("streamapp", {})
    if not isinstance(table, dict):
        raise ConfigError(f"{toml.key_place('streamapp')}: settings belong in a table [streamapp]")
    for name, value in table.items():
        place = toml.key_place(name)
        if name not in Settings.model_fields or name == "routes_file":
            raise ConfigError(f"{place}: {name!r} is not a setting{meant(name, Settings.model_fields)}")
        found.put(name, value, f"{place} ({name})")
    return found


def _from_properties(path: Path) -> _Values:
    found = _Values()
    for number, line in enumerate(read_text(path, variable("config_file")).splitlines(), start=1):
        stripped = line.strip()
        if not stripped or stripped.startswith(("#", "!")):
            continue
        parts = _PROPERTY.fullmatch(stripped)
        name, separator, value = parts.groups() if parts else ("", "", "")
        known = name in PROPERTIES or name == CREDENTIALS_SOURCE
        if not known and not separator.endswith("="):
            # The line may be half of a secret, and what looks like its name, too: nothing of it is shown.
            raise ConfigError(f"{path}:{number}: must be name=value, a # comment, or blank")
        place = f"{path}:{number} ({name})"
        if name == CREDENTIALS_SOURCE:
            if value != "USER_INFO":
                raise ConfigError(f"{place}: must be USER_INFO, with basic.auth.user.info=<key>:<secret>")
        elif name in PROPERTIES:
            found.put(PROPERTIES[name], value, place)
        else:
            found.unknown.append(f"{name} in {path}:{number}{meant(name, PROPERTIES)}")
    return found


def _one_line(error: ValidationError, merged: _Values) -> str:
    errors = error.errors(include_url=False, include_context=False)
    first, *others = [one for one in errors if one["type"] != "default_factory_not_called"]
    what = first["msg"].removeprefix("Value error, ").replace("Input should be", "must be")
    if first["loc"]:
        name = str(first["loc"][0])
        origin = merged.origins.get(name, variable(name))
        what = f"{origin}{_shown(name, merged.values.get(name))}: {_plain(first['type'], what)}"
    return what + (f" (and {len(others)} more)" if others else "")


def _plain(kind: str, text: str) -> str:
    if kind.startswith(("time_delta", "timedelta")):
        return "must be a duration such as 30s, 5m or 500ms"
    if kind == "greater_than":
        return "must be longer than nothing: a duration such as 30s, 5m or 500ms"
    if kind in {"int_parsing", "int_type", "int_from_float"}:
        return "must be a whole number"
    if kind.startswith("path"):
        return "must name a file that exists"
    return text


def _shown(name: str, value: Any) -> str:
    text = str(value)
    # An @ may have a password before it; where that begins can't be told of what does not fit.
    if value is None or "@" in text or "SecretStr" in str(Settings.model_fields[name].annotation):
        return ""
    return f"={text[:80]!r}"
