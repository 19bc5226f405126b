"""Where the rooms meet: builds the Faust app out of its parts. Reads the settings; starts nothing."""

import asyncio
import faulthandler
import logging
import sys
from collections.abc import Callable

from streamapp import processor
from streamapp.agents import (
    control,
    follower,
    lending,
    lookout,
    pruner,
    rebalance,
    reloader,
    sequencer,
    settle,
    sink,
    vitals,
)
from streamapp.agents.parts import Parts
from streamapp.airflow.breaker import Breaker
from streamapp.airflow.connect import check_log_in, connect
from streamapp.airflow.guard import Guard
from streamapp.airflow.limit import Limit
from streamapp.airflow.port import AirflowPort
from streamapp.clock import Clock, SystemClock
from streamapp.console import pages, tables
from streamapp.core.effects import Scope
from streamapp.core.errors import ConfigError
from streamapp.core.model import Entry
from streamapp.dispatch.dags import Dags
from streamapp.dispatch.fold import Folds
from streamapp.dispatch.follow import Follower
from streamapp.dispatch.gate import Gate
from streamapp.dispatch.partitions import Partitions
from streamapp.dispatch.prune import Pruner
from streamapp.dispatch.ready import Ready
from streamapp.dispatch.reconcile import Reconciler
from streamapp.dispatch.sends import Sends
from streamapp.dispatch.trigger import Trigger
from streamapp.kafka import exits, topics
from streamapp.kafka.channel import PullChannel
from streamapp.kafka.dispatches import new_app, new_table, new_topic
from streamapp.kafka.outlet import TopicOutlet
from streamapp.kafka.store import Rows
from streamapp.kafka.transport import DurableApp
from streamapp.observe import logs
from streamapp.observe.figures import Following
from streamapp.observe.outcomes import OutcomeWatch
from streamapp.routes import Routes
from streamapp.settings import Settings, load_settings
from streamapp.wire import rows
from streamapp.wire.codec import CommandDecoder
from streamapp.wire.outcomes import OutcomeCodec
from streamapp.wire.patience import patiently
from streamapp.wire.registry import Registry

log = logging.getLogger(__name__)

FOLDS_LIMIT = 2000
"""Folds under way above which commands are held: each waits for two acknowledgements by Kafka."""
INTAKE_BYTES = 8 * 2**20
"""Of commands in hand, above which they are held: each is in memory several times, in several forms."""


class Tracker:
    """The index in memory: what may run, and what runs."""

    def __init__(self, ready: Ready, runs: Follower, trigger: Trigger) -> None:
        self._ready = ready
        self._follower = runs
        self._trigger = trigger

    def track(self, entry: Entry) -> None:
        """Note how an entry now stands."""
        self._ready.track(entry)
        self._follower.track(entry)
        if not (entry.dispatchable or entry.settling):
            self._trigger.forget(entry.source)

    def inherit(self, entry: Entry) -> None:
        """Take over an entry that the table shows: another worker may have been at it."""
        self._trigger.inherit(entry)
        self.track(entry)

    def steer(self, partition: int, scope: Scope, *, stopped: bool) -> None:
        """Stop a key or a DAG, or let it go on."""
        self._ready.steer(partition, scope, stopped=stopped)

    def drop(self, partitions: frozenset[int]) -> None:
        """Forget all entries of these partitions."""
        self._ready.drop(partitions)
        self._follower.drop(partitions)
        self._trigger.drop(partitions)


def worker_app() -> DurableApp:
    """The app of `faust -A streamapp worker`, from the settings of this process; exits 2 when one does not fit."""
    try:
        settings = load_settings()
        clock = SystemClock()
        faulthandler.enable(vitals.STDERR)
        processor.spare()
        check_log_in(settings)
        return create_app(settings, connect(settings, clock), clock)
    except ConfigError as error:
        sys.stderr.write(f"streamapp: {error}\n")
        raise SystemExit(exits.CONFIG) from None


def create_app(settings: Settings, airflow: AirflowPort, clock: Clock) -> DurableApp:
    """One worker, ready to be started.

    Args:
        settings: Of this installation.
        airflow: The port to Airflow.
        clock: The only source of time.

    Raises:
        ConfigError: a setting does not fit.
    """
    app = new_app(settings, clock, logging_config=logs.CONFIG)
    commands = new_topic(app, settings.commands_topic)
    results = new_topic(app, settings.results_topic)
    instructions = new_topic(app, settings.control_topic)
    registry = _new_registry(settings, clock)
    outcomes = OutcomeCodec(registry, settings.results_topic)
    outlet = TopicOutlet(app, settings, outcomes)
    watch = OutcomeWatch(outlet)
    table = new_table(app, settings)
    parts = _new_parts(
        app=app,
        table=table,
        settings=settings,
        airflow=airflow,
        clock=clock,
        registry=registry,
        outcomes=outcomes,
        outlet=outlet,
        watch=watch,
    )
    dispatches = PullChannel(app, available=lambda: sink.available(parts), take=lambda: sink.take(parts))
    parts.wake = dispatches.wake
    permits = lending.Lending(
        parts.limit,
        settings,
        clock,
        lender=lambda: lending.lender_of(app),
    )
    parts.share = permits.share

    sequencer.register(app, commands, parts)
    settle.register(app, results, parts)
    control.register(app, instructions, parts)
    sink.register(app, dispatches, parts, concurrency=settings.airflow_max_in_flight)
    secret = settings.hint_secret
    hints = follower.Hints(parts, settings.hint_listen, secret.get_secret_value() if secret else None)
    follower.register(app, parts, hints)
    reloader.register(app, parts)
    lookout.register(app, parts)
    lending.register(app, permits)
    forgetting = Pruner(
        parts.partitions,
        parts.folds,
        clock,
        retention=settings.retention,
        shortest=lambda: parts.routes.shortest_memory,
    )
    pruner.register(app, parts, forgetting)
    rebalance.register(app, parts)
    signs = vitals.Vitals(app, parts)
    worker = pages.register(
        app,
        settings,
        clock=clock,
        partitions=parts.partitions,
        folds=parts.folds,
        ready=parts.ready,
        gate=parts.gate,
        guard=parts.guard,
        dags=parts.dags,
        outcomes=watch,
        following=lambda: following(parts),
        passed_over=lambda: parts.passed_over,
        pruned=lambda: forgetting.pruned,
        untaken=lambda: signs.untaken,
        caught_up=lambda: parts.caught_up(),  # noqa: PLW0108 - made at the same time
        routes=parts.routes,
        lender=lambda: permits.borrows_from,
    )
    watch_over = vitals.register(app, parts, signs, worker.figures)

    async def begin() -> None:
        await watch_over()
        await patiently(hints.open, clock)
        await prepare(settings, outcomes, outlet, clock)

    app.prepare = begin
    tables.register(app.web.web_app.router, table.fingerprints)
    return app


def _new_parts(
    *,
    app: DurableApp,
    table: Rows,
    settings: Settings,
    airflow: AirflowPort,
    clock: Clock,
    registry: Registry | None,
    outcomes: OutcomeCodec,
    outlet: TopicOutlet,
    watch: OutcomeWatch,
) -> Parts:
    def wake() -> None:
        parts.wake()

    limit = Limit(settings.airflow_max_in_flight, clock, wake)
    guard = Guard(airflow, limit, Breaker(), clock, wake)
    dags = Dags(
        guard.reading,
        clock,
        wanted=lambda: ready.dags,
        changed=lambda: ready.caps_changed(),  # noqa: PLW0108 - made at the same time
    )
    ready = Ready(clock, wake, dags.cap)
    sends = Sends(app.leave)
    report = sends.counted(outlet.report)
    runs = Follower(
        guard.reading,
        clock,
        report=report,
        app_id=settings.app_id,
        poll_interval=settings.poll_interval,
        reconcile_interval=settings.reconcile_interval,
        is_waited_for=lambda entry: waits_for_end(entry, parts),
    )
    trigger = Trigger(
        guard.starting,
        clock,
        app_id=settings.app_id,
        dag_missing_grace=settings.dag_missing_grace,
        lease=settings.session_timeout,
        request_timeout=settings.airflow_timeout,
        outages=lambda: guard.breaker.opened,
    )
    tracker = Tracker(ready, runs, trigger)

    def soon(step: Callable[[], None]) -> None:
        asyncio.get_running_loop().call_soon(step)

    parts = Parts(
        clock=clock,
        routes=Routes(settings.routes_file),
        commands=CommandDecoder(registry, settings.max_command_bytes),
        outcomes=outcomes,
        partitions=Partitions(table, rows, tracker),
        folds=Folds(table, watch, tracker, soon=soon, fail=app.leave),
        ready=ready,
        gate=Gate(
            hold=lambda: app.consumer.held or app.consumer.hold(app.assigned_commands()),
            release=lambda: app.consumer.release(),  # noqa: PLW0108 - the consumer comes later
        ),
        limit=limit,
        guard=guard,
        dags=dags,
        trigger=trigger,
        follower=runs,
        reconciler=Reconciler(
            runs,
            guard.reading,
            clock,
            app_id=settings.app_id,
            may_run=lambda mark: parts.partitions.may_run(mark),  # noqa: PLW0108 - made at the same time
        ),
        report=report,
        instruct=sends.counted(outlet.instruct),
        sends=sends,
        is_next=app.is_next,
        caught_up=lambda: app.gaps.caught_up,
        may_start=lambda: app.lease.check("starting a run"),
        share=limit.share,
        ready_limit=settings.ready_limit,
        folds_limit=FOLDS_LIMIT,
        later_limit=settings.later_limit,
    )
    app.intake.watch = lambda size: parts.gate.measure("bytes", size, INTAKE_BYTES)
    return parts


def waits_for_end(entry: Entry, parts: Parts) -> bool:
    """Whether a command waits for the end of an entry's run: the next of its key, or one of a DAG without room."""
    assert entry.policy is not None
    return parts.ready.waits_for(entry.policy.dag_id) or parts.partitions.is_waited_for(entry)


def following(parts: Parts) -> Following:
    """What the follower and its reconciliation know."""
    runs = parts.follower
    return Following(
        runs=runs.following,
        missing=runs.missing,
        unfollowed=len(parts.reconciler.strays),
        asked=runs.asked,
        hints=runs.hints,
    )


async def prepare(settings: Settings, outcomes: OutcomeCodec, outlet: TopicOutlet, clock: Clock) -> None:
    """Wait for Kafka and the registry. A worker whose topics do not fit does not start."""
    problems = await patiently(lambda: topics.check(settings), clock)
    if problems:
        for problem in problems:
            log.critical("%s", problem)
        log.critical(
            "the topics do not fit, so the worker does not start: `streamapp topics --create` makes missing ones"
        )
        exits.exit_now(exits.CONFIG)
    found = await patiently(lambda: topics.describe(settings), clock)
    outlet.max_letter_bytes = found["dead letters"].max_bytes
    await patiently(outcomes.start, clock)


def _new_registry(settings: Settings, clock: Clock) -> Registry | None:
    if settings.schema_registry_url is None:
        return None
    user_info = settings.schema_registry_user_info
    return Registry(settings.schema_registry_url, clock, user_info.get_secret_value() if user_info else None)
