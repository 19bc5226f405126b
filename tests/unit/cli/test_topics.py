from streamapp.cli.topics import _row
from streamapp.kafka.topics import Found


def test_what_is_shown_of_a_topic_has_units() -> None:
    configs = {"cleanup.policy": "delete", "retention.ms": "604800000", "max.message.bytes": "1048588"}
    found = Found(role="commands", name="orders", partitions=12, replication=3, configs=configs)
    assert _row(found) == ("orders", "commands", 12, 3, "delete", "7d", "1048588 bytes")
