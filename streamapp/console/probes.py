"""Answers the questions of machines: reads the worker's figures. GET /health/live, /health/ready, /metrics."""

from aiohttp import web

from streamapp.console.answers import json_answer
from streamapp.console.worker import Worker
from streamapp.observe import health
from streamapp.observe.metrics import CONTENT_TYPE, Metrics


def register(routes: web.UrlDispatcher, worker: Worker) -> None:
    """Add the routes."""
    metrics = Metrics(worker.figures, worker.by_dag)

    async def live(_: web.Request) -> web.Response:
        return _answer(health.live(worker.figures()))

    async def ready(_: web.Request) -> web.Response:
        return _answer(health.ready(worker.figures()))

    async def text(_: web.Request) -> web.Response:
        return web.Response(body=metrics.text(), headers={"Content-Type": CONTENT_TYPE})

    routes.add_get("/health/live", live)
    routes.add_get("/health/ready", ready)
    routes.add_get("/metrics", text)


def _answer(verdict: health.Verdict) -> web.Response:
    status = web.HTTPOk.status_code if verdict.ok else web.HTTPServiceUnavailable.status_code
    return json_answer({"ok": verdict.ok, "problems": list(verdict.problems)}, status=status)
