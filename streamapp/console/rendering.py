"""Turns what is known into pages. Reads the templates beside it; writes nothing."""

import base64
from importlib.metadata import version
from typing import Any
from urllib.parse import quote

from aiohttp import web
from jinja2 import Environment, PackageLoader

from streamapp.console import names
from streamapp.console.fields import Fields


class Html:
    """The templates, with everything escaped that goes into them."""

    def __init__(self, app_id: str, airflow_url: str) -> None:
        """Load them.

        Args:
            app_id: The installation's name, shown on each page.
            airflow_url: Where its runs are looked at.
        """
        self._airflow_url = airflow_url
        self._templates = Environment(
            loader=PackageLoader("streamapp.console"), autoescape=True, trim_blocks=True, lstrip_blocks=True
        )
        self._templates.globals |= {"app_id": app_id, "version": version("streamapp")}
        self._templates.filters |= {"command_path": command_path, "key_path": key_path}

    def page(self, template: str, *, status: int = 200, **values: Any) -> web.Response:
        """One page."""
        text = self._templates.get_template(template).render(values)
        return web.Response(
            body=text.encode(errors="replace"), status=status, content_type="text/html", charset="utf-8"
        )

    def error(self, status: int, text: str) -> web.Response:
        """A page that says what went wrong."""
        return self.page("error.html", status=status, text=text)

    def run_url(self, fields: Fields) -> str | None:
        """Where Airflow shows the command's run."""
        dag_id, run_id = fields.get("dag_id"), fields.get("dag_run_id")
        if not dag_id or not run_id:
            return None
        return f"{self._airflow_url}/dags/{quote(dag_id, safe='')}/runs/{quote(run_id, safe='')}"


def command_path(fields: Fields, root: str = "") -> str:
    """The address of a command."""
    return names.path_of(f"{root}/commands", str(fields["command_id"]).encode())


def key_path(fields: Fields, root: str = "") -> str:
    """The address of a key that is not null."""
    exact = fields.get("key_base64")
    key = base64.b64decode(exact) if exact else str(fields["key"]).encode()
    return names.path_of(f"{root}/keys", key)
