"""Answers in JSON: GET /api/v1/commands[/{id}], /keys/{key} and /workers for all workers; /status for this one."""

from http import HTTPStatus

from aiohttp import web

from streamapp.console import asked
from streamapp.console.answers import json_answer
from streamapp.console.group import COMMANDS, KEYS, STATUS, WORKERS, Answer, Group


def register(routes: web.UrlDispatcher, group: Group) -> None:
    """Add the routes."""

    async def commands(request: web.Request) -> web.Response:
        found = await group.commands(
            asked.wanted(request), asked.limit(request), key=asked.key(request), local=asked.local(request)
        )
        return json_answer(found)

    async def command(request: web.Request) -> web.Response:
        return _answer("command", await group.command(asked.text_name(request), local=asked.local(request)))

    async def key(request: web.Request) -> web.Response:
        return _answer("key", await group.key(asked.name(request), local=asked.local(request)))

    async def status(_: web.Request) -> web.Response:
        return json_answer(group.status())

    async def workers(_: web.Request) -> web.Response:
        return json_answer(await group.workers())

    routes.add_get(COMMANDS, commands)
    routes.add_get(COMMANDS + "/{name:.+}", command)
    routes.add_get(KEYS + "/{name:.*}", key)
    routes.add_get(STATUS, status)
    routes.add_get(WORKERS, workers)


def _answer(what: str, answer: Answer) -> web.Response:
    """What is known; "unknown" only where everybody was asked."""
    if answer.fields is not None:
        return json_answer(answer.fields)
    if answer.incomplete:
        error = f"the workers that answer know no such {what}, and not all of them answer"
        return json_answer({"error": error, "incomplete": answer.incomplete}, status=HTTPStatus.SERVICE_UNAVAILABLE)
    return json_answer({"error": f"no such {what} is known"}, status=HTTPStatus.NOT_FOUND)
