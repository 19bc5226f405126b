"""Reads: what is asked for. Writes: it to the control topic, and what became of it to stdout."""

import asyncio
from collections.abc import Callable, Sequence
from itertools import groupby
from typing import Any

import click

from streamapp.cli.asking import Asking
from streamapp.cli.control import Order, Reply, control
from streamapp.cli.locating import Locator
from streamapp.cli.output import print_json, printable, say
from streamapp.cli.running import run_work
from streamapp.core.key import show_key
from streamapp.core.model import Action
from streamapp.wire.times import to_text

REFUSED = 1
UNANSWERED = 3
"""The exit code where an instruction was given and nobody has said in time what became of it."""

_COLOURS = {"applied": "green", "refused": "red"}


def about_commands(asked: Asking, action: Action, ids: Sequence[str], keys: Sequence[bytes]) -> None:
    """Ask for something about commands; raises the exit code that fits the answers."""
    if len(keys) > 1:
        raise click.UsageError("give one of --key and --key-base64")

    def orders(locator: Locator) -> list[Order]:
        places = locator.commands(ids, keys[0] if keys else None)
        return [Order(asked.instruction(action, command_id=one), place) for one, place in places.items()]

    replies = _give(asked, orders)
    given = {reply.order.instruction.command_id for reply in replies}
    finish(asked, replies, unknown=[one for one in ids if one not in given])


def about_keys(asked: Asking, action: Action, keys: Sequence[bytes]) -> None:
    """Ask for something about keys; raises the exit code that fits the answers."""
    if not keys:
        raise click.UsageError("give --key or --key-base64")
    finish(
        asked,
        _give(asked, lambda locator: [Order(asked.instruction(action, key=key), locator.key(key)) for key in keys]),
    )


def about_dags(asked: Asking, action: Action, dags: Sequence[str], *, every: bool) -> None:
    """Ask for something about DAGs, on all partitions; raises the exit code that fits the answers."""
    if bool(dags) == every:
        raise click.UsageError("give --dag or --all")
    names = [None] if every else list(dict.fromkeys(dags))

    def orders(locator: Locator) -> list[Order]:
        return [Order(asked.instruction(action, dag_id=dag), at) for dag in names for at in locator.everywhere()]

    finish(asked, _give(asked, orders))


def _give(asked: Asking, where: Callable[[Locator], list[Order]]) -> list[Reply]:
    async def run() -> list[Reply]:
        async with control(asked.settings) as desk:
            locator = Locator(asked.settings, asked.worker, desk.partitions, asked.partition)
            orders = await asyncio.to_thread(where, locator)  # it waits for workers: Ctrl-C must come through meanwhile
            return await desk.give(orders, asked.wait) if orders else []

    return run_work(run())


def finish(asked: Asking, replies: list[Reply], unknown: Sequence[str] = ()) -> None:
    """Tell what became of it, and end with the exit code that fits."""
    if asked.as_json:
        for reply in replies:
            print_json(_fields(reply))
        for one in unknown:
            print_json({"control_id": asked.control_id, "command_id": one, "partition": None, "answer": "unknown"})
    else:
        for (what, word, detail), group in groupby(sorted(replies, key=_line), key=_line):
            numbers = [reply.order.partition for reply in group]
            places = f"partition{'s' * (len(numbers) > 1)} {', '.join(map(str, numbers))}"
            shown = click.style(word, fg=_COLOURS.get(word))
            click.echo(f"{printable(what)}  {shown}  {places}" + (f"  ({printable(detail)})" if detail else ""))
    for one in unknown:
        say(f"{printable(one)}: no worker knows a command of this id; if it has not been read yet, name its --key")
    if unknown or any(reply.refused for reply in replies):
        raise click.exceptions.Exit(REFUSED)
    if asked.wait is not None and any(reply.outcome is None for reply in replies):
        say("what was given stands: a worker will see to it. `streamapp doctor` tells whether one is at work")
        raise click.exceptions.Exit(UNANSWERED)


def _line(reply: Reply) -> tuple[str, str, str]:
    about = reply.order.instruction
    what = about.command_id or (f"key {show_key(about.key)}" if about.key is not None else about.dag_id) or "all DAGs"
    if reply.outcome is None:
        return what, "given", ""
    return what, "applied" if reply.applied else "refused", reply.outcome.detail or ""


def _fields(reply: Reply) -> dict[str, Any]:
    about, outcome = reply.order.instruction, reply.outcome
    return {
        "control_id": about.control_id,
        "action": about.action,
        "command_id": about.command_id,
        "key": show_key(about.key),
        "dag_id": about.dag_id,
        "partition": reply.order.partition,
        "answer": None if outcome is None else "applied" if reply.applied else "refused",
        "detail": outcome.detail if outcome else None,
        "at": to_text(outcome.at) if outcome else None,
    }
