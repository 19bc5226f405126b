"""The topics on a real broker, one that creates what it is asked for by mistake."""

import asyncio
import time
from collections.abc import Iterator
from datetime import timedelta

import pytest
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource
from confluent_kafka.admin import NewTopic as Topic

from streamapp.core.errors import ConfigError, Unavailable
from streamapp.kafka.topics import check, create, describe, expected
from streamapp.settings import Settings
from tests.support.stack import Kafka


@pytest.fixture(scope="module")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kafka]:
    with Kafka(tmp_path_factory.mktemp("kafka"), {"auto.create.topics.enable": "true"}) as kafka:
        yield kafka


@pytest.fixture
def settings(kafka: Kafka, request: pytest.FixtureRequest) -> Settings:
    name = request.node.name.removeprefix("test_")
    return Settings(bootstrap_servers=kafka.bootstrap_servers, commands_topic=name, app_id=name, partitions=3)


def make(kafka: Kafka, name: str, partitions: int, **configs: str) -> None:
    admin = AdminClient(kafka.client)
    topic = Topic(name, partitions, 1, config={key.replace("_", "."): value for key, value in configs.items()})
    for future in admin.create_topics([topic]).values():
        future.result()
    deadline = time.monotonic() + 20
    while name not in admin.list_topics().topics:
        assert time.monotonic() < deadline


async def test_what_is_created_fits(settings: Settings) -> None:
    assert len(await check(settings)) == 5
    assert await create(settings) == [topic.name for topic in expected(settings)]
    assert await check(settings) == []
    found = await describe(settings)
    assert {topic.partitions for topic in found.values()} == {3}
    assert found["changelog"].configs["cleanup.policy"] == "compact"
    assert found["dead letters"].max_bytes > found["commands"].max_bytes


async def test_creating_twice_changes_nothing(settings: Settings) -> None:
    await create(settings)
    before = await describe(settings)
    assert await create(settings) == []
    assert await describe(settings) == before


async def test_outcomes_are_kept_as_long_as_is_said(settings: Settings) -> None:
    await create(settings.model_copy(update={"results_retention": timedelta(days=90)}))
    found = await describe(settings)
    assert found["results"].kept == timedelta(days=90)
    assert found["commands"].kept == timedelta(days=7)
    assert found["changelog"].kept is None


async def test_looking_creates_nothing(settings: Settings, kafka: Kafka) -> None:
    await check(settings)
    await describe(settings)
    assert not set(AdminClient(kafka.client).list_topics().topics) & {topic.name for topic in expected(settings)}


async def test_partitions_follow_the_commands_topic(settings: Settings, kafka: Kafka) -> None:
    make(kafka, settings.commands_topic, 5)
    await create(settings)
    assert {topic.partitions for topic in (await describe(settings)).values()} == {5}
    assert await check(settings) == []


async def test_dead_letters_hold_what_a_large_commands_topic_takes(settings: Settings, kafka: Kafka) -> None:
    make(kafka, settings.commands_topic, 1, max_message_bytes="3000000")
    await create(settings)
    assert (await describe(settings))["dead letters"].max_bytes == 3_065_536
    assert await check(settings) == []


async def test_another_number_of_partitions_is_refused(settings: Settings) -> None:
    await create(settings)
    with pytest.raises(ConfigError, match=r"exists with 3 partitions, not 4; leave --partitions out"):
        await create(settings, partitions=4)
    assert {topic.partitions for topic in (await describe(settings)).values()} == {3}


async def test_different_partitions_are_refused_and_found(settings: Settings, kafka: Kafka) -> None:
    make(kafka, settings.commands_topic, 3)
    make(kafka, settings.results_topic, 4)
    with pytest.raises(ConfigError, match=r"has 4 partitions, while different_.* has 3"):
        await create(settings)
    assert "has 4 partitions, while" in " ".join(map(str, await check(settings)))
    assert set(await describe(settings)) == {"commands", "results"}


async def test_a_configuration_changed_later_is_found(settings: Settings, kafka: Kafka) -> None:
    await create(settings)
    wrong = {"cleanup.policy": "compact", "max.message.bytes": "1000"}
    entries = [ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET) for name, value in wrong.items()]
    resource = ConfigResource("topic", settings.results_topic, incremental_configs=entries)
    admin = AdminClient(kafka.client)
    for future in admin.incremental_alter_configs([resource]).values():
        future.result()
    deadline = time.monotonic() + 20
    while not await check(settings):
        assert time.monotonic() < deadline
    assert [problem.what for problem in await check(settings)] == [
        "has cleanup.policy=compact, which loses records",
        "takes records of 1000 bytes only",
    ]


async def test_two_that_create_at_once_agree_or_one_of_them_says_so(settings: Settings) -> None:
    few, many = await asyncio.gather(
        create(settings, partitions=2), create(settings, partitions=6), return_exceptions=True
    )
    counts = {topic.partitions for topic in (await describe(settings)).values()}
    assert isinstance(few, ConfigError) or isinstance(many, ConfigError)
    assert counts <= {2, 6}


async def test_more_copies_than_brokers_are_refused(settings: Settings) -> None:
    many = settings.model_copy(update={"replication_factor": 3})
    with pytest.raises(ConfigError, match=r": Kafka does not create it: .*replicat"):
        await create(many)


async def test_a_broker_that_is_away() -> None:
    away = Settings(bootstrap_servers="127.0.0.1:1")
    with pytest.raises(Unavailable, match=r"^Kafka at 127.0.0.1:1 does not answer \(.*refused|Connect call failed"):
        await check(away)
