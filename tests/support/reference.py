"""Reads: the settings, the keys of the routes file, the command line. Writes: the pages of the reference that follow.

python -m tests.support.reference
"""

import json
import re
from collections.abc import Callable, Iterator
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import click
from annotated_types import Ge, Le
from click.testing import CliRunner
from pydantic import FilePath, SecretStr
from pydantic.fields import FieldInfo

from streamapp.cli.main import VERBS, main
from streamapp.core.model import RETRYABLE
from streamapp.routes import KEYS
from streamapp.settings import PROPERTIES, Settings, variable

REFERENCE = Path(__file__).resolve().parents[2] / "docs" / "reference"
WIDTH = 100
GROUPS = {
    "bootstrap_servers": "Kafka",
    "schema_registry_url": "Schema registry",
    "app_id": "Topics and the group",
    "airflow_url": "Airflow",
    "retention": "Memory",
    "web_bind": "Web",
    "routes_file": "Files",
}
"""The setting that each section begins with."""

SETTINGS_HEAD = """\
# Settings

This page is generated from `streamapp/settings.py` by `python -m tests.support.reference`;
`tests/docs/test_reference.py` fails when the two differ.

A setting is looked for in these places. The first that has it wins:

1. the file named by `--config-file`, on the command line of `streamapp` only;
2. the environment variable `STREAMAPP_<NAME>`; one that is set but empty counts as not set;
3. the table `[streamapp]` of the TOML file: `STREAMAPP_ROUTES_FILE`, else `streamapp.toml` in the working directory;
4. the properties file named by `STREAMAPP_CONFIG_FILE`;
5. the default.

A value that does not fit stops the start with one line that names it and says how to mend it (exit code 2). Names that
are not known are reported and not used; in the TOML file they stop the start. `streamapp doctor` shows where each value
came from. Secrets are never shown. All of this is tested in `tests/unit/test_settings.py`.

Durations are written `30s`, `5m`, `500ms`, `2h`, `1d`, as seconds, or in ISO 8601.

```toml
[streamapp]
bootstrap_servers = "kafka-1:9092,kafka-2:9092"
airflow_url = "http://airflow:8080"
poll_interval = "500ms"
```
"""
ROUTES_HEAD = """\
# The routes file

This page is generated from `streamapp/routes.py` by `python -m tests.support.reference`; `tests/docs/test_reference.py`
fails when the two differ. What the keys are good for: [set policies](../how-to/set-policies.md).

TOML, one table `[[route]]` for each route. The first route whose pattern takes a command decides; a command that no
route takes is `rejected` as `unknown_route`. The file is the one that `STREAMAPP_ROUTES_FILE` names, else
`streamapp.toml` in the directory in which the worker starts. Without a file, or without a route in it, there is one
route: `app.*` with the defaults. The same file may hold [settings](settings.md), in a table `[streamapp]`.

| Key | Value | Default | Meaning |
|---|---|---|---|
"""
ROUTES_TAIL = """\

Durations are written `30s`, `5m`, `500ms`, `2h`, `1d`, as seconds, or in ISO 8601; at most `3650d`.

A pattern that takes a command whose DAG would have no name (`app.` with `{name}`) passes on to the next route.

A wrong value, an unknown key or a contradiction stops the start with one line that names the file, the line and the key
(exit code 2); `streamapp routes --check new.toml` shows all of them. Tests: `tests/unit/test_routes.py`.

## A file that changes

Workers look at the file every 2 s. What it says then applies to commands that they accept from then on: a command keeps
the policy with which it was accepted, over retries, restarts and takeovers. A file that does not fit, or is gone,
changes nothing: the routes stay as they were, one line of the log says why, and `streamapp_routes_file_broken` is 1.
The table `[streamapp]` is read at the start only, and so is the question which file it is: one that appears where there
was none is read at the next start. Each worker reads its own copy. Tests: `tests/unit/test_routes.py`,
`tests/broker/test_policies.py`.
"""
PROPERTIES_HEAD = """\
## The properties file

One `name=value` a line, `#` for comments, as Confluent's clients use it; `name: value`, `name value` and `!`, as Java
does, too. These names are understood:

| Property | Setting |
|---|---|
"""
PROPERTIES_TAIL = """\
| `basic.auth.credentials.source` | must be `USER_INFO` where it is given |

Others are reported and not used. A line that has neither one of these names nor `name=` stops the start.
"""
CLI_HEAD = """\
# The command line

This page is generated from `streamapp … --help` by `python -m tests.support.reference`;
`tests/docs/test_reference.py` fails when the two differ.

`streamapp` never joins the workers' group. It writes to the commands topic (`send`, `redrive`, `replay`), to the
control topic (`retry`, `skip`, `cancel`, `hold`, `release`, `pause`, `resume`, and `redrive` for what still holds its
key) and to the dead-letter topic (`dead-letters discard`), nowhere else. A worker is started with Faust's own command
line: see [how to run several workers](../how-to/run-several-workers.md).
"""


def settings_page() -> str:
    """The reference of the settings."""
    return f"{SETTINGS_HEAD}{''.join(_sections())}\n{PROPERTIES_HEAD}{_properties()}{PROPERTIES_TAIL}"


def cli_page() -> str:
    """The reference of the command line."""
    texts = [f"\n## `streamapp`\n\n{_help()}"]
    for verb in VERBS:
        texts.append(f"\n## `streamapp {verb}`\n\n{_help(verb)}")
        texts += [f"\n### `streamapp {verb} {part}`\n\n{_help(verb, part)}" for part in _parts_of(verb)]
    return CLI_HEAD + "".join(texts)


def _parts_of(verb: str) -> list[str]:
    command = main.get_command(click.Context(main), verb)
    return list(command.commands) if isinstance(command, click.Group) else []


def routes_page() -> str:
    """The reference of the routes file."""
    return f"{ROUTES_HEAD}{''.join(_route_keys())}{ROUTES_TAIL}"


PAGES: dict[str, Callable[[], str]] = {
    "settings.md": settings_page,
    "routes-file.md": routes_page,
    "cli.md": cli_page,
}


def _route_keys() -> Iterator[str]:
    for name, field in KEYS.items():
        kinds = [field.annotation, *_inside(field.annotation)]
        choices = next((kind for kind in kinds if isinstance(kind, type) and issubclass(kind, StrEnum)), None)
        if name == "retry_on":
            kind = f"list of {', '.join(f'`{one}`' for one in sorted(RETRYABLE))}"
            default = f"`[{', '.join(json.dumps(one) for one in sorted(field.default))}]`"
        else:
            kind = ", ".join(f"`{one}`" for one in choices) if choices else _kind(field)
            default = "must be given" if field.is_required() else _default(field)
        yield f"| `{name}` | {kind} | {default} | {_cell(field.description or '')} |\n"


def _sections() -> Iterator[str]:
    for name, field in Settings.model_fields.items():
        if name in GROUPS:
            yield f"\n## {GROUPS[name]}\n\n| Variable | Value | Default | Meaning |\n|---|---|---|---|\n"
        yield f"| `{variable(name)}` | {_kind(field)} | {_default(field)} | {_cell(field.description or '')} |\n"


def _kind(field: FieldInfo) -> str:
    kinds = [field.annotation, *_inside(field.annotation)]
    choices = next((get_args(kind) for kind in kinds if get_origin(kind) is Literal), None)
    if choices:
        return ", ".join(f"`{choice}`" for choice in choices)
    if timedelta in kinds:
        return "duration"
    if int in kinds:
        inner = [limit for kind in kinds if isinstance(kind, FieldInfo) for limit in kind.metadata]
        limits = [*field.metadata, *inner]
        least = next(limit.ge for limit in limits if isinstance(limit, Ge))
        most = next((limit.le for limit in limits if isinstance(limit, Le)), None)
        return f"number, {least} to {most}" if most is not None else f"number, at least {least}"
    if SecretStr in kinds:
        return "secret"
    return "file" if FilePath in kinds or Path in kinds else "text"


def _inside(annotation: Any) -> Iterator[Any]:
    for argument in get_args(annotation):
        yield argument
        yield from _inside(argument)


def _default(field: FieldInfo) -> str:
    if field.default_factory is not None:
        return f"`{field.default_factory({})}`"  # type: ignore[call-arg]
    if field.default is None:
        return "none"
    if isinstance(field.default, timedelta):
        seconds = field.default.total_seconds()
        return f"`{seconds:g}s`" if seconds >= 1 else f"`{seconds * 1000:g}ms`"
    return f"`{field.default}`"


def _properties() -> str:
    return "".join(f"| `{name}` | `{variable(field)}` |\n" for name, field in PROPERTIES.items())


def _cell(text: str) -> str:
    return re.sub(r"\s+", " ", text).replace("|", "\\|").replace("<", "\\<")


def _help(*verb: str) -> str:
    done = CliRunner().invoke(main, [*verb, "--help"], prog_name="streamapp", terminal_width=WIDTH)
    assert done.exit_code == 0, done.output
    return f"```text\n{done.stdout.rstrip()}\n```\n"


if __name__ == "__main__":
    for file, page in PAGES.items():
        (REFERENCE / file).write_text(page())
