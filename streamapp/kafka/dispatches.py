"""The one table, `dispatches`: its options, and the topics around it as raw bytes. Reads and writes nothing itself."""

import socket
from typing import Any

import faust
from faust.auth import SASLCredentials, SSLCredentials

from streamapp.clock import Clock
from streamapp.kafka import topics
from streamapp.kafka.gaps import Gaps
from streamapp.kafka.intake import Intake
from streamapp.kafka.lease import Lease
from streamapp.kafka.recreated import Originals
from streamapp.kafka.restore import OrderedTables
from streamapp.kafka.store import BLOCK_CACHE_BYTES, WRITE_BUFFER_BYTES, Rows
from streamapp.kafka.transport import DurableApp
from streamapp.kafka.versions import check_versions
from streamapp.settings import Settings

MAX_POLL_RECORDS = 500
"""Records of one fetch, all partitions together."""
COMMIT_EVERY_SECONDS = 1.0
"""What was done since is done again, without an effect, after a crash."""
LINGER_SECONDS = 0.002
"""Records of so long go to the broker together: a third less work for it, a fifth less here."""
STREAM_BUFFER = 10 * MAX_POLL_RECORDS
"""Records that a stream holds; its topic is stopped at 80 %, and the last fifth has room for what was on the way."""
REJOIN_SECONDS = 60.0
"""For all members to join again, or three sessions. Kafka takes the partitions of who is later, whatever its lease
says: after the news comes the drain, and a worker that is frozen then has the rest of its lease."""
ANSWER_SECONDS = 30.0
"""For an answer by Kafka, on top of that: it answers a member once all have joined."""
TEN_YEARS_SECONDS = 10 * 365 * 86400
"""A worker that has no partitions, or none that is not held, does not poll; that must not make it leave its group."""
EVERY_ADDRESS = {"0.0.0.0", "::"}  # noqa: S104 - compared with, never bound to
"""Bound to these, a worker is asked by the others under its host's name."""
TABLE_OPTIONS = {"block_cache_size": BLOCK_CACHE_BYTES, "write_buffer_size": WRITE_BUFFER_BYTES}
RAW = {"key_type": bytes, "value_type": bytes, "key_serializer": "raw", "value_serializer": "raw"}


def new_app(settings: Settings, clock: Clock, **overrides: Any) -> DurableApp:
    """The Faust app with every setting that its promises rest on."""
    check_versions()
    arguments = topics.client_arguments(settings)
    session = settings.session_timeout.total_seconds()
    rejoin = max(REJOIN_SECONDS, 3 * session)
    app = DurableApp(
        settings.app_id,
        broker=[f"kafka://{server}" for server in settings.bootstrap_servers.split(",")],
        broker_credentials=_credentials(arguments),
        store="rocksdb://",
        Table=Rows,
        processing_guarantee="at_least_once",
        topic_allow_declare=False,
        topic_disable_leader=True,
        table_standby_replicas=settings.standby_replicas,
        TableManager=OrderedTables,
        consumer_auto_offset_reset="earliest",
        broker_commit_interval=COMMIT_EVERY_SECONDS,
        broker_max_poll_records=MAX_POLL_RECORDS,
        broker_max_poll_interval=TEN_YEARS_SECONDS,
        broker_request_timeout=rejoin + ANSWER_SECONDS,
        broker_rebalance_timeout=rejoin,
        broker_session_timeout=session,
        broker_heartbeat_interval=settings.heartbeat_interval.total_seconds(),
        producer_linger=LINGER_SECONDS,
        stream_buffer_maxsize=STREAM_BUFFER,
        stream_recovery_delay=0.0,
        stream_wait_empty=False,
        web_bind=settings.web_bind,
        web_host=socket.gethostname() if settings.web_bind in EVERY_ADDRESS else settings.web_bind,
        web_tables_enabled=False,
        web_router_enabled=False,
        worker_redirect_stdouts=False,
        **overrides,
    )
    app.clock = clock
    app.commands_topic = settings.commands_topic
    app.written_topics = tuple(topic.name for topic in topics.expected(settings) if topic.role != "commands")
    app.gaps, app.restoring, app.intake = Gaps(), Gaps(), Intake()
    app.originals = Originals(
        clock,
        commands=settings.commands_topic,
        results=settings.results_topic,
        control=settings.control_topic,
        changelog=topics.changelog(settings),
        group=settings.app_id,
    )
    app.lease = Lease(clock, settings.session_timeout)
    return app


def new_table(app: DurableApp, settings: Settings) -> Rows:
    """The table, one RocksDB database for each partition."""
    table: Rows = app.Table(
        topics.TABLE,
        partitions=settings.partitions,
        key_type=bytes,
        value_type=bytes,
        options=TABLE_OPTIONS,
    )
    table.max_row_bytes = next(topic.least_bytes for topic in topics.expected(settings) if topic.role == "changelog")
    return table


def new_topic(app: DurableApp, name: str) -> faust.TopicT:
    """A topic whose records stay bytes."""
    return app.topic(name, **RAW)


def _credentials(arguments: dict[str, Any]) -> faust.types.auth.CredentialsT | None:
    context = arguments.get("ssl_context")
    if "sasl_mechanism" in arguments:
        return SASLCredentials(
            username=arguments["sasl_plain_username"],
            password=arguments["sasl_plain_password"],
            mechanism=arguments["sasl_mechanism"],
            ssl_context=context,
        )
    return SSLCredentials(context) if context is not None else None
