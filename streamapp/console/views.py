"""The pages for people: GET /, /commands/{id}, /keys/{key}, /workers. Reads what the API reads; writes nothing."""

from http import HTTPStatus
from pathlib import Path
from typing import Any

from aiohttp import web

from streamapp.console import asked
from streamapp.console.group import Answer, Group
from streamapp.console.names import BASE64, path_of
from streamapp.console.rendering import Html, command_path, key_path
from streamapp.core.model import Status

STATIC = Path(__file__).with_name("static")
REFRESH = "refresh"
"""The parameter that lets a page load itself again and again."""
STANDINGS = [
    *(Status.ACCEPTED, Status.TRIGGERED, Status.ATTEMPT_FAILED, Status.BLOCKED),
    *(status for status in Status if status.terminal),
]
"""Where a command can stand; the others are only said of it."""


def register(routes: web.UrlDispatcher, group: Group, html: Html) -> None:
    """Add the routes."""

    def missing(what: str, answer: Answer) -> web.Response:
        status = HTTPStatus.SERVICE_UNAVAILABLE if answer.incomplete else HTTPStatus.NOT_FOUND
        text = f"No such {what} is known."
        return html.page("error.html", status=status, title=text, text=text, incomplete=answer.incomplete)

    async def commands(request: web.Request) -> web.Response:
        if named := request.query.get("id"):
            raise web.HTTPSeeOther(path_of("/commands", named.encode(errors="replace")))
        found = await group.commands(
            asked.wanted(request), asked.limit(request), key=asked.key(request), local=asked.local(request)
        )
        query = request.query
        form = {
            "key": query.get("key", ""),
            "base64": query.get(BASE64, "0") not in {"", "0"},
            "statuses": query.getall("status", []),
            "dag": query.get("dag", ""),
            "any": any(query.get(name) for name in ("key", "status", "dag")),
        }
        return html.page(
            "commands.html", here="commands", asked=form, standings=STANDINGS, **found, **_refresh(request)
        )

    async def command(request: web.Request) -> web.Response:
        answer = await group.command(asked.text_name(request), local=asked.local(request))
        if answer.fields is None:
            return missing("command", answer)
        return html.page(
            "command.html",
            fields=answer.fields,
            run_url=html.run_url(answer.fields),
            api_path=command_path(answer.fields, "/api/v1"),
            **_refresh(request),
        )

    async def key(request: web.Request) -> web.Response:
        answer = await group.key(asked.name(request), local=asked.local(request))
        if answer.fields is None:
            return missing("key", answer)
        return html.page(
            "key.html",
            fields=answer.fields,
            incomplete=answer.incomplete,
            api_path=key_path(answer.fields, "/api/v1"),
            **_refresh(request),
        )

    async def workers(request: web.Request) -> web.Response:
        found = await group.workers()
        return html.page(
            "workers.html",
            here="workers",
            workers=found["workers"],
            incomplete=found["silent"],
            **_refresh(request),
        )

    routes.add_get("/", commands)
    routes.add_get("/commands/{name:.+}", command)
    routes.add_get("/keys/{name:.*}", key)
    routes.add_get("/workers", workers)
    routes.add_static("/static", STATIC)


def _refresh(request: web.Request) -> dict[str, Any]:
    """Whether the page loads itself again, and its parameters without that."""
    others = request.rel_url.without_query_params(REFRESH).raw_query_string
    return {"refresh": REFRESH in request.query, "query": others}
