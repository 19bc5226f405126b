"""Reads: dead letters, commands, results. Writes: records to the commands topic, retries to the control topic."""

import json
from collections import Counter
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import click

from streamapp.cli.asking import by_option, utf8
from streamapp.cli.choosing import Chosen, choosing
from streamapp.cli.control import Order, control
from streamapp.cli.dead_letters import check_selection, fail_for_missing
from streamapp.cli.deliver import Parcel, deliver
from streamapp.cli.instructing import REFUSED, UNANSWERED
from streamapp.cli.letters import Letter, search
from streamapp.cli.options import DurationType, with_settings
from streamapp.cli.output import print_json, printable, say
from streamapp.cli.parts import registry_of
from streamapp.cli.redriving import NO_VALUE, TOO_LARGE, Step, Way, instruction_of, plan, record_of
from streamapp.cli.running import run_work
from streamapp.cli.values import Shown, Values
from streamapp.clock import SystemClock
from streamapp.core.errors import ConfigError
from streamapp.core.model import Rejection
from streamapp.settings import Settings
from streamapp.wire import strict_json
from streamapp.wire.codec import CommandDecoder


@click.command()
@click.argument("ids", metavar="DLQ_ID…", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="All that the filters let through.")
@choosing
@click.option("--edit", is_flag=True, help="Change one letter's value in $EDITOR first.")
@click.option("--params", metavar="JSON", help="Give one letter these params, a JSON object, instead of its own.")
@click.option("--dry-run", is_flag=True, help="Show what would happen; write nothing.")
@by_option
@click.option("--wait/--no-wait", default=True, show_default=True, help="Wait for what becomes of retries in place.")
@click.option("--timeout", type=DurationType(), default="30s", show_default=True, help="How long.")
@with_settings
def redrive(
    *,
    settings: Settings,
    as_json: bool,
    chosen: Chosen,
    everything: bool,
    edit: bool,
    params: str | None,
    dry_run: bool,
    by: str,
    wait: bool,
    timeout: timedelta,
) -> None:
    """Run failed commands again.

    A command that still blocks its key is tried again in place, before everything that waits behind it. One that has
    left a dead letter has let its key go on: it is sent again, and stands at the end of its key, behind everything
    that was sent before. Each line says which of the two it is.

    A dead letter is redriven once: the workers refuse a second record for it as a duplicate, and what is seen to be
    redriven already is passed over. So the same call, given again after it was interrupted, does the rest.

    Exit codes: 1 when one that is named is not known, or was refused; 3 when there is no answer in time to a retry in
    place. Nothing left to do is 0.

    \b
    Examples:
      streamapp redrive commands-3-1042-1
      streamapp redrive commands-3-1042-1 --params '{"email": "test@email.com"}'
      streamapp redrive --reason run_failed --dag send_email_alert --since 2h --dry-run
      streamapp redrive --all
    """  # noqa: D301
    check_selection(chosen, everything=everything)
    if (edit or params is not None) and len(chosen.ids) != 1:
        raise click.UsageError("--edit and --params go with one DLQ_ID")
    if edit and params is not None:
        raise click.UsageError("give --edit or --params, not both")
    new_params = _new_params(params)
    clock = SystemClock()
    found = run_work(search(settings, chosen, blocked=_may_block(chosen)))
    steps = plan(settings, chosen, found, clock.now())
    if chosen.ids - {step.id for step in steps} and not _may_block(chosen):
        found = run_work(search(settings, chosen, blocked=True))  # what is named may hold its key still
        steps = plan(settings, chosen, found, clock.now())
    values: dict[str, bytes] = {}
    if edit or params is not None:
        steps = [_mendable(step) for step in steps]
        values = {
            step.id: run_work(changed_value(settings, step.letter, new_params, edit=edit))
            for step in steps
            if step.way is Way.AT_END and step.letter is not None
        }
    if dry_run:
        for step in steps:
            _tell(settings, step, as_json=as_json, word="would be ")
    else:
        answers = run_work(_redrive(settings, steps, values, by, timeout if wait else None, as_json=as_json))
    _sum_up(steps, dry_run=dry_run)
    fail_for_missing(settings, chosen, {step.id for step in steps})
    if not dry_run:
        _fail_for_answers(answers)


def _may_block(chosen: Chosen) -> bool:
    """Commands that hold their keys have no dead letter yet: the results have to be read from the beginning."""
    return not chosen.ids


def _mendable(step: Step) -> Step:
    """With another value: only what is sent again has one."""
    if step.way is Way.IN_PLACE:
        raise ConfigError(
            f"{step.id} holds its key and is tried again as it is: to change it, release its key first; "
            "its dead letter can then be redriven with another value"
        )
    if step.why in {NO_VALUE, TOO_LARGE}:
        return Step(id=step.id, place=step.place, way=Way.AT_END, why="", letter=step.letter)
    return step


async def _redrive(
    settings: Settings,
    steps: Sequence[Step],
    values: dict[str, bytes],
    by: str,
    wait: timedelta | None,
    *,
    as_json: bool,
) -> Counter[str]:
    answers: Counter[str] = Counter()
    for step in steps:
        if step.way is Way.NOT:
            _tell(settings, step, as_json=as_json)
    in_place = [step for step in steps if step.way is Way.IN_PLACE]
    if in_place:
        now = SystemClock().now()
        orders = {Order(instruction_of(step, by, now), step.place[0]): step for step in in_place}
        async with control(settings) as desk:
            for reply in await desk.give(orders, wait):
                word = "given" if reply.outcome is None else "refused" if reply.refused else "applied"
                answers["unanswered" if word == "given" and wait is not None else word] += 1
                detail = reply.outcome.detail if reply.refused and reply.outcome else None
                _tell(settings, orders[reply.order], as_json=as_json, answer=word, detail=detail)
    parcels = [
        Parcel(step, settings.commands_topic, step.place[0], _record(step.letter, values.get(step.id)))
        for step in steps
        if step.way is Way.AT_END and step.letter is not None
    ]
    async for parcel, offset in deliver(settings, parcels, label="redriving"):
        _tell(settings, parcel.what, as_json=as_json, offset=offset)
    return answers


def _record(letter: Letter, value: bytes | None) -> Any:
    return record_of(letter, letter.letter.original.value if value is None else value)


# Another value


def _new_params(params: str | None) -> dict[str, Any] | None:
    if params is None:
        return None
    try:
        return strict_json.loads(utf8(params, "--params"))
    except strict_json.NotStrictJson as error:
        raise click.BadParameter(str(error), param_hint="--params") from None


async def changed_value(
    settings: Settings, letter: Letter, params: dict[str, Any] | None = None, *, edit: bool = False
) -> bytes:
    """The value that is sent instead, with other params or as somebody edits it.

    Raises:
        ConfigError: It would be rejected again, or the record's form has no place for it.
    """
    registry = registry_of(settings)
    before, shown = letter.letter.original.value, letter.shown
    fields = _edited(letter) if edit else {**_readable(letter.letter.id, shown), "params": params}
    value = await Values(registry).write(before, fields)
    record = record_of(letter, value)
    verdict = await CommandDecoder(registry, settings.max_command_bytes).decode(
        source=letter.letter.source,
        key=record.key,
        value=record.value,
        headers=record.headers,
        recorded_at=letter.letter.at,
    )
    if isinstance(verdict, Rejection):
        raise ConfigError(
            f"the changed command would be rejected, {verdict.reason}: {verdict.detail}; nothing was sent"
        )
    return value


def _readable(id_: str, shown: Shown) -> dict[str, Any]:
    if shown.fields is None:
        why = f" ({shown.note})" if shown.note else ""
        raise ConfigError(f"the value of {id_} can't be read{why}, so no part of it can be replaced")
    return shown.fields


def _edited(letter: Letter) -> dict[str, Any]:
    shown = letter.shown
    if shown.wire == "bytes":
        _readable(letter.letter.id, shown)
    empty = {"command": letter.command or "", "params": {}}
    text = shown.text if shown.wire == "text" else json.dumps(shown.fields or empty, ensure_ascii=False, indent=2)
    edited = click.edit(f"{text}\n", extension=".json")
    if edited is None:
        raise click.ClickException("nothing was changed and saved in the editor; nothing was sent")
    try:
        return strict_json.loads(edited)
    except strict_json.NotStrictJson as error:
        raise ConfigError(f"what the editor has saved is no command: {error}; nothing was sent") from None


# What is said


def _tell(
    settings: Settings,
    step: Step,
    *,
    as_json: bool,
    word: str = "",
    offset: int | None = None,
    answer: str | None = None,
    detail: str | None = None,
) -> None:
    why = detail or step.why
    if as_json:
        fields: dict[str, Any] = {"id": step.id, "way": step.way, "why": why or None, "partition": step.place[0]}
        if offset is not None:
            fields["offset"] = offset
        if answer is not None:
            fields["answer"] = answer
        print_json(fields)
        return
    if step.way is Way.NOT:
        click.echo(f"{step.id}  {step.way}: {printable(why)}")
        return
    what = f"{word}redriven {step.way}"
    if step.way is Way.IN_PLACE:
        what += ", before what waits for it"
    elif step.letter is not None:
        what += " of its key" if step.letter.letter.key is not None else " of its partition"
    topic = settings.commands_topic if step.way is Way.AT_END else settings.control_topic
    where = f"{topic} partition {step.place[0]}" + (f" offset {offset}" if offset is not None else "")
    said = f": {answer}" if answer else ""
    click.echo(f"{step.id}  {what}, {where}{said}" + (f" ({printable(why)})" if why else ""))


def _sum_up(steps: Sequence[Step], *, dry_run: bool) -> None:
    ways = Counter(step.way for step in steps)
    counted = f"{ways[Way.AT_END]} at the end of their keys, {ways[Way.IN_PLACE]} in place, {ways[Way.NOT]} not"
    places = Counter(step.place[0] for step in steps if step.way is not Way.NOT)
    spread = ", ".join(f"{number} ({count})" for number, count in sorted(places.items()))
    say(
        f"{'would be redriven' if dry_run else 'redriven'}: {counted}" + (f"; on partitions {spread}" if spread else "")
    )


def _fail_for_answers(answers: Counter[str]) -> None:
    if answers["refused"]:
        raise click.exceptions.Exit(REFUSED)
    if answers["unanswered"]:
        say("what was given stands: a worker will see to it. `streamapp doctor` tells whether one is at work")
        raise click.exceptions.Exit(UNANSWERED)
