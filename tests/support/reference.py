"""Reads: the settings and the command line. Writes: the pages of the reference that follow from them.

python -m tests.support.reference
"""

import re
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from annotated_types import Ge, Le
from click.testing import CliRunner
from pydantic import FilePath, SecretStr
from pydantic.fields import FieldInfo

from streamapp.cli.main import VERBS, main
from streamapp.settings import PROPERTIES, Settings, variable

REFERENCE = Path(__file__).resolve().parents[2] / "docs" / "reference"
WIDTH = 100
GROUPS = {
    "bootstrap_servers": "Kafka",
    "schema_registry_url": "Schema registry",
    "app_id": "Topics and the group",
    "airflow_url": "Airflow",
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
PROPERTIES_HEAD = """\
## The properties file

One `name=value` a line, `#` for comments, as Confluent's clients use it. These names are understood:

| Property | Setting |
|---|---|
"""
PROPERTIES_TAIL = """\
| `basic.auth.credentials.source` | must be `USER_INFO` where it is given |

Others are reported and not used.
"""
CLI_HEAD = """\
# The command line

This page is generated from `streamapp … --help` by `python -m tests.support.reference`;
`tests/docs/test_reference.py` fails when the two differ.

`streamapp` never joins the workers' group and writes to no topic but the commands topic (`send`). A worker is started
with Faust's own command line: see [how to run several workers](../how-to/run-several-workers.md).
"""


def settings_page() -> str:
    """The reference of the settings."""
    return f"{SETTINGS_HEAD}{''.join(_sections())}\n{PROPERTIES_HEAD}{_properties()}{PROPERTIES_TAIL}"


def cli_page() -> str:
    """The reference of the command line."""
    texts = [f"\n## `streamapp`\n\n{_help()}"] + [f"\n## `streamapp {verb}`\n\n{_help(verb)}" for verb in VERBS]
    return CLI_HEAD + "".join(texts)


PAGES: dict[str, Callable[[], str]] = {"settings.md": settings_page, "cli.md": cli_page}


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
        least = next((limit.ge for limit in field.metadata if isinstance(limit, Ge)), None)
        most = next((limit.le for limit in field.metadata if isinstance(limit, Le)), None)
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
