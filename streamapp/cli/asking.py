"""Reads: the options and arguments that the verbs for instructions share. Writes: nothing."""

import base64
import getpass
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import wraps
from typing import Any
from uuid import uuid4

import click

from streamapp.cli.options import DurationType, F, with_settings
from streamapp.clock import SystemClock
from streamapp.core.key import MAX_KEY_BYTES
from streamapp.core.model import Action, Instruction
from streamapp.settings import Settings
from streamapp.wire.control import MAX_TEXT_LENGTH


@dataclass(frozen=True, slots=True, kw_only=True)
class Asking:
    """How an instruction is given."""

    settings: Settings
    as_json: bool
    by: str
    reason: str | None
    partition: int | None
    worker: str
    wait: timedelta | None
    """How long for what becomes of it; None: not at all."""
    control_id: str = field(default_factory=lambda: str(uuid4()))
    """The same in all records of one call."""
    at: datetime = field(default_factory=lambda: SystemClock().now())

    def instruction(self, action: Action, **about: Any) -> Instruction:
        """An instruction about a command, a key or a DAG."""
        return Instruction(
            control_id=self.control_id, action=action, by=self.by, reason=self.reason, at=self.at, **about
        )


def asking(verb: F) -> Callable[..., Any]:
    """Add the options that all instructions share, and call the verb with `asked`."""

    @click.option("--reason", callback=_checked, help="Why; kept with what becomes of it.")
    @by_option
    @click.option("--partition", type=click.IntRange(min=0), help="Where it stands, if that is known better.")
    @click.option("--worker", metavar="URL", help="Any worker's address. [default: STREAMAPP_WORKER_URL]")
    @click.option("--wait/--no-wait", default=True, show_default=True, help="Wait for what becomes of it.")
    @click.option("--timeout", type=DurationType(), default="30s", show_default=True, help="How long.")
    @with_settings
    @wraps(verb)
    def call(
        *, settings: Settings, as_json: bool, wait: bool, timeout: timedelta, worker: str | None, **arguments: Any
    ) -> Any:
        fields = {name: arguments.pop(name) for name in ("by", "reason", "partition")}
        address = worker or settings.worker_url
        asked = Asking(settings=settings, as_json=as_json, worker=address, wait=timeout if wait else None, **fields)
        return verb(asked=asked, **arguments)

    return call


def key_options(*, multiple: bool, meaning: str) -> Callable[[F], Callable[..., Any]]:
    """Add --key and --key-base64, and call the verb with `keys`."""

    def decorate(verb: F) -> Callable[..., Any]:
        @click.option("--key", multiple=multiple, help=meaning)
        @click.option("--key-base64", multiple=multiple, help="The same for a key that is no text.")
        @wraps(verb)
        def call(*, key: Any, key_base64: Any, **arguments: Any) -> Any:
            plain, coded = (given if multiple else [given] * (given is not None) for given in (key, key_base64))
            keys = [*(_bytes(one) for one in plain), *(_decoded(one) for one in coded)]
            return verb(keys=tuple(dict.fromkeys(keys)), **arguments)

        return call

    return decorate


def ids_argument(verb: F) -> Callable[..., Any]:
    """Add COMMAND_ID…, where - stands for the lines of standard input, and call the verb with `ids`."""

    @click.argument("command_ids", metavar="COMMAND_ID...", nargs=-1, required=True)
    @wraps(verb)
    def call(*, command_ids: tuple[str, ...], **arguments: Any) -> Any:
        ids: list[str] = []
        for one in command_ids:
            ids += _lines() if one == "-" else [one]
        if not ids:
            raise click.UsageError("standard input names no command")
        for one in ids:
            text(one, "COMMAND_ID")
        return verb(ids=tuple(dict.fromkeys(ids)), **arguments)

    return call


def dags_option(verb: F) -> Callable[..., Any]:
    """Add --dag and --all, and call the verb with `dags` and `every`."""

    @click.option("--dag", "dags", metavar="DAG", multiple=True, callback=_each_checked, help="The DAG; repeatable.")
    @click.option("--all", "every", is_flag=True, help="All DAGs.")
    @wraps(verb)
    def call(**arguments: Any) -> Any:
        return verb(**arguments)

    return call


def utf8(value: str, name: str) -> str:
    """A text that can be sent.

    Raises:
        click.BadParameter: It holds bytes that are no UTF-8.
    """
    try:
        value.encode()
    except UnicodeEncodeError:
        raise click.BadParameter("is not UTF-8", param_hint=name) from None
    return value


def text(value: str, name: str) -> str:
    """A text that an instruction can carry.

    Raises:
        click.BadParameter: It is too long, or holds bytes that are no UTF-8.
    """
    utf8(value, name)
    if len(value) > MAX_TEXT_LENGTH:
        raise click.BadParameter(f"has more than {MAX_TEXT_LENGTH} characters", param_hint=name)
    return value


def _lines() -> list[str]:
    try:
        return [line.strip() for line in sys.stdin if line.strip()]
    except UnicodeDecodeError:
        raise click.UsageError("standard input is not UTF-8") from None


def _checked(_: click.Context, param: click.Parameter, value: str | None) -> str | None:
    return None if value is None else text(value, param.opts[0])


def _each_checked(_: click.Context, param: click.Parameter, values: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(text(value, param.opts[0]) for value in values)


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):  # as in a container whose user has no name
        return "unknown"


def _bytes(key: str) -> bytes:
    return _bounded(os.fsencode(key), "--key")


def _decoded(key: str) -> bytes:
    try:
        return _bounded(base64.b64decode(key, validate=True), "--key-base64")
    except ValueError:
        raise click.BadParameter("is not base64", param_hint="--key-base64") from None


def _bounded(key: bytes, name: str) -> bytes:
    if len(key) > MAX_KEY_BYTES:
        raise click.BadParameter(f"has more than {MAX_KEY_BYTES} bytes", param_hint=name)
    return key


by_option = click.option(
    "--by", callback=_checked, default=_user, help="Who asks for it. [default: the user of the system]"
)
