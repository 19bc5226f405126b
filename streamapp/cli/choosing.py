"""Reads: options that choose dead letters. Writes: nothing."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from fnmatch import fnmatchcase
from functools import wraps
from typing import Any

import click

from streamapp.cli.options import DurationType
from streamapp.clock import SystemClock
from streamapp.core.key import show_key
from streamapp.core.model import Reason
from streamapp.wire.times import from_text


class MomentType(click.ParamType):
    """A point in time, or how long ago."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        """Read it, or say how it is written."""
        if isinstance(value, datetime):
            return value
        try:
            return from_text(value)
        except ValueError as error:
            try:
                ago = DurationType().convert(value, param, ctx)
            except click.BadParameter:
                self.fail(f"{error}; write it like 2026-01-31T08:00:00Z, or like 2h for two hours ago", param, ctx)
            try:
                return SystemClock().now() - ago
            except OverflowError:
                self.fail(f"{value!r} is longer ago than can be counted", param, ctx)


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """Which dead letters, or commands that block their keys, are meant."""

    ids: frozenset[str] = frozenset()
    """Empty: all that fit the rest."""
    reasons: frozenset[str] = frozenset()
    command: str | None = None
    dag: str | None = None
    key: str | None = None
    partition: int | None = None
    since: datetime | None = None
    until: datetime | None = None
    limit: int | None = None

    @property
    def narrows(self) -> bool:
        """Whether anything is asked for but the ids."""
        rest = (self.command, self.dag, self.key, self.partition, self.since, self.until)
        return bool(self.reasons) or any(part is not None for part in rest)

    def takes(self, *, id: str, reason: str, key: bytes | None, partition: int, at: datetime) -> bool:  # noqa: A002
        """Whether what a letter itself says fits."""
        return (
            (not self.ids or id in self.ids)
            and (not self.reasons or reason in self.reasons)
            and self.key in {None, show_key(key)}
            and self.partition in {None, partition}
            and (self.since is None or at >= self.since)
            and (self.until is None or at < self.until)
        )

    def names(self, *, command: str | None, dag: str | None) -> bool:
        """Whether the command and the DAG fit, as far as they are known."""
        return (self.command is None or fnmatchcase(command or "", self.command)) and (
            self.dag is None or fnmatchcase(dag or "", self.dag)
        )


def choosing(verb: Callable[..., Any]) -> Callable[..., Any]:
    """Add the filters, and call the verb with `chosen`."""

    @wraps(verb)
    def call(*, reasons: tuple[str, ...], ids: tuple[str, ...] = (), **arguments: Any) -> Any:
        rest = {name: arguments.pop(name) for name in _NAMES}
        return verb(chosen=Chosen(ids=frozenset(ids), reasons=frozenset(reasons), **rest), **arguments)

    for option in reversed(_OPTIONS):
        call = option(call)
    return call


_NAMES = ("command", "dag", "key", "partition", "since", "until", "limit")
_OPTIONS = (
    click.option(
        "--reason", "reasons", type=click.Choice([one.value for one in Reason]), metavar="REASON", multiple=True,
        help="Only of this reason, such as run_failed; repeatable.",
    ),
    click.option("--command", metavar="GLOB", help="Only of commands with such a name, such as 'app.send_*'."),
    click.option("--dag", metavar="GLOB", help="Only of commands that were routed to such a DAG."),
    click.option("--key", help="Only of this key, as it is shown."),
    click.option("--partition", type=click.IntRange(min=0), help="Only of commands on this partition."),
    click.option("--since", type=MomentType(), help="Only from this time on: ISO 8601, or 2h for two hours ago."),
    click.option("--until", type=MomentType(), help="Only before this time."),
    click.option("--limit", type=click.IntRange(min=1), metavar="N", help="At most N."),
)  # fmt: skip
