"""Reads a command's fields and says whether they make a command. Writes nothing."""

import re
from typing import Any
from uuid import UUID

from streamapp.core.errors import Unprocessable
from streamapp.core.model import Command, Reason
from streamapp.wire import strict_json
from streamapp.wire.fields import ReadTime, WrongField, conform
from streamapp.wire.headers import CE_ID, Headers, last
from streamapp.wire.records import CommandRecord
from streamapp.wire.schemas import COMMAND

MAX_COMMAND_LENGTH = 250
"""Airflow's limit for the name of a DAG."""
MAX_ID_LENGTH = 500
"""Ids stand in every row, outcome and log line."""

RESERVED = "_command"
"""The name in a run's `conf` under which the run is told of its command."""

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


def check_command(fields: dict[str, Any], read_time: ReadTime, headers: Headers, position_id: str) -> Command:
    """The command.

    Raises:
        Unprocessable: It can never run.
    """
    if not isinstance(fields.get("params", ""), str | None):
        detail = 'params must be a string that holds a JSON object, such as "{\\"n\\": 1}": write the object as text.'
        raise Unprocessable(Reason.INVALID_PARAMS, detail)
    try:
        record = CommandRecord(**conform(fields, COMMAND, read_time))
        _check_name(record.command)
        id_ = _explicit_id(record.id, headers)
        for name, text in (("correlation_id", record.correlation_id), ("causation_id", record.causation_id)):
            _check_text(name, text or "")
    except WrongField as error:
        raise Unprocessable(Reason.INVALID_COMMAND, str(error)) from error
    _check_params(record.params)
    return Command(
        command=record.command,
        params=record.params,
        id=position_id if id_ is None else id_,
        not_before=record.not_before,
        deadline=record.deadline,
        correlation_id=record.correlation_id,
        causation_id=record.causation_id,
    )


def shown_id(fields: dict[str, Any], headers: Headers) -> str | None:
    """The explicit id of a command that is rejected, if it has a usable one."""
    field = fields.get("id")
    try:
        return _explicit_id(str(field) if isinstance(field, str | UUID) else None, headers)
    except WrongField:
        return None


def shown_command(fields: dict[str, Any]) -> str | None:
    """The name of a command that is rejected, if it is usable as text."""
    name = fields.get("command")
    if not isinstance(name, str) or len(name) > MAX_COMMAND_LENGTH or _CONTROL.search(name):
        return None
    return name


def _explicit_id(field: str | None, headers: Headers) -> str | None:
    """From the field, else from the header."""
    name, id_ = "id", field
    header = last(headers, CE_ID)
    if field is None and header is not None:
        name = f"header {CE_ID}"
        try:
            id_ = header.decode()
        except UnicodeDecodeError:
            raise WrongField(f"The {name} is not UTF-8.") from None
    if id_ is None:
        return None
    if not id_:
        raise WrongField(f"The {name} is empty: leave it out or give one.")
    _check_text(name, id_)
    return id_


def _check_text(name: str, text: str) -> None:
    if len(text) > MAX_ID_LENGTH:
        raise WrongField(f"The {name} has {len(text)} characters; at most {MAX_ID_LENGTH} are allowed.")
    if _CONTROL.search(text):
        raise WrongField(f"The {name} has control characters in it.")


def _check_name(command: str) -> None:
    if not command.strip():
        raise WrongField("The command is empty.")
    if len(command) > MAX_COMMAND_LENGTH:
        raise WrongField(f"The command has {len(command)} characters; at most {MAX_COMMAND_LENGTH} are allowed.")
    if _CONTROL.search(command):
        raise WrongField("The command has control characters in it.")
    if not command.partition(".")[2].strip():
        raise WrongField("The command must be like app.<dag id>: a word, a dot, a name.")


def _check_params(params: str) -> None:
    try:
        content = strict_json.loads(params)
    except strict_json.NotStrictJson as error:
        detail = f'params must be a JSON object as text, such as "{{}}": {error}.'
        raise Unprocessable(Reason.INVALID_PARAMS, detail) from error
    if RESERVED in content:
        detail = f"params must not have {RESERVED} in it: the run finds its command there."
        raise Unprocessable(Reason.INVALID_PARAMS, detail)
    # The test on the text is cheap; what it suspects may still be an escaped backslash.
    if "\\u0000" in params and "\\u0000" in strict_json.dumps(content).decode().replace("\\\\", ""):
        detail = "params has a string with \\u0000 in it, which Airflow's database can't store."
        raise Unprocessable(Reason.INVALID_PARAMS, detail)
