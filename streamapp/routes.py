"""Reads the routes file, checks it, and keeps what it says while the worker runs. Writes a line to the log.

A file that changes applies to commands that are accepted after it was read. One that is wrong changes nothing.
"""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, Strict, ValidationError

from streamapp.core.errors import ConfigError
from streamapp.core.model import RETRYABLE, OnFailure, Ordering, Paused, Policy, Reason
from streamapp.core.routing import DEFAULT_ROUTES, Route, find_policy
from streamapp.files import Toml, meant, parse_toml, read_text
from streamapp.settings import read_duration, variable

log = logging.getLogger(__name__)

LONGEST = timedelta(days=3650)
"""Of any duration: what is added to a date must stay one."""
MOST_ATTEMPTS = 1000
MOST_CHARACTERS = 250
"""Of the name of a DAG in Airflow."""

_MILLISECOND = timedelta(milliseconds=1)


def _dag(value: str) -> str:
    rest = value.replace("{name}", "")
    if not 0 < len(value) <= MOST_CHARACTERS or not all(one.isalnum() or one in "_-." for one in rest):
        raise ValueError("must be the name of a DAG, in which {name} stands for what follows the command's first dot")
    return value


def _whole(value: timedelta) -> timedelta:
    """Rows keep milliseconds."""
    return value // _MILLISECOND * _MILLISECOND


def _no_boolean(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError("must be a duration such as 30s, 5m or 2h")
    return value


def _retryable(value: frozenset[Reason]) -> frozenset[Reason]:
    for reason in value - RETRYABLE:
        raise ValueError(f"{reason} is not tried again; these may be: {', '.join(sorted(RETRYABLE))}")
    return value


Whole = Annotated[int, Strict()]
Delay = Annotated[
    timedelta,
    AfterValidator(_whole),
    Field(ge=timedelta(0), le=LONGEST),
    BeforeValidator(read_duration),
    BeforeValidator(_no_boolean),
]
Lasting = Annotated[
    timedelta,
    AfterValidator(_whole),
    Field(ge=_MILLISECOND, le=LONGEST),
    BeforeValidator(read_duration),
    BeforeValidator(_no_boolean),
]


class RouteTable(BaseModel):
    """One `[[route]]`; what it does not say is as `core.routing.Route` has it."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    command: Annotated[str, Field(min_length=1)]
    """Which commands it takes: a glob over the whole name (`*` any text, `?` one character, `[ab]` one of these).
    Upper and lower case differ. Must be given."""
    dag: Annotated[str, AfterValidator(_dag)] = "{name}"
    """The DAG that runs; `{name}` stands for what follows the first dot of the command's name."""
    ordering: Ordering = Ordering.COMPLETED
    """When the next command of the key may start: once this one's run has ended, once its run exists, or at once; with
    `none` it does not wait either."""
    on_failure: OnFailure = OnFailure.DEAD_LETTER
    """After the last attempt: a dead letter, and the key goes on; or the key is held until an operator acts."""
    max_attempts: Annotated[Whole, Field(ge=1, le=MOST_ATTEMPTS)] = 1
    """Runs that may fail. Up to 3 in which no task started are not counted."""
    retry_delay: Delay = timedelta(seconds=30)
    """Between the end of an attempt and the second one; it doubles from there, and is shortened by up to half by
    chance."""
    retry_delay_max: Lasting = timedelta(hours=1)
    """Doubling stops here; a longer `retry_delay` never doubles."""
    retry_on: Annotated[frozenset[Reason], AfterValidator(_retryable)] = frozenset(
        {Reason.RUN_FAILED, Reason.RUN_NOT_STARTED}
    )
    """Failures that are worth another attempt."""
    not_before: Lasting | None = None
    """From the acceptance of a command to its earliest start, unless it names its own."""
    deadline: Lasting | None = None
    """From the acceptance of a command to the latest start of a run, unless it names its own."""
    max_in_flight: Annotated[Whole, Field(ge=1, le=100_000)] | None = None
    """Runs of the DAG that may be outstanding in Airflow, all workers together; the DAG's own `max_active_runs` if not
    given."""
    paused: Paused = Paused.WAIT
    """While the DAG is paused in Airflow: runs are created, up to `max_in_flight`, and stay queued there; or commands
    are rejected."""
    dedupe_for: Lasting | None = None
    """How long a command is remembered after its end; `STREAMAPP_RETENTION` if not given."""


KEYS = RouteTable.model_fields


@dataclass(frozen=True)
class Found:
    """A route and where it stands."""

    route: Route
    place: str
    """The file and the line; empty for the route that holds where there is no file."""
    given: frozenset[str] = frozenset()
    """The keys that the file says; the others are defaults."""


DEFAULT = tuple(Found(route, "") for route in DEFAULT_ROUTES)


class WrongRoutes(ConfigError):
    """The routes file does not fit.

    Attributes:
        problems: All that was found, each with its file and line.
    """

    def __init__(self, problems: list[str]) -> None:
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        super().__init__(problems[0] + more)
        self.problems = problems


def load_routes(path: Path | None) -> tuple[Found, ...]:
    """The routes of a file; the default route without a file, or where it has none.

    Raises:
        ConfigError: It can't be read or does not fit; names file, line and key.
    """
    return DEFAULT if path is None else _parse(path, read_text(path, variable("routes_file")))


class Routes:
    """The routes in force.

    Attributes:
        problem: Why the file, as it now is, does not fit, so that what it said before holds; None while it fits.
        reloads: How often a changed file was taken.
    """

    def __init__(self, path: Path | None) -> None:
        """Read the file.

        Raises:
            ConfigError: It can't be read or does not fit.
        """
        self._path = path
        self._text = "" if path is None else read_text(path, variable("routes_file"))
        self._routes = _routes_of(load_routes(path) if path is None else _parse(path, self._text))
        self.problem: str | None = None
        self.reloads = 0

    def __len__(self) -> int:
        return len(self._routes)

    def find(self, command: str) -> Policy | None:
        """The policy of a command; None when no route takes it."""
        return find_policy(self._routes, command)

    @property
    def shortest_memory(self) -> timedelta | None:
        """The shortest `dedupe_for`; None where no route has one."""
        return min((route.dedupe_for for route in self._routes if route.dedupe_for is not None), default=None)

    def look(self) -> None:
        """Take the file as it now is, if it has changed and fits."""
        if self._path is None:
            return
        try:
            text = read_text(self._path, variable("routes_file"))
            routes = self._routes if text == self._text else _routes_of(_parse(self._path, text))
        except ConfigError as error:
            if str(error) != self.problem:
                log.error("the routes stay as they were: %s", error, extra={"action": "routes_kept"})
            self.problem = str(error)
            return
        if routes != self._routes:
            self.reloads += 1
        if routes != self._routes or self.problem is not None:
            log.info(
                "%d routes in force, from %s as it now is", len(routes), self._path, extra={"action": "routes_taken"}
            )
        self._text, self._routes, self.problem = text, routes, None


def _routes_of(found: tuple[Found, ...]) -> tuple[Route, ...]:
    return tuple(one.route for one in found)


def _parse(path: Path, text: str) -> tuple[Found, ...]:
    toml = parse_toml(path, text)
    tables = toml.content.get("route")
    if tables is None:
        return DEFAULT
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables) or not tables:
        raise ConfigError(f"{toml.key_place('route')}: each route is a table [[route]], with two brackets")
    found: list[Found] = []
    problems: list[str] = []
    for table, lines in zip(tables, toml.route_lines(len(tables)), strict=True):
        place = toml.key_place("route", *lines)
        try:
            given = RouteTable(**table).model_dump(exclude_unset=True)
        except ValidationError as error:
            problems += _told(error, table, toml, lines)
            continue
        route = Route(**given)
        problems += [f"{toml.key_place(key, *lines)}: {key} {why}" for key, why in _contradictions(route, given)]
        found.append(Found(route, place, frozenset(given)))
    if problems:
        raise WrongRoutes(problems)
    return tuple(found)


def _contradictions(route: Route, given: dict[str, Any]) -> Iterator[tuple[str, str]]:
    if "retry_delay_max" in given and route.retry_delay_max < route.retry_delay:
        yield "retry_delay_max", "must be at least retry_delay"
    if route.deadline is not None and route.not_before is not None and route.deadline <= route.not_before:
        yield "deadline", "must be later than not_before, or nothing would ever run"


def _told(error: ValidationError, table: dict[str, Any], toml: Toml, lines: tuple[int, int | None]) -> Iterator[str]:
    for one in error.errors(include_url=False, include_context=False):
        key = str(one["loc"][0])
        if one["type"] == "missing":
            yield f"{toml.key_place('route', *lines)}: {key} is missing"
            continue
        where = toml.key_place(key, *lines)
        if where == str(toml.path):  # an inline table
            where = toml.key_place("route", *lines)
        if one["type"] == "extra_forbidden":
            yield f"{where}: {key!r} is not a key of a route{meant(key, KEYS)}"
        else:
            yield f"{where}: {key} = {str(table[key])[:80]!r}: {_plain(key, one['type'], one['msg'])}"


def _plain(key: str, kind: str, text: str) -> str:
    text = text.removeprefix("Value error, ").replace("Input should be", "must be")
    if kind.startswith(("time_delta", "timedelta")):
        return "must be a duration such as 30s, 5m, 2h or 1d"
    if "datetime.timedelta" in text:
        return f"must be at most {LONGEST.days}d" if kind == "less_than_equal" else "must be longer"
    if key == "retry_on" and kind == "enum":
        return f"must be of: {', '.join(sorted(RETRYABLE))}"
    if kind == "int_type":
        return "must be a whole number"
    if kind == "frozen_set_type":
        return 'must be a list such as ["run_failed"]'
    if kind == "string_too_short":
        return "must not be empty"
    return text
