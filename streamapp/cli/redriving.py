"""Reads: what is known of dead letters and of commands that block their keys. Writes: nothing. What a redrive does."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from streamapp.cli.choosing import Chosen
from streamapp.cli.letters import Letter, Search, State
from streamapp.cli.rounds import Place, Told
from streamapp.core.key import usable_key
from streamapp.core.model import Action, Instruction, Outcome, Reopens
from streamapp.settings import Settings
from streamapp.wire.outgoing import Outgoing
from streamapp.wire.reopens import reopening

NO_VALUE = "it has no value and would be rejected again: --edit gives it one"
TOO_LARGE = "it is too large and would be rejected again: --edit or --params make it smaller"
KEY_TOO_LONG = "its key is too long and would be rejected again"


class Way(StrEnum):
    """Where the next run of a command stands in the order of its key."""

    IN_PLACE = "in place"
    """Before everything that waits behind it: it still holds its key."""
    AT_END = "at the end"
    """Behind everything of its key that was sent before: its key has moved on."""
    NOT = "not redriven"


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What is done about one failed command."""

    id: str
    """The `dlq.id`; that which the dead letter would have, where the command still holds its key."""
    place: Place
    way: Way
    why: str
    letter: Letter | None = None
    blocked: Outcome | None = None


def plan(settings: Settings, chosen: Chosen, found: Search, now: datetime) -> list[Step]:
    """A step for each failed command that is meant, in the order of partitions and offsets.

    Args:
        settings: Of this installation.
        chosen: What is meant; a limit counts what is really redriven.
        found: What was read.
        now: The time.
    """
    steps = [_at_end(settings, chosen, found, letter, now) for letter in found.letters]
    lettered = {(step.place, step.id) for step in steps}
    steps += [
        step
        for place, told in found.rounds.all_told()
        if (step := _in_place(chosen, place, told)) is not None and (place, step.id) not in lettered
    ]
    steps.sort(key=lambda step: (step.place, step.id))
    return list(_limited(steps, chosen.limit))


def _limited(steps: list[Step], limit: int | None) -> Iterator[Step]:
    left = limit
    for step in steps:
        if step.way is not Way.NOT and left is not None:
            if left == 0:
                return
            left -= 1
        yield step


def _at_end(settings: Settings, chosen: Chosen, found: Search, letter: Letter, now: datetime) -> Step:
    dead, source = letter.letter, letter.letter.source
    way, why = Way.NOT, ""
    if letter.follower is not None:
        follower = letter.follower[0].place
        why = f"already redriven as {settings.commands_topic}-{follower[0]}-{follower[1]}: {letter.became}"
    elif letter.state is State.DISCARDED and dead.id not in chosen.ids:
        why = "discarded"
    elif found.commands_ends.get(source.partition, 0) <= source.offset:
        why = f"{settings.commands_topic} has no such record any more: the topic was made anew"
    elif dead.key is not None and usable_key(dead.key) is None:
        why = KEY_TOO_LONG
    elif dead.original.value is None:
        why = NO_VALUE
    elif record_of(letter, dead.original.value).size > settings.max_command_bytes:
        why = TOO_LARGE
    else:
        way = Way.AT_END
        if letter.told is None and dead.at < now - settings.retention:
            why = "no longer known: it is taken as it stands there"
    return Step(id=dead.id, place=(source.partition, source.offset), way=way, why=why, letter=letter)


def _in_place(chosen: Chosen, place: Place, told: Told) -> Step | None:
    last = told.last
    id_ = f"{last.source}-{last.round}"
    if id_ not in chosen.ids and not told.blocked:
        return None
    if not chosen.takes(id=id_, reason=last.reason or "", key=last.key, partition=place[0], at=last.at):
        return None
    if not chosen.names(command=last.command, dag=last.dag_id):
        return None
    if told.blocked:
        return Step(id=id_, place=place, way=Way.IN_PLACE, why="", blocked=last)
    status = "it is tried again already" if told.retried else f"it has not failed for good: {last.status}"
    return Step(id=id_, place=place, way=Way.NOT, why=status, blocked=last)


def record_of(letter: Letter, value: bytes | None) -> Outgoing:
    """The record that opens the next round of a dead letter's command, with its value or another one."""
    dead = letter.letter
    return reopening(dead.key, replace(dead.original, value=value), Reopens(dead.source, dead.round))


def instruction_of(step: Step, by: str, at: datetime) -> Instruction:
    """Another attempt in the same place; the same instruction however often it is given for this failure."""
    assert step.blocked is not None
    return Instruction(
        control_id=f"redrive-{step.id}.{step.blocked.attempt}",
        action=Action.RETRY,
        command_id=step.blocked.command_id,
        by=by,
        reason="redrive",
        at=at,
    )
