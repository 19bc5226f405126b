"""Turns what is known into pages. Reads the templates beside it; writes nothing."""

import base64
import unicodedata
from importlib.metadata import version
from typing import Any
from urllib.parse import quote

from aiohttp import web
from jinja2 import Environment, PackageLoader
from markupsafe import Markup, escape

from streamapp.console import names
from streamapp.console.fields import Fields

_HIDDEN = frozenset({"Cc", "Cf", "Zl", "Zp"})
"""Categories of characters that are not seen, or that turn what stands beside them around."""
_PARTS = frozenset({"\u200c", "\u200d", *map(chr, range(0xE0020, 0xE0080))})
"""Those of them that letters and emoji are put together with."""


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
            loader=PackageLoader("streamapp.console"), autoescape=True, trim_blocks=True, lstrip_blocks=True,
            finalize=_visible,
        )  # fmt: skip
        self._templates.globals |= {"app_id": app_id, "version": version("streamapp")}
        self._templates.filters |= {"command_path": command_path, "key_path": key_path, "lines": _lines}

    def page(self, template: str, *, status: int = 200, **values: Any) -> web.Response:
        """One page."""
        text = self._templates.get_template(template).render(values)
        return web.Response(
            body=text.encode(errors="replace"), status=status, content_type="text/html", charset="utf-8"
        )

    def error(self, status: int, text: str) -> web.Response:
        """A page that says what went wrong."""
        return self.page("error.html", status=status, title=status, text=text)

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


def _visible(value: Any) -> Any:
    """Text of others with everything escaped that would let it look like another text; what is HTML already is not."""
    return _escaped(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _lines(text: str) -> Markup:
    """The same for text that may have several lines."""
    return escape(_escaped(text, but="\n\t"))


def _escaped(text: str, but: str = "") -> str:
    return "".join(
        one.encode("unicode_escape").decode()
        if unicodedata.category(one) in _HIDDEN and one not in _PARTS and one not in but
        else one
        for one in text
    )
