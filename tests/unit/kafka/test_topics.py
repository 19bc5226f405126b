import dataclasses
import ssl
from pathlib import Path

import pytest

from streamapp.core.errors import ConfigError
from streamapp.kafka.topics import Found, changelog, client_arguments, expected, find_problems
from streamapp.settings import Settings

SETTINGS = Settings()


def fitting() -> dict[str, Found]:
    return {
        topic.role: Found(
            topic.role,
            topic.name,
            4,
            1,
            {
                "cleanup.policy": topic.cleanup,
                "max.message.bytes": str(max(1048588, topic.least_bytes)),
                "min.insync.replicas": "1",
            },
        )
        for topic in expected(SETTINGS)
    }


def changed(role: str, **configs: str) -> dict[str, Found]:
    found = fitting()
    merged = {**found[role].configs, **{name.replace("_", "."): value for name, value in configs.items()}}
    found[role] = dataclasses.replace(found[role], configs=merged)
    return found


def test_the_names_of_the_topics() -> None:
    settings = Settings(app_id="orders", commands_topic="event_topic")
    assert [topic.name for topic in expected(settings)] == [
        "event_topic",
        "event_topic-results",
        "event_topic-control",
        "orders-dispatches-changelog",
        "event_topic-dead-letters",
    ]
    assert changelog(settings) == "orders-dispatches-changelog"


def test_what_fits_has_no_problems() -> None:
    assert find_problems(SETTINGS, fitting()) == []


def test_missing_topics_are_named() -> None:
    problems = find_problems(SETTINGS, {})
    assert [problem.topic for problem in problems] == [topic.name for topic in expected(SETTINGS)]
    assert {str(problem) for problem in problems if problem.topic == "commands"} == {
        "commands: does not exist; run `streamapp topics --create`"
    }


@pytest.mark.parametrize("role", ["results", "control", "changelog"])
def test_topics_that_belong_together_need_equal_partitions(role: str) -> None:
    found = fitting()
    found[role] = dataclasses.replace(found[role], partitions=3)
    (problem,) = find_problems(SETTINGS, found)
    assert problem.topic == found[role].name
    assert problem.what == "has 3 partitions, while commands has 4"


def test_dead_letters_may_have_any_number_of_partitions() -> None:
    found = fitting()
    found["dead letters"] = dataclasses.replace(found["dead letters"], partitions=1)
    assert find_problems(SETTINGS, found) == []


@pytest.mark.parametrize(
    ("role", "cleanup"),
    [
        ("commands", "compact"),
        ("results", "compact"),
        ("control", "compact,delete"),
        ("dead letters", "compact"),
        ("changelog", "delete"),
        ("changelog", "compact,delete"),
    ],
)
def test_a_cleanup_policy_that_loses_records(role: str, cleanup: str) -> None:
    (problem,) = find_problems(SETTINGS, changed(role, cleanup_policy=cleanup))
    assert problem.what == f"has cleanup.policy={cleanup}, which loses records"


@pytest.mark.parametrize("role", ["commands", "results", "control", "changelog", "dead letters"])
def test_a_topic_that_takes_too_small_records_only(role: str) -> None:
    (problem,) = find_problems(SETTINGS, changed(role, max_message_bytes="65000"))
    assert problem.what == "takes records of 65000 bytes only"
    assert "max.message.bytes=" in problem.mend


def test_dead_letters_must_hold_whatever_the_commands_topic_takes() -> None:
    found = changed("commands", max_message_bytes="5000000")
    (problem,) = find_problems(SETTINGS, found)
    assert problem.topic == "commands-dead-letters"
    assert "max.message.bytes=5065536" in problem.mend


def test_sizes_follow_max_command_bytes() -> None:
    problems = find_problems(Settings(max_command_bytes=2_000_000), fitting())
    assert {problem.topic for problem in problems} == {"commands", "streamapp-dispatches-changelog"}


def test_copies() -> None:
    settings = Settings(replication_factor=3)
    problems = find_problems(settings, fitting())
    assert len(problems) == 5
    assert problems[0].what == "has 1 copies instead of 3"


def test_more_copies_in_sync_wanted_than_there_are() -> None:
    (problem,) = find_problems(SETTINGS, changed("results", min_insync_replicas="2"))
    assert problem.what == "wants 2 copies in sync and has 1"


def test_a_configuration_that_may_not_be_read_is_not_held_against_the_topic() -> None:
    found = fitting()
    found["dead letters"] = dataclasses.replace(found["dead letters"], configs={})
    assert find_problems(SETTINGS, found) == []


def test_client_arguments_without_security() -> None:
    assert client_arguments(Settings(bootstrap_servers="a:1,b:2")) == {
        "bootstrap_servers": "a:1,b:2",
        "security_protocol": "PLAINTEXT",
    }


def test_client_arguments_with_sasl_and_tls() -> None:
    settings = Settings(
        security_protocol="SASL_SSL", sasl_mechanism="SCRAM-SHA-512", sasl_username="me", sasl_password="secret"
    )
    arguments = client_arguments(settings)
    assert arguments["sasl_mechanism"] == "SCRAM-SHA-512"
    assert (arguments["sasl_plain_username"], arguments["sasl_plain_password"]) == ("me", "secret")
    assert arguments["ssl_context"].verify_mode is ssl.CERT_REQUIRED
    assert arguments["ssl_context"].check_hostname


def test_certificates_that_are_none(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("not a certificate")
    settings = Settings(security_protocol="SSL", ssl_ca_location=tmp_path / "ca.pem")
    with pytest.raises(ConfigError, match=r"^STREAMAPP_SSL_CA_LOCATION='.*ca.pem': must be a file of PEM certificates"):
        client_arguments(settings)
