"""Reads: the routes file. Writes: stdout, the routes, or how one command would run and why."""

import os
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import click

from streamapp.cli.options import config_file_option, json_option
from streamapp.cli.output import print_fields, print_json, print_table, printable, say
from streamapp.core.errors import ConfigError
from streamapp.core.model import Policy
from streamapp.routes import KEYS, Found, WrongRoutes, load_routes
from streamapp.settings import Settings, load_settings, read_settings, variable

_POLICY = [name for name in KEYS if name not in {"command", "dag"}]
_UNITS = {"d": timedelta(days=1), "h": timedelta(hours=1), "m": timedelta(minutes=1), "s": timedelta(seconds=1)}


@click.command()
@click.argument("command", required=False)
@click.option("--command", "named", metavar="COMMAND", help="The same as the argument.")
@click.option(
    "--check",
    "file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Check this file instead, with its settings, and show all that is wrong.",
)
@config_file_option
@json_option
def routes(
    *, as_json: bool, command: str | None, named: str | None, file: Path | None, config_file: Path | None
) -> None:
    """Show how commands are run, and why.

    Without a COMMAND, lists the routes in their order: the first one that takes a command decides. With one, shows
    the route that takes it, why those before it do not, the DAG, and every policy with where it comes from. Reads the
    file that STREAMAPP_ROUTES_FILE names, else streamapp.toml in the working directory, else there is one default
    route; asks no worker.

    \b
    Exit codes: 1 when no route takes the command, or the file of --check is wrong; 2 when the file in use is wrong.

    \b
    Examples:
      streamapp routes
      streamapp routes app.send_email_alert
      streamapp routes --command app.send_email_alert --json
      streamapp routes --check new.toml
      streamapp routes --check new.toml app.send_email_alert
    """  # noqa: D301
    if command and named and command != named:
        raise click.UsageError("name one command, as the argument or with --command")
    if file is None:
        settings = load_settings(config_file=config_file)
        found = load_routes(settings.routes_file)
    else:
        settings, found = _check(file, config_file, as_json=as_json)
    name = named or command
    if name is not None:
        _explain(found, name, settings, as_json=as_json)
    elif as_json:
        print_json({"routes": [_as_json(number, one) for number, one in enumerate(found, start=1)]})
    elif file is None:
        rows = [_row(number, one) for number, one in enumerate(found, start=1)]
        print_table([("#", "COMMAND", "DAG", "WHERE", "POLICY BESIDE THE DEFAULTS"), *rows])
    else:
        say(f"{file} is right: {len(found)} route{'s' * (len(found) != 1)}")


def _check(file: Path, config_file: Path | None, *, as_json: bool) -> tuple[Settings, tuple[Found, ...]]:
    environ = {**os.environ, variable("routes_file"): str(file)}
    try:
        return read_settings(environ, config_file=config_file).settings, load_routes(file)
    except ConfigError as error:
        problems = error.problems if isinstance(error, WrongRoutes) else [str(error)]
        if as_json:
            print_json({"problems": problems})
        for problem in problems:
            say(f"problem: {problem}")
        raise click.exceptions.Exit(1) from None


def _explain(found: Sequence[Found], name: str, settings: Settings, *, as_json: bool) -> None:
    passed = []
    for number, one in enumerate(found, start=1):
        policy = one.route.policy(name)
        if policy is not None:
            break
        passed.append((number, one, one.route.why_not(name)))
    else:
        number, one, policy = 0, None, None
    if as_json:
        print_json(
            {
                "command": name,
                "route": _as_json(number, one) if one else None,
                "dag": policy.dag_id if policy else None,
                "policy": _texts(policy) if policy else None,
                "defaults": [key for key in _POLICY if key not in one.given] if one else [],
                "passed": [{"route": n, "command": it.route.command, "why": why} for n, it, why in passed],
            }
        )
    else:
        for n, it, why in passed:
            click.echo(printable(f"not route {n}{_at(it)}: {why}"))
    if one is None or policy is None:
        if not as_json:
            say(f"no route takes {name}: it would be rejected as unknown_route")
        raise click.exceptions.Exit(1)
    if not as_json:
        print_fields(
            {
                "command": name,
                "route": f"{number} of {len(found)}{_at(one)}: {one.route.command}",
                "dag": f"{policy.dag_id} ({one.route.dag}{'' if 'dag' in one.given else ', the default'})",
            }
        )
        texts = _texts(policy)
        if policy.dedupe_for is None:
            texts["dedupe_for"] = f"{duration(settings.retention)}, from {variable('retention')}"
        print_table(
            [(f"  {key}", _shown(texts[key]), "from the route" if key in one.given else "default") for key in _POLICY]
        )


def duration(value: timedelta) -> str:
    """As it is written in the file."""
    for unit, size in _UNITS.items():
        if value and not value % size:
            return f"{value // size}{unit}"
    return f"{value // timedelta(milliseconds=1)}ms" if value else "0s"


def _texts(policy: Policy) -> dict[str, Any]:
    return {key: _plain(getattr(policy, key)) for key in _POLICY}


def _plain(value: Any) -> Any:
    """As it is written in the file."""
    if isinstance(value, timedelta):
        return duration(value)
    if isinstance(value, frozenset):
        return sorted(str(one) for one in value)
    return value if value is None or isinstance(value, int) else str(value)


def _shown(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(value) or "nothing"
    return "none" if value is None else str(value)


def _as_json(number: int, one: Found) -> dict[str, Any]:
    given = {key: _plain(getattr(one.route, key)) for key in KEYS if key in one.given}
    place = {"number": number, "place": one.place or None, "command": one.route.command, "dag": one.route.dag}
    return {**place, "given": given}


def _row(number: int, one: Found) -> tuple[object, ...]:
    given = [f"{key}: {_shown(_plain(getattr(one.route, key)))}" for key in _POLICY if key in one.given]
    return number, one.route.command, one.route.dag, one.place or "default", "; ".join(given) or "none"


def _at(one: Found) -> str:
    return f" ({one.place})" if one.place else " (the default)"
