from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamapp.core.errors import ConfigError
from streamapp.settings import Settings, load_settings, read_settings, variable

KAFKA_SERVER_CONFIG = """\
# A Confluent Cloud cluster

bootstrap.servers=pkc-1.example.com:9092
security.protocol=SASL_SSL
sasl.mechanisms=PLAIN
sasl.username=KEY
sasl.password=se=cr=et
schema.registry.url=https://psrc-1.example.com
basic.auth.credentials.source=USER_INFO
basic.auth.user.info=RKEY:RSECRET
"""


@pytest.fixture(autouse=True)
def _in_an_empty_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def refused(environ: dict[str, str]) -> str:
    with pytest.raises(ConfigError) as error:
        load_settings(environ)
    text = str(error.value)
    assert "\n" not in text
    return text


def test_the_defaults() -> None:
    settings = load_settings({})
    assert settings.bootstrap_servers == "127.0.0.1:9092"
    assert settings.app_id == "streamapp"
    assert settings.commands_topic == "commands"
    assert settings.results_topic == "commands-results"
    assert settings.control_topic == "commands-control"
    assert settings.dead_letters_topic == "commands-dead-letters"
    assert settings.max_command_bytes == 262144
    assert settings.airflow_url == "http://127.0.0.1:8080"
    assert settings.poll_interval == timedelta(seconds=0.05)
    assert settings.web_bind == "127.0.0.1"


def test_every_field_has_a_description() -> None:
    assert [name for name, field in Settings.model_fields.items() if not field.description] == []


def test_topics_derive_from_the_commands_topic_and_can_be_set_alone() -> None:
    settings = load_settings({"STREAMAPP_COMMANDS_TOPIC": "orders", "STREAMAPP_CONTROL_TOPIC": "steer"})
    assert settings.results_topic == "orders-results"
    assert settings.dead_letters_topic == "orders-dead-letters"
    assert settings.control_topic == "steer"


def test_the_properties_file_of_a_confluent_client() -> None:
    Path("kafka_server.config").write_text(KAFKA_SERVER_CONFIG)
    settings = load_settings({"STREAMAPP_CONFIG_FILE": "kafka_server.config"})
    assert settings.bootstrap_servers == "pkc-1.example.com:9092"
    assert settings.security_protocol == "SASL_SSL"
    assert settings.sasl_mechanism == "PLAIN"
    assert settings.sasl_username == "KEY"
    assert settings.sasl_password is not None
    assert settings.sasl_password.get_secret_value() == "se=cr=et"
    assert settings.schema_registry_url == "https://psrc-1.example.com"
    assert settings.schema_registry_user_info is not None
    assert settings.schema_registry_user_info.get_secret_value() == "RKEY:RSECRET"


def test_unknown_properties_are_reported_and_not_fatal(caplog: pytest.LogCaptureFixture) -> None:
    Path("c").write_text("bootstrap.servers = a:1\r\nsession.timeout.ms=45000\n  # indented\nbootstrap.server=b:2\n")
    settings = load_settings({"STREAMAPP_CONFIG_FILE": "c"})
    assert settings.bootstrap_servers == "a:1"
    assert [record.getMessage() for record in caplog.records] == [
        "not used: session.timeout.ms in c:2",
        "not used: bootstrap.server in c:4; did you mean bootstrap.servers?",
    ]


def test_a_properties_file_as_java_reads_it() -> None:
    Path("c").write_text(
        "! Java's other comment\nbootstrap.servers: a:1,b:2\nsecurity.protocol SASL_SSL\nsasl.username \t= me=you\n"
        "sasl.password:se:cr=et==\nbasic.auth.user.info KEY:SECRET=\nbasic.auth.credentials.source : USER_INFO\n"
    )
    loaded = read_settings({"STREAMAPP_CONFIG_FILE": "c"})
    settings = loaded.settings
    assert loaded.unknown == ()
    assert settings.bootstrap_servers == "a:1,b:2"
    assert (settings.security_protocol, settings.sasl_username) == ("SASL_SSL", "me=you")
    assert settings.sasl_password is not None
    assert settings.sasl_password.get_secret_value() == "se:cr=et=="
    assert settings.schema_registry_user_info is not None
    assert settings.schema_registry_user_info.get_secret_value() == "KEY:SECRET="
    assert loaded.origins["sasl_username"] == "c:4 (sasl.username)"


def test_unknown_variables_are_reported() -> None:
    loaded = read_settings({"STREAMAPP_COMMAND_TOPIC": "x", "HOME": "/"})
    assert loaded.unknown == ("STREAMAPP_COMMAND_TOPIC in the environment; did you mean STREAMAPP_COMMANDS_TOPIC?",)


def test_environment_over_toml_over_properties_over_defaults() -> None:
    Path("c").write_text("bootstrap.servers=properties:1\nsecurity.protocol=SSL\nsasl.mechanism=SCRAM-SHA-512\n")
    Path("t").write_text(
        '[streamapp]\nconfig_file = "c"\nbootstrap_servers = "toml:1"\nsecurity_protocol = "PLAINTEXT"\n'
    )
    loaded = read_settings({"STREAMAPP_ROUTES_FILE": "t", "STREAMAPP_BOOTSTRAP_SERVERS": "environment:1"})
    assert loaded.settings.bootstrap_servers == "environment:1"
    assert loaded.settings.security_protocol == "PLAINTEXT"
    assert loaded.settings.sasl_mechanism == "SCRAM-SHA-512"
    assert loaded.origins == {
        "routes_file": "STREAMAPP_ROUTES_FILE",
        "config_file": "t:2 (config_file)",
        "bootstrap_servers": "STREAMAPP_BOOTSTRAP_SERVERS",
        "security_protocol": "t:4 (security_protocol)",
        "sasl_mechanism": "c:3 (sasl.mechanism)",
    }


def test_a_file_named_on_the_command_line_wins() -> None:
    Path("c").write_text("bootstrap.servers=named:1\n")
    environ = {"STREAMAPP_BOOTSTRAP_SERVERS": "environment:1", "STREAMAPP_CONFIG_FILE": "nowhere"}
    settings = load_settings(environ, config_file=Path("c"))
    assert settings.bootstrap_servers == "named:1"
    assert settings.config_file == Path("c")


def test_a_streamapp_toml_in_the_working_directory_is_read() -> None:
    Path("streamapp.toml").write_text('[streamapp]\napp_id = "orders"\nready_limit = 5\npoll_interval = "2s"\n')
    settings = load_settings({})
    assert (settings.app_id, settings.ready_limit) == ("orders", 5)
    assert settings.poll_interval == timedelta(seconds=2)
    assert settings.routes_file == Path("streamapp.toml")
    assert read_settings({}).origins["routes_file"] == "the working directory"


def test_routes_beside_the_settings_are_left_to_others() -> None:
    Path("streamapp.toml").write_text('[[route]]\ncommand = "app.*"\napp_id = 1\n[streamapp]\napp_id = "orders"\n')
    assert load_settings({}).app_id == "orders"


def test_without_a_toml_file_none_is_named() -> None:
    assert load_settings({}).routes_file is None


def test_empty_variables_count_as_not_set() -> None:
    assert load_settings({"STREAMAPP_BOOTSTRAP_SERVERS": " "}).bootstrap_servers == "127.0.0.1:9092"


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("30s", 30), ("5m", 300), ("500ms", 0.5), ("2h", 7200), ("1d", 86400), ("1.5s", 1.5), ("30", 30), ("PT1M", 60)],
)
def test_durations(text: str, seconds: float) -> None:
    assert load_settings({"STREAMAPP_RECONCILE_INTERVAL": text}).reconcile_interval == timedelta(seconds=seconds)


def test_a_retention_beyond_all_dates_stops_the_start() -> None:
    """It would end whatever forgets, and the worker with it, again and again."""
    with pytest.raises(ConfigError, match="STREAMAPP_RETENTION='1000000d': must be 365000d at most"):
        load_settings({"STREAMAPP_RETENTION": "1000000d"})
    longest = load_settings({"STREAMAPP_RETENTION": "365000d"}).retention
    assert datetime.now(UTC) - longest < datetime.now(UTC) + longest


@pytest.mark.parametrize("text", ["soon", "0", "-5s", "5 parsecs", "99999999999d", "1e3s"])
def test_what_is_no_duration(text: str) -> None:
    assert refused({"STREAMAPP_RECONCILE_INTERVAL": text}).startswith(f"STREAMAPP_RECONCILE_INTERVAL={text!r}: ")


@pytest.mark.parametrize(
    ("name", "value", "mend"),
    [
        ("BOOTSTRAP_SERVERS", "localhost", "must be host:port"),
        ("WEB_HOSTS", ",", "must be the name of a host"),
        ("WEB_HOSTS", "console.example.com:6066", "without a port"),
        ("WEB_HOSTS", "http://console.example.com", "without a port"),
        ("WEB_HOSTS", "console.example.com, *.example.com", "or *"),
        ("BOOTSTRAP_SERVERS", "kafka://a:1", "must be host:port"),
        ("BOOTSTRAP_SERVERS", ",", "must name at least one host:port"),
        ("HINT_LISTEN", "0.0.0.0:6065,[::]:6065", "must be one host:port"),
        ("HINT_LISTEN", "6065", "must be host:port"),
        ("HINT_LISTEN", "localhost:0", "must be host:port"),
        ("SECURITY_PROTOCOL", "TLS", "must be 'PLAINTEXT', 'SSL', 'SASL_PLAINTEXT' or 'SASL_SSL'"),
        ("SASL_MECHANISM", "GSSAPI", "must be 'PLAIN', 'SCRAM-SHA-256' or 'SCRAM-SHA-512'"),
        ("SSL_CA_LOCATION", "nowhere.pem", "must name a file that exists"),
        ("SCHEMA_REGISTRY_URL", "registry:8081", "must be one address such as"),
        ("AIRFLOW_URL", "http://host:99999", "must be one address such as"),
        ("AIRFLOW_URL", "http://a,http://b", "must be one address such as"),
        ("APP_ID", "my app", "characters A-Z a-z 0-9 . _ -"),
        ("APP_ID", "a" * 229, "1 to 228"),
        ("COMMANDS_TOPIC", "..", "1 to 236"),
        ("RESULTS_TOPIC", "a/b", "1 to 249"),
        ("PARTITIONS", "four", "must be a whole number"),
        ("PARTITIONS", "0", "must be greater than or equal to 1"),
        ("MAX_COMMAND_BYTES", "1.5", "must be a whole number"),
    ],
)
def test_a_wrong_value_is_one_line_that_names_it_and_how_to_mend_it(name: str, value: str, mend: str) -> None:
    text = refused({f"STREAMAPP_{name}": value})
    assert text.startswith(f"STREAMAPP_{name}={value[:80]!r}: ")
    assert mend in text
    assert "more)" not in text


@pytest.mark.parametrize(
    ("environ", "text"),
    [
        ({"AIRFLOW_USERNAME": "a"}, "STREAMAPP_AIRFLOW_USERNAME and STREAMAPP_AIRFLOW_PASSWORD must be set together"),
        (
            {"SECURITY_PROTOCOL": "SASL_SSL"},
            "STREAMAPP_SECURITY_PROTOCOL=SASL_SSL needs STREAMAPP_SASL_USERNAME and STREAMAPP_SASL_PASSWORD",
        ),
        ({"RESULTS_TOPIC": "commands"}, "STREAMAPP_*_TOPIC: the four topics must have different names"),
        (
            {"HEARTBEAT_INTERVAL": "4s"},
            "STREAMAPP_HEARTBEAT_INTERVAL must be at most a third of STREAMAPP_SESSION_TIMEOUT",
        ),
        (
            {"AIRFLOW_USERNAME": "a", "AIRFLOW_PASSWORD": "b", "AIRFLOW_TOKEN": "c"},
            "STREAMAPP_AIRFLOW_TOKEN and STREAMAPP_AIRFLOW_USERNAME exclude each other",
        ),
        (
            {"AIRFLOW_TOKEN": "c", "AIRFLOW_HEADERS": '{"authorization": "d"}'},
            "STREAMAPP_AIRFLOW_HEADERS must not have Authorization beside another log-in",
        ),
        ({"MIN_INSYNC_REPLICAS": "2"}, "STREAMAPP_MIN_INSYNC_REPLICAS must be at most STREAMAPP_REPLICATION_FACTOR"),
    ],
)
def test_values_that_do_not_go_together(environ: dict[str, str], text: str) -> None:
    assert refused({f"STREAMAPP_{name}": value for name, value in environ.items()}) == text


def test_several_wrong_values_are_counted() -> None:
    assert refused({"STREAMAPP_PARTITIONS": "x", "STREAMAPP_READY_LIMIT": "y"}).endswith("whole number (and 1 more)")


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("a=1\njust words and hunter2\n", "c:2: must be name=value, a # comment, or blank"),
        ("=hunter2\n", "c:1: must be name=value, a # comment, or blank"),
        ("sasl.pasword: hunter2==\n", "c:1: must be name=value, a # comment, or blank"),
        ("sasl.jaas.config x required password='hunter2';\n", "c:1: must be name=value, a # comment, or blank"),
        ("hunter2/hunter2+==\n", "c:1: must be name=value, a # comment, or blank"),
        ("security.protocol: TLS@hunter2\n", "c:1 (security.protocol): must be"),
        ("sasl.mechanisms=hunter\n", "c:1 (sasl.mechanisms)='hunter': must be"),
        ("basic.auth.credentials.source=URL\n", "c:1 (basic.auth.credentials.source): must be USER_INFO"),
        ("basic.auth.user.info=hunter2\n", "c:1 (basic.auth.user.info): must be <user"),
    ],
)
def test_errors_in_the_properties_file_name_its_line(content: str, text: str) -> None:
    Path("c").write_text(content)
    message = refused({"STREAMAPP_CONFIG_FILE": "c"})
    assert message.startswith(text)
    assert "hunter2" not in message


def test_a_properties_file_that_is_not_there_or_not_text() -> None:
    Path("binary").write_bytes(b"\xff\xfe\x00")
    assert "nowhere: can't be read" in refused({"STREAMAPP_CONFIG_FILE": "nowhere"})
    assert "binary: can't be read (not UTF-8 text)" in refused({"STREAMAPP_CONFIG_FILE": "binary"})


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("[streamapp\n", "t:1: not TOML: Expected ']' at the end of a table declaration, column 11"),
        ("# x\n[streamapp]\nap_id = 'x'\n", "t:3: 'ap_id' is not a setting; did you mean app_id?"),
        (
            "app_id = 'x'\n",
            "t:1: 'app_id' is not known: settings belong in a table [streamapp], routes in tables [[route]]",
        ),
        ("[streamapp]\npartitions = 'x'\n", "t:2 (partitions)='x': must be a whole number"),
        ("[streamapp]\nconfig_file = 7\n", "7: can't be read"),
        ("streamapp = 1\n", "t:1: settings belong in a table [streamapp]"),
        ("[[routes]]\ncommand = 'app.*'\n", "t:1: 'routes' is not known: settings belong in a table [streamapp]"),
    ],
)
def test_errors_in_the_toml_file_name_its_line(content: str, text: str) -> None:
    Path("t").write_text(content)
    assert refused({"STREAMAPP_ROUTES_FILE": "t"}).startswith(text)


def test_a_toml_file_that_is_named_must_exist() -> None:
    assert "nowhere.toml: can't be read" in refused({"STREAMAPP_ROUTES_FILE": "nowhere.toml"})


SECRETS = ["STREAMAPP_SASL_PASSWORD", "STREAMAPP_AIRFLOW_PASSWORD", "STREAMAPP_SCHEMA_REGISTRY_USER_INFO"]
SECRETS_ALONE = ["STREAMAPP_AIRFLOW_TOKEN", "STREAMAPP_AIRFLOW_HEADERS"]


@pytest.mark.parametrize("name", SECRETS + SECRETS_ALONE)
@given(secret=st.text("abcXYZ019:=@/", min_size=3).map(lambda text: f"hunter2{text}"))
def test_secrets_are_in_no_error_and_no_repr(name: str, secret: str) -> None:
    environ = {name: secret}
    if name in SECRETS:
        environ |= {"STREAMAPP_SASL_USERNAME": "me", "STREAMAPP_AIRFLOW_USERNAME": "me"}
        for other in SECRETS:
            environ.setdefault(other, "a:b")
    try:
        shown = repr(read_settings(environ)) + str(load_settings(environ))
    except ConfigError as error:
        shown = f"{error}{error.__cause__}"
    assert "hunter2" not in shown


@pytest.mark.parametrize("name", ["SCHEMA_REGISTRY_URL", "AIRFLOW_URL", "WORKER_URL"])
@pytest.mark.parametrize(
    "address",
    [
        "https://me:hunter2@host.example",
        "https://me:hunter2/3@host.example",
        "https://me:443/hunter2@host.example",
        "https:/me:hunter2@host.example",
        "me:hunter2@host.example",
        "hunter2@",
    ],
)
def test_secrets_in_an_address_are_refused_and_not_shown(name: str, address: str) -> None:
    text = refused({f"STREAMAPP_{name}": address})
    assert "hunter2" not in text
    assert text.startswith(f"STREAMAPP_{name}: must hold no user and password")


def test_secrets_before_a_broker_are_not_shown() -> None:
    text = refused({"STREAMAPP_BOOTSTRAP_SERVERS": "SASL_SSL://me:hunter2/3@broker:9092"})
    assert text.startswith("STREAMAPP_BOOTSTRAP_SERVERS: must be host:port")


def test_settings_built_by_hand_read_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STREAMAPP_APP_ID", "other")
    assert Settings().app_id == "streamapp"


def test_the_name_of_a_variable() -> None:
    assert variable("app_id") == "STREAMAPP_APP_ID"


def test_headers_for_airflow_are_a_json_object_or_a_table() -> None:
    as_json = load_settings({"STREAMAPP_AIRFLOW_HEADERS": '{"X-Api-Key": "hunter2"}'})
    Path("t").write_text("[streamapp.airflow_headers]\nX-Api-Key = 'hunter2'\n")
    as_table = load_settings({"STREAMAPP_ROUTES_FILE": "t"})
    for settings in (as_json, as_table):
        assert settings.airflow_headers["X-Api-Key"].get_secret_value() == "hunter2"
        assert "hunter2" not in repr(settings)


@pytest.mark.parametrize(
    ("value", "mend"),
    [
        ("X-Key: hunter2", "must be a JSON object"),
        ('["hunter2"]', "must be a valid dictionary"),
        ('{"X-Key": {"hunter2": 1}}', "must be"),
        ('{"X Key": "hunter2"}', "must have names of headers"),
        ('{"X-Key": "hunter2\\r\\nX: y"}', "must be one line of ASCII"),
        ('{"X-Key": "hunter2é"}', "must be one line of ASCII"),
        ('{"Host": "hunter2"}', "must not have Host"),
    ],
)
def test_headers_that_cannot_be_sent_are_refused_and_not_shown(value: str, mend: str) -> None:
    text = refused({"STREAMAPP_AIRFLOW_HEADERS": value})
    assert text.startswith("STREAMAPP_AIRFLOW_HEADERS: ")
    assert mend in text
    assert "hunter2" not in text
