"""Reads: options that several verbs share. Writes: nothing."""

from collections.abc import Callable
from datetime import timedelta
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar

import click
from pydantic import TypeAdapter, ValidationError

from streamapp.settings import Duration, load_settings

F = TypeVar("F", bound=Callable[..., Any])

_duration = TypeAdapter(Duration)

config_file_option = click.option(
    "--config-file",
    "--config_file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A properties file as Confluent's clients use it (bootstrap.servers=…); wins over the environment.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


class DurationType(click.ParamType):
    """30s, 5m, 500ms, or seconds."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> timedelta:
        """Read it, or say how it is written."""
        try:
            return _duration.validate_python(value)
        except ValidationError:
            self.fail(f"{value!r} is not a duration such as 30s, 5m or 500ms", param, ctx)


def with_settings(verb: F) -> Callable[..., Any]:
    """Add --config-file and --json, and call the verb with `settings` and `as_json`."""

    @wraps(verb)
    def call(config_file: Path | None, **arguments: Any) -> Any:
        return verb(settings=load_settings(config_file=config_file), **arguments)

    return config_file_option(json_option(call))
