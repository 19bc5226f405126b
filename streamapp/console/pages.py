"""Serves what the worker knows on Faust's own web server. Reads the worker's parts, writes nothing."""

from collections.abc import Callable, Mapping
from datetime import timedelta

from aiohttp import web
from aiohttp.typedefs import Middleware

from streamapp.airflow.guard import Guard
from streamapp.clock import Clock
from streamapp.console import answers, api, hosts, probes, views
from streamapp.console.group import Group
from streamapp.console.peers import Peers
from streamapp.console.rendering import Html
from streamapp.console.worker import Membership, Worker
from streamapp.dispatch.dags import Dags
from streamapp.dispatch.fold import Folds
from streamapp.dispatch.gate import Gate
from streamapp.dispatch.partitions import Partitions
from streamapp.dispatch.ready import Ready
from streamapp.kafka.transport import DurableApp
from streamapp.observe.figures import Following
from streamapp.observe.outcomes import OutcomeWatch
from streamapp.routes import Routes
from streamapp.settings import Settings


def register(
    app: DurableApp,
    settings: Settings,
    *,
    clock: Clock,
    partitions: Partitions,
    folds: Folds,
    ready: Ready,
    gate: Gate,
    guard: Guard,
    dags: Dags,
    outcomes: OutcomeWatch,
    following: Callable[[], Following],
    passed_over: Callable[[], int],
    pruned: Callable[[], int],
    untaken: Callable[[], Mapping[str, timedelta]],
    caught_up: Callable[[], bool],
    routes: Routes,
    lender: Callable[[], str | None],
) -> Worker:
    """Add all routes to the app's web server; it answers from the worker's start on. Returns what it shows.

    Args:
        app: The worker's app.
        settings: Of this installation.
        clock: The only source of time.
        partitions: The partitions that are read.
        folds: What is being folded.
        ready: The index of what may run.
        gate: What holds the commands topic.
        guard: What stands between the worker and Airflow.
        dags: What is known of DAGs.
        outcomes: What stands before the way out.
        following: What the follower of runs knows.
        passed_over: How many records could not be read.
        pruned: How many commands were forgotten.
        untaken: Topics whose records nobody takes in, and for how long.
        caught_up: Whether all is folded that the workers before have seen.
        routes: The routes in force.
        lender: The worker whose permits this one borrows.
    """

    def membership() -> Membership:
        joined = app.consumer_generation_id > 0
        workers = app.router.external_topics_metadata()
        return Membership(
            lease_remaining=app.lease.remaining,
            joined=joined,
            rebalancing=app.rebalancing,
            restoring=app.in_recovery,
            standbys=app.tables.recovery.standbys(),
            url=str(app.conf.canonical_url),
            workers={url: frozenset(topics.get(app.commands_topic, ())) for url, topics in workers.items()},
            total=(app.partition_counts().get(app.commands_topic) or 0) if joined else 0,
        )

    worker = Worker(
        clock=clock,
        membership=membership,
        partitions=partitions,
        folds=folds,
        ready=ready,
        gate=gate,
        guard=guard,
        dags=dags,
        outcomes=outcomes,
        following=following,
        passed_over=passed_over,
        pruned=pruned,
        untaken=untaken,
        caught_up=caught_up,
        routes=routes,
        lender=lender,
    )
    html = Html(settings.app_id, settings.airflow_url)
    others = settings.web_hosts.split(",") if settings.web_hosts else []
    refuse = hosts.refuse_others(lambda: str(app.conf.canonical_url), others)
    add_routes(app.web.web_app, worker, Peers(lambda: app.http_client), html, refuse)
    return worker


def add_routes(web_app: web.Application, worker: Worker, peers: Peers, html: Html, refuse: Middleware) -> None:
    """Everything that is served, on any aiohttp application.

    Args:
        web_app: Not started yet.
        worker: Whose pages they are.
        peers: The other workers.
        html: Makes the pages.
        refuse: Lets nobody pass who came by a stranger's name.
    """
    web_app.middlewares.extend([answers.tell_errors(html.error), refuse])
    web_app.on_response_prepare.append(answers.add_headers)
    group = Group(worker, peers)
    probes.register(web_app.router, worker)
    api.register(web_app.router, group)
    views.register(web_app.router, group, html)
