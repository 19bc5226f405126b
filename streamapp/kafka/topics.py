"""Reads: Kafka's descriptions of the topics. Writes: the topics that are missing, when asked to.

Commands, results, control and the changelog of the table share one partition count: partition 3 of each belongs
together. It is never altered here, since that would move keys to other partitions.
"""

import asyncio
import logging
import re
import ssl
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Protocol, TypeVar

from aiokafka import errors
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from streamapp.clock import Clock, SystemClock
from streamapp.core.errors import ConfigError, Unavailable
from streamapp.settings import Settings, variable

log = logging.getLogger(__name__)

TABLE = "dispatches"
BROKER_DEFAULT_BYTES = 1048588
"""Kafka's own default for max.message.bytes."""
OVERHEAD_BYTES = 65536
"""Room around a command's bytes for key, headers and names of fields; with less, a dead letter's headers don't fit."""
FOR_EVER_MILLIS = 10**15
"""A longer retention, some ten thousand years, is none."""
VISIBLE_WITHIN = timedelta(seconds=30)
"""How long brokers may take to know a topic that the controller has created."""


@dataclass(frozen=True)
class Expected:
    """A topic as it must be."""

    role: str
    """commands, results, control, dead letters or changelog."""
    name: str
    cleanup: str
    """The cleanup.policy that it must have."""
    least_bytes: int
    """The least max.message.bytes that holds everything that is written to it."""
    same_partitions: bool = True


@dataclass(frozen=True)
class Found:
    """A topic as Kafka describes it."""

    role: str
    name: str
    partitions: int
    replication: int
    configs: Mapping[str, str]

    @property
    def max_bytes(self) -> int:
        """The largest batch that it takes."""
        return int(self.configs.get("max.message.bytes", BROKER_DEFAULT_BYTES))

    @property
    def kept(self) -> timedelta | None:
        """How long it keeps records; None for ever, or where it isn't known."""
        millis = int(self.configs.get("retention.ms", -1))
        for_ever = self.configs.get("cleanup.policy") == "compact" or not 0 <= millis < FOR_EVER_MILLIS
        return None if for_ever else timedelta(milliseconds=millis)


@dataclass(frozen=True)
class Problem:
    """Something that does not fit."""

    topic: str
    what: str
    """One sentence: what is wrong."""
    mend: str
    """One sentence: what to do."""

    def __str__(self) -> str:
        return f"{self.topic}: {self.what}; {self.mend}"


class Client(Protocol):
    """What aiokafka's clients have in common."""

    async def start(self) -> None:
        """Connect."""


ClientT = TypeVar("ClientT", bound=Client)


def changelog(settings: Settings) -> str:
    """The changelog topic of the table, as Faust names it."""
    return f"{settings.app_id}-{TABLE}-changelog"


def expected(settings: Settings) -> tuple[Expected, ...]:
    """The five topics, commands first."""
    whole = max(BROKER_DEFAULT_BYTES, settings.max_command_bytes + OVERHEAD_BYTES)
    # A row holds the original record and, as JSON text with each quote escaped, its params.
    row = 3 * settings.max_command_bytes + OVERHEAD_BYTES
    return (
        Expected("commands", settings.commands_topic, "delete", settings.max_command_bytes + OVERHEAD_BYTES),
        Expected("results", settings.results_topic, "delete", 2 * OVERHEAD_BYTES),
        Expected("control", settings.control_topic, "delete", OVERHEAD_BYTES),
        Expected("changelog", changelog(settings), "compact", row),
        # Also records that were too large for a command end up here, with headers added.
        Expected("dead letters", settings.dead_letters_topic, "delete", whole + OVERHEAD_BYTES, same_partitions=False),
    )


def client_arguments(settings: Settings) -> dict[str, Any]:
    """The arguments that make any aiokafka client reach Kafka.

    Raises:
        ConfigError: The file of certificates is not usable.
    """
    arguments: dict[str, Any] = {
        "bootstrap_servers": settings.bootstrap_servers,
        "security_protocol": settings.security_protocol,
    }
    if settings.security_protocol.endswith("SSL"):
        try:
            arguments["ssl_context"] = ssl.create_default_context(cafile=settings.ssl_ca_location)
        except OSError as error:
            place = f"{variable('ssl_ca_location')}={str(settings.ssl_ca_location)!r}"
            raise ConfigError(f"{place}: must be a file of PEM certificates ({error})") from None
    if settings.security_protocol.startswith("SASL"):
        assert settings.sasl_password is not None
        arguments["sasl_mechanism"] = settings.sasl_mechanism
        arguments["sasl_plain_username"] = settings.sasl_username
        arguments["sasl_plain_password"] = settings.sasl_password.get_secret_value()
    return arguments


async def start(client: ClientT, settings: Settings) -> ClientT:
    """Start an aiokafka client.

    Raises:
        Unavailable: Kafka does not answer, or refuses the log-in; one line that says why and what to do.
    """
    why = _LastError()
    logger = logging.getLogger("aiokafka")
    logger.addHandler(why)
    try:
        await client.start()
    except (errors.KafkaError, OSError, TimeoutError) as error:
        raise Unavailable(_unreachable(settings, why.text or str(error))) from error
    finally:
        logger.removeHandler(why)
    return client


async def stop(consumer: Any) -> None:
    """Stop an aiokafka consumer, also one whose Kafka has gone away."""
    try:
        await consumer.stop()
    except asyncio.CancelledError:
        # It cancels a request of its own that is under way, and lets that out as if we had been cancelled.
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise


@contextmanager
def answering(settings: Settings) -> Iterator[None]:
    """Turns what aiokafka raises into `Unavailable`."""
    try:
        yield
    except errors.KafkaError as error:
        raise Unavailable(_unreachable(settings, str(error))) from error


@asynccontextmanager
async def admin(settings: Settings) -> AsyncIterator[Any]:
    """An admin client, started and closed. Raises as `start` does."""
    client = AIOKafkaAdminClient(**client_arguments(settings), request_timeout_ms=15_000)
    try:
        with answering(settings):
            yield await start(client, settings)
    except TimeoutError:
        raise Unavailable(_unreachable(settings, "it took too long")) from None
    finally:
        await client.close()


async def describe(settings: Settings) -> dict[str, Found]:
    """The topics that exist, by their roles.

    Raises:
        Unavailable: Kafka does not answer.
    """
    async with admin(settings) as client:
        return await _describe(client, expected(settings))


async def check(settings: Settings) -> list[Problem]:
    """What does not fit, and how to mend it; empty when workers can start.

    Raises:
        Unavailable: Kafka does not answer.
    """
    return find_problems(settings, await describe(settings))


async def create(settings: Settings, *, partitions: int | None = None, clock: Clock | None = None) -> list[str]:
    """Create what is missing; what exists is left alone. Returns the names of the topics created.

    Args:
        settings: Names, replication, sizes.
        partitions: How many; default: as many as the topics that exist have, else `settings.partitions`.
        clock: For waiting until every broker knows the topics.

    Raises:
        ConfigError: Existing topics have another number of partitions, or Kafka refuses to create one.
        Unavailable: Kafka does not answer.
    """
    wanted = expected(settings)
    async with admin(settings) as client:
        found = await _describe(client, wanted)
        count = _partition_count(settings, found, partitions)
        largest = found["commands"].max_bytes if "commands" in found else 0
        missing = [_new_topic(settings, topic, count, largest) for topic in wanted if topic.role not in found]
        if missing:
            answer = await client.create_topics(missing)
            for name, code, message in answer.topic_errors:
                if code not in {0, errors.TopicAlreadyExistsError.errno}:
                    raise ConfigError(f"{name}: Kafka does not create it: {message or errors.for_code(code).__name__}")
            found = await _wait_until_visible(client, wanted, clock or SystemClock())
            # Somebody else may have created some meanwhile, or just before.
            _partition_count(settings, found, partitions)
    return [topic.name for topic in missing]


def find_problems(settings: Settings, found: Mapping[str, Found]) -> list[Problem]:
    """What does not fit among the topics found."""
    problems: list[Problem] = []
    commands = found.get("commands")
    for topic in expected(settings):
        there = found.get(topic.role)
        if there is None:
            problems.append(Problem(topic.name, "does not exist", "run `streamapp topics --create`"))
            continue
        if commands and topic.same_partitions and there.partitions != commands.partitions:
            problems.append(_partitions_differ(commands, there))
        problems += _config_problems(settings, topic, there, commands)
    return problems


def _config_problems(settings: Settings, topic: Expected, there: Found, commands: Found | None) -> list[Problem]:
    problems: list[Problem] = []

    def alter(what: str, setting: str) -> None:
        mend = f"set {setting} on it (kafka-configs --alter --entity-type topics --entity-name {topic.name})"
        problems.append(Problem(topic.name, what, mend))

    cleanup = there.configs.get("cleanup.policy", topic.cleanup)
    if cleanup != topic.cleanup:
        alter(f"has cleanup.policy={cleanup}, which loses records", f"cleanup.policy={topic.cleanup}")
    least = topic.least_bytes
    if topic.role == "dead letters" and commands:
        least = commands.max_bytes + OVERHEAD_BYTES
    if there.configs and there.max_bytes < least:
        alter(f"takes records of {there.max_bytes} bytes only", f"max.message.bytes={least}")
    copies = int(there.configs.get("min.insync.replicas", 1))
    if copies > there.replication:
        alter(f"wants {copies} copies in sync and has {there.replication}", f"min.insync.replicas={there.replication}")
    if there.replication < settings.replication_factor:
        what = f"has {there.replication} copies instead of {settings.replication_factor}"
        mend = f"reassign its partitions (kafka-reassign-partitions), or lower {variable('replication_factor')}"
        problems.append(Problem(topic.name, what, mend))
    return problems


def _partitions_differ(commands: Found, there: Found) -> Problem:
    what = f"has {there.partitions} partitions, while {commands.name} has {commands.partitions}"
    return Problem(there.name, what, "delete the one that holds nothing yet and run `streamapp topics --create`")


def _partition_count(settings: Settings, found: Mapping[str, Found], asked: int | None) -> int:
    together = [found[topic.role] for topic in expected(settings) if topic.same_partitions and topic.role in found]
    if not together:
        return asked or settings.partitions
    first, *others = together
    for other in others:
        if other.partitions != first.partitions:
            raise ConfigError(str(_partitions_differ(first, other)))
    if asked not in {None, first.partitions}:
        what = f"{first.name}: exists with {first.partitions} partitions, not {asked}"
        raise ConfigError(f"{what}; leave --partitions out, or name another topic: a change would move keys")
    return first.partitions


def _new_topic(settings: Settings, topic: Expected, partitions: int, largest_command: int) -> NewTopic:
    configs = {"cleanup.policy": topic.cleanup, "min.insync.replicas": str(settings.min_insync_replicas)}
    least = max(topic.least_bytes, BROKER_DEFAULT_BYTES)
    if topic.role == "dead letters":
        least = max(least, largest_command + OVERHEAD_BYTES)
    configs["max.message.bytes"] = str(least)
    if topic.role == "results" and settings.results_retention is not None:
        configs["retention.ms"] = str(settings.results_retention // timedelta(milliseconds=1))
    return NewTopic(topic.name, partitions, settings.replication_factor, topic_configs=configs)


async def _describe(client: Any, wanted: Sequence[Expected]) -> dict[str, Found]:
    # Asked for by name, Kafka may create what it lacks: so all topics are listed.
    described = {topic["topic"]: topic for topic in await client.describe_topics()}
    there = [topic for topic in wanted if described.get(topic.name, {}).get("error_code") == 0]
    configs: dict[str, dict[str, str]] = {}
    if there:
        resources = [ConfigResource(ConfigResourceType.TOPIC, topic.name) for topic in there]
        for answer in await client.describe_configs(resources):
            for code, message, _kind, name, entries in answer.resources:
                if code:
                    log.warning("%s: its configuration can't be read and is not checked: %s", name, message)
                configs[name] = {entry[0]: entry[1] for entry in entries}
    found = {}
    for topic in there:
        partitions = described[topic.name]["partitions"]
        replication = min(len(partition["replicas"]) for partition in partitions)
        found[topic.role] = Found(topic.role, topic.name, len(partitions), replication, configs.get(topic.name, {}))
    return found


async def _wait_until_visible(client: Any, wanted: Sequence[Expected], clock: Clock) -> dict[str, Found]:
    deadline = clock.monotonic() + VISIBLE_WITHIN.total_seconds()
    while True:
        found = await _describe(client, wanted)
        if len(found) == len(wanted):
            return found
        if clock.monotonic() > deadline:
            raise Unavailable("Kafka has created the topics but does not list them yet; ask again in a moment")
        await clock.sleep(timedelta(milliseconds=100))


def _unreachable(settings: Settings, why: str) -> str:
    why = " ".join(re.sub(r'^Unable connect to "[^"]*": *', "", why).split())
    what = f"Kafka at {settings.bootstrap_servers} does not answer" + (f" ({why})" if why else "")
    if "Authentication" in why:
        return f"{what}; check {variable('sasl_username')}, {variable('sasl_password')}, {variable('sasl_mechanism')}"
    if "CERTIFICATE" in why:
        return f"{what}; check {variable('ssl_ca_location')}"
    # A broker that expects another protocol hangs up, or says nothing.
    protocol = "" if "Errno" in why else f", or check {variable('security_protocol')}"
    return f"{what}; start it, or set {variable('bootstrap_servers')}{protocol}"


class _LastError(logging.Handler):
    """aiokafka only logs why a broker could not be reached; the error that it raises does not say."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.text = ""

    def emit(self, record: logging.LogRecord) -> None:
        self.text = record.getMessage()
