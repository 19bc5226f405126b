"""Reads: the answers of every part. Writes: nothing. What `streamapp doctor` looks at."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Literal

import httpx
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import GroupCoordinatorNotAvailableError, KafkaError

from streamapp.airflow.chosen import ChosenAirflow
from streamapp.airflow.connect import check_log_in, connect
from streamapp.airflow.port import AirflowUnavailable
from streamapp.cli.output import reason_of
from streamapp.clock import SystemClock
from streamapp.core.errors import ConfigError, Unavailable
from streamapp.kafka import topics
from streamapp.routes import load_routes
from streamapp.settings import Loaded, Settings, variable

HTTP_SECONDS = 10.0


@dataclass(frozen=True)
class Check:
    """What was found, and what to do about it."""

    part: str
    state: Literal["ok", "note", "problem"]
    what: str
    mend: str = ""


async def settings_check(loaded: Loaded) -> list[Check]:
    """Where each value came from, and names that were not understood."""
    places = ", ".join(f"{name} from {place}" for name, place in sorted(loaded.origins.items()))
    found = Check("settings", "ok", places or "all at their defaults")
    try:
        number = len(load_routes(loaded.settings.routes_file))
        routes = Check("routes", "ok", f"{number} from {loaded.settings.routes_file or 'the defaults'}")
    except ConfigError as error:
        routes = Check("routes", "problem", str(error), "mend the file: `streamapp routes --check FILE` looks at it")
    return [
        found,
        routes,
        *(Check("settings", "note", f"not used: {name}", "mend its name or take it out") for name in loaded.unknown),
    ]


async def kafka_check(settings: Settings) -> list[Check]:
    """Kafka answers; the topics fit."""
    async with topics.admin(settings) as client:
        cluster = await client.describe_cluster()
    brokers = len(cluster["brokers"])
    answers = Check("kafka", "ok", f"{settings.bootstrap_servers} answers: {brokers} broker{'s' * (brokers != 1)}")
    problems = await topics.check(settings)
    return [answers, *(Check("topics", "problem", f"{found.topic} {found.what}", found.mend) for found in problems)] + (
        [] if problems else [Check("topics", "ok", f"{settings.commands_topic} and what derives from it fit")]
    )


async def workers_check(settings: Settings) -> list[Check]:
    """Somebody reads the commands; how far behind."""
    members, committed = await group(settings)
    found = await topics.describe(settings)
    consumer = AIOKafkaConsumer(**topics.client_arguments(settings))
    lags = []
    try:
        await topics.start(consumer, settings)
        for topic in (found[role] for role in ("commands", "results", "control") if role in found):
            partitions = [TopicPartition(topic.name, number) for number in range(topic.partitions)]
            ends = await consumer.end_offsets(partitions)
            read = await consumer.beginning_offsets(partitions) | committed
            lags.append(f"{topic.name} {sum(max(ends[one] - read[one], 0) for one in partitions)}")
    finally:
        await topics.stop(consumer)
    lag = f"not yet read: {', '.join(lags)}"
    if not members:
        mend = "start one with `faust -A streamapp worker -l info`"
        return [Check("workers", "problem", f"no worker is in the group {settings.app_id}; {lag}", mend)]
    return [Check("workers", "ok", f"{members} in the group {settings.app_id}; {lag}")]


async def group(settings: Settings) -> tuple[int, dict[TopicPartition, int]]:
    """How many workers are members, and the offsets that they have committed."""
    async with topics.admin(settings) as client:
        try:
            (answer,) = await client.describe_consumer_groups([settings.app_id])
            committed = await client.list_consumer_group_offsets(settings.app_id)
        except GroupCoordinatorNotAvailableError:
            return 0, {}  # as long as nobody has ever read from this Kafka
    (group,) = answer.to_object()["groups"]
    return len(group["members"]), {place: commit.offset for place, commit in committed.items() if commit.offset >= 0}


async def worker_check(settings: Settings) -> list[Check]:
    """The worker that the command line would ask is ready."""
    async with _http() as client:
        answer = await client.get(f"{settings.worker_url}/health/ready")
    try:
        said = answer.json()
        ready, problems = said["ok"] is True, ", ".join(said["problems"])
    except (ValueError, TypeError, KeyError):
        ready, problems = False, ""
    if answer.status_code == httpx.codes.OK:
        if ready:
            return [Check("worker", "ok", f"{settings.worker_url} is ready")]
        what = f"what answers at {settings.worker_url} is no worker: {_short(answer)}"
        return [Check("worker", "problem", what, f"set {variable('worker_url')} to the address of a worker")]
    mend = "wait while it rebuilds its state; else its log says why"
    return [Check("worker", "problem", f"{settings.worker_url} is not ready: {problems or _short(answer)}", mend)]


async def registry_check(settings: Settings) -> list[Check]:
    """The registry answers and takes the login."""
    if settings.schema_registry_url is None:
        return [Check("registry", "note", "none is configured: JSON is written, and Avro can't be read")]
    async with _http() as client:
        info = settings.schema_registry_user_info
        user, _, password = info.get_secret_value().partition(":") if info else ("", "", "")
        auth = httpx.BasicAuth(user, password) if info else None
        answer = await client.get(f"{settings.schema_registry_url}/subjects", auth=auth)
    if answer.status_code == httpx.codes.OK:
        return [Check("registry", "ok", f"{settings.schema_registry_url} answers")]
    mend = f"check {variable('schema_registry_url')}"
    if answer.status_code in {401, 403}:
        mend = f"check {variable('schema_registry_user_info')}"
    return [Check("registry", "problem", f"{settings.schema_registry_url} answers {_short(answer)}", mend)]


async def airflow_check(settings: Settings) -> list[Check]:
    """Airflow and its scheduler are well, and the login works."""
    airflow = connect(settings, SystemClock())
    try:
        return await _airflow(settings, airflow)
    finally:
        await airflow.close()


async def _airflow(settings: Settings, airflow: ChosenAirflow) -> list[Check]:
    url = settings.airflow_url
    try:
        checks = [_parts(url, await airflow.parts())]
    except AirflowUnavailable as error:
        mend = f"start it, or set {variable('airflow_url')} to the address of an Airflow, without /api"
        return [Check("airflow", "problem", f"{url}: {error}", mend)]
    try:
        check_log_in(settings)
    except ConfigError as error:
        return [*checks, Check("airflow login", "problem", "no user is configured", str(error))]
    who = settings.airflow_username or ("the token" if settings.airflow_token else "who sends these headers")
    try:
        version = await airflow.health()
    except AirflowUnavailable as error:
        names = ("airflow_username", "airflow_password", "airflow_token", "airflow_headers")
        mend = f"check {', '.join(variable(name) for name in names if getattr(settings, name))}, and the user's role"
        return [*checks, Check("airflow login", "problem", f"{who} is not let in: {error}", mend)]
    return [*checks, Check("airflow login", "ok", f"{who} is let in by Airflow {version}")]


Asked = Callable[[Settings], Awaitable[list[Check]]]

CHECKS: tuple[tuple[str, Asked, str], ...] = (
    ("kafka", kafka_check, "bootstrap_servers"),
    ("registry", registry_check, "schema_registry_url"),
    ("airflow", airflow_check, "airflow_url"),
    ("workers", workers_check, "bootstrap_servers"),
    ("worker", worker_check, "worker_url"),
)
"""Name, check, and the setting that tells where the part is."""


async def run(name: str, ask: Asked, where: str, settings: Settings) -> list[Check]:
    """One check; a part that does not answer, or makes no sense, is a problem and not an error."""
    try:
        return await ask(settings)
    except (Unavailable, KafkaError) as error:
        return [Check(name, "problem", str(error), "")]
    except httpx.HTTPError as error:
        what = f"{getattr(settings, where)} does not answer ({reason_of(error)})"
        return [Check(name, "problem", what, f"start it, or set {variable(where)}")]
    except (ValueError, TypeError, KeyError) as error:  # somebody else's answer
        what = f"{getattr(settings, where)} gives an answer that makes no sense ({type(error).__name__}: {error})"
        return [Check(name, "problem", what, f"check {variable(where)}")]


def _parts(url: str, parts: dict[str, str]) -> Check:
    sick = [name for name, status in parts.items() if status != "healthy"]
    if sick:
        return Check("airflow", "problem", f"{url}: {', '.join(sick)} not healthy", "look at Airflow's own logs")
    return Check("airflow", "ok", f"{url} is healthy: {', '.join(parts)}")


def _http() -> httpx.AsyncClient:
    return httpx.AsyncClient(timeout=HTTP_SECONDS)


def _short(answer: httpx.Response) -> str:
    return f"{answer.status_code} {' '.join(answer.text.split())[:200]}".strip()
