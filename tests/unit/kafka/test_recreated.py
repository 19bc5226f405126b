"""Whether a topic still is the one that was read, and what to do where it is not."""

from typing import NamedTuple

import pytest
from faust.types import TP

from streamapp.kafka.recreated import went_back
from tests.support.fake_client import FakeClient, originals

COMMANDS, RESULTS, CONTROL, TABLE = (TP(name, 0) for name in ("commands", "results", "control", "changelog"))
ALL = (COMMANDS, RESULTS, CONTROL, TABLE)


class Committed(NamedTuple):
    """What Kafka's client takes for an offset."""

    offset: int
    metadata: str = ""


@pytest.fixture
def client():
    return FakeClient({tp: range(9) for tp in ALL})


@pytest.fixture
def topics():
    return originals()


async def test_topics_that_stay_the_same_are_no_reason_to_leave(topics, client):
    assert [await topics.look(client) for _ in range(2)] == [None, None]
    assert not topics.doubtful


@pytest.mark.parametrize(
    ("topic", "advice"),
    [
        ("commands", "Use a new app id"),
        ("results", "--topic results --reset-offsets --to-earliest"),
        ("control", "--topic control --reset-offsets --to-earliest"),
        ("changelog", "delete their data directories"),
    ],
)
async def test_a_topic_with_another_id_was_created_again(topics, client, topic, advice):
    await topics.look(client)
    client.ids[topic] = "another"
    told = str(await topics.look(client))
    assert f"{topic} has the id another, and had id-of-{topic} before: the topic was deleted and created again" in told
    assert advice in told


async def test_what_is_not_told_now_counts_as_unchanged_and_stays_in_doubt(topics, client):
    """A broker that is away, or a topic that is not there just now, is seen to elsewhere."""
    await topics.look(client)
    ids, client.ids = client.ids, {}
    assert await topics.look(client) is None
    assert topics.doubtful
    client.ids = {**ids, "results": "another"}
    del client.ids["commands"]
    assert "results has the id another" in str(await topics.look(client))


async def test_a_topic_that_is_missing_keeps_the_doubt(topics, client):
    del client.ids["control"]
    await topics.look(client)
    assert topics.doubtful


async def test_more_partitions_than_the_client_knows_have_it_look_itself(topics, client):
    """It would after five minutes."""
    await topics.look(client)
    assert client.refreshed == 0
    client.partitions["commands"] = 2
    await topics.look(client)
    assert client.refreshed == 1


async def test_a_client_that_is_refused_or_cut_off_raises_a_doubt(topics, client):
    topics.bind(client)
    await topics.look(client)
    assert not topics.doubtful
    client.force_metadata_update()
    assert topics.doubtful
    assert client.refreshed == 1


async def test_ids_are_committed_with_the_offsets(topics, client):
    topics.bind(client)
    await client.commit({COMMANDS: Committed(3)})
    assert client.marks == {COMMANDS: ""}, "none is known yet"
    await topics.look(client)
    await client.commit({COMMANDS: Committed(4), RESULTS: Committed(5)})
    assert client.committed == {COMMANDS: 4, RESULTS: 5}
    assert client.marks == {COMMANDS: "topic-ids id-of-commands id-of-changelog", RESULTS: "topic-ids id-of-results"}


@pytest.mark.parametrize(
    ("topic", "mark", "other"),
    [
        ("commands", "topic-ids id-of-commands id-of-changelog", None),
        ("commands", "topic-ids old id-of-changelog", "commands"),
        ("commands", "topic-ids id-of-commands old", "changelog"),
        ("results", "topic-ids id-of-results", None),
        ("results", "topic-ids old", "results"),
        ("results", "", None),
        ("results", "\0", None),
        ("results", "old", None),
    ],
)
async def test_a_commit_for_another_topic_is_not_believed(topics, client, topic, mark, other):
    """One by other hands is, whatever they have put there; release 0.1.0 put nothing."""
    await topics.look(client)
    error = topics.belied(topic, mark)
    assert (error is None) == (other is None)
    if other:
        assert f"{other} has the id id-of-{other}, and had old at the last commit" in str(error)


async def test_while_no_id_is_known_every_commit_is_believed(topics):
    assert topics.belied("results", "topic-ids old") is None


@pytest.mark.parametrize("topic", ["commands", "results", "changelog"])
async def test_a_topic_that_has_become_shorter_has_lost_records(topics, client, topic):
    await topics.look(client)
    told = str(await topics.shrunk(client, topic, "it ends at 5", sure=True))
    assert told.startswith("it ends at 5: a broker has lost records that it had acknowledged")
    assert ("Use a new commands topic" in told) == (topic == "commands")


async def test_where_nobody_knows_which_topic_was_read_both_are_named(topics, client):
    client.ids = {}
    for sure in (True, False):
        told = str(await topics.shrunk(client, "commands", "it ends at 5", sure=sure))
        assert "it ends at 5: the topic was deleted and created again, or a broker has lost" in told


async def test_a_shorter_topic_with_another_id_was_created_again(topics, client):
    await topics.look(client)
    client.ids["commands"] = "another"
    told = str(await topics.shrunk(client, "commands", "it ends at 5", sure=True))
    assert "has the id another" in told


def test_what_was_read_again_without_a_reason_is_told():
    assert "commands partition 0 was read up to 9, and then from 2 again" in str(went_back(COMMANDS, 2, 9))
