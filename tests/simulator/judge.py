"""What is judged when a schedule has ended: reads Airflow, the topics and every table; answers what is wrong."""

from collections import defaultdict
from collections.abc import Iterator
from typing import TYPE_CHECKING

from faust.types import TP

from streamapp.core.effects import Free, Identity, Queued, Settled
from streamapp.core.model import (
    Action,
    Command,
    Entry,
    Holder,
    Ordering,
    Outcome,
    Policy,
    Reason,
    RunState,
    Source,
    Status,
)
from streamapp.core.run_id import run_id
from tests.simulator.airflow import SimRun
from tests.simulator.broker import CHANGELOG, DEAD_LETTERS
from tests.simulator.surroundings import APP, CODEC
from tests.support.history import Sent, violations

if TYPE_CHECKING:
    from tests.simulator.world import World

_ASKED_FOR = {Status.CANCELLED: Action.CANCEL, Status.SKIPPED: Action.SKIP}
"""Endings that only an operator gives."""


def final_violations(world: "World") -> list[str]:
    """The guarantees, an end for every command, and tables that are what their changelogs say."""
    sent = [
        Sent(
            partition=source.partition,
            offset=source.offset,
            key=sending.event.key,
            id=sending.event.content.id,
            ordered=sending.event.policy is not None and sending.event.policy.ordering is Ordering.COMPLETED,
        )
        for source, sending in world.sent.items()
    ]
    airflow, logs = world.airflow, world.broker.logs
    return [
        *(f"{source} has not ended" for source in world.unended()),
        *violations(
            sent=sent,
            runs=[run.judged() for run in [*airflow.runs.values(), *airflow.gone] if not _unheard_of(world, run)],
            outcomes=[one for told in world.told.values() for one in told],
            dead_letters=[one for tp in logs if tp.topic == DEAD_LETTERS for one in logs[tp]],
            complete=False,
        ),
        *_attempts(world),
        *_grounds(world),
        *_bytes(world),
        *_answers(world),
        *_rounds(world),
        *_tables(world),
    ]


def _attempts(world: "World") -> Iterator[str]:
    """Each attempt that an ending counts was a run, or was refused."""
    refused = {
        (one.source, one.attempt)
        for told in world.told.values()
        for one in told
        if one.result is RunState.NOT_CREATED and one.reason is not None
    }
    runs = {run.run_id for run in [*world.airflow.runs.values(), *world.airflow.gone]}
    for told in world.told.values():
        for one in told:
            if one.status.terminal and one.status is not Status.DUPLICATE:
                for attempt in range(1, one.attempt + 1):
                    name = run_id(APP, one.command_id, one.round, attempt)
                    if name not in runs and (one.source, attempt) not in refused:
                        yield f"{one.id} counts {one.attempt} attempts, but {name} was never made"


def _grounds(world: "World") -> Iterator[str]:
    """An ending without a success has a reason in what has happened."""
    asked = defaultdict(set)
    for instruction, partition in world.instructed:
        asked[partition, instruction.command_id].add(instruction.action)
    for told in world.told.values():
        for one in told:
            rules = world.sent[one.source].event.policy if one.source in world.sent else None
            if one.status.terminal and rules is not None:
                actions = asked[one.source.partition, one.command_id]
                yield from (f"{one.id}, {one.reason}: {why}" for why in _groundless(world, one, rules, actions))


def _groundless(world: "World", one: Outcome, rules: Policy, asked: set[Action]) -> Iterator[str]:
    content, name = world.sent[one.source].event.content, run_id(APP, one.command_id, one.round, one.attempt)
    if one.status in _ASKED_FOR and _ASKED_FOR[one.status] not in asked:
        yield "nobody has asked for that"
    if one.status is Status.EXPIRED:
        assert isinstance(content, Command)
        deadline = content.deadline
        if deadline is None or (one.at < deadline and not {"clock_skew", "clock_step"} & world.plan.rates.keys()):
            yield f"its deadline is {deadline}"
    if one.reason is Reason.RUN_FAILED and one.reason in rules.retry_on and one.attempt < rules.max_attempts:
        yield f"of {rules.max_attempts} attempts only {one.attempt} were made"
    if one.reason is Reason.RUN_DELETED and name not in {run.run_id for run in world.airflow.gone}:
        yield "nobody has deleted its run"


def _bytes(world: "World") -> Iterator[str]:
    """A dead letter is the record that it is about."""
    for tp, log in world.broker.logs.items():
        for letter in log if tp.topic == DEAD_LETTERS else ():
            event = world.sent[letter.source].event
            if (letter.key, letter.original) != (event.key, event.original):
                yield f"the dead letter {letter.id} has not the bytes of its record"


def _answers(world: "World") -> Iterator[str]:
    """Each instruction is followed or refused, once, whoever reads it again."""
    answers = defaultdict(set)
    for told in world.told.values():
        for one in told:
            if one.control_id is not None:
                answers[one.control_id, one.source.partition].add(one.status)
    for instruction, partition in world.instructed:
        said = answers[instruction.control_id, partition]
        if len(said) != 1 and not (said and world.plan.prunes):  # repeated after the retention, it is another one
            yield f"{instruction.control_id} on partition {partition} has {len(said)} answers: {said}"


def _rounds(world: "World") -> Iterator[str]:
    """What is taken in opens the round that it asks for."""
    for source, sending in world.sent.items():
        reopens = sending.event.reopens
        for one in world.told.get(source, ()):
            wanted = 1 if reopens is None else reopens.round + 1
            if one.status is Status.ACCEPTED and one.round != wanted:
                yield f"{one.id} opens round {one.round}, not {wanted}"


def _unheard_of(world: "World", run: SimRun) -> bool:
    """Whether a person deleted it before anybody wrote down that it exists; who was told of it may have died."""
    mark = run.conf["_command"]
    told = world.told.get(Source(mark["topic"], mark["partition"], mark["offset"]), [])
    return run.run_id in world.airflow.unknown_deletions and run in world.airflow.gone and not any(
        one.status.terminal and (one.round, one.attempt) >= (mark["round"], mark["attempt"]) for one in told
    )  # fmt: skip


def _tables(world: "World") -> Iterator[str]:
    for number in range(world.plan.partitions):
        owner = world.group.owners.get(number)
        if owner is None or not owner.alive or number not in owner.assignment:
            yield f"nobody owns partition {number}"
            continue
        database = owner.ledger.directory[number]
        log = world.broker.logs[TP(CHANGELOG, number)]
        table: dict[bytes, bytes] = {}
        for key, value in log[: database.offset + 1]:
            if value is None:
                table.pop(key, None)
            else:
                table[key] = value
        behind = len(log) - 1 - database.offset
        if dict(database.rows) != table or (behind and not owner.parts.folds.open):
            yield f"the table of partition {number} is not what its changelog says, {behind} records behind"
        yield from _form(number, table, prunes=world.plan.prunes)


def _form(number: int, table: dict[bytes, bytes], *, prunes: bool) -> Iterator[str]:
    """One place for each entry, and an id row that names an entry of that id.

    A crash between the removals of an entry leaves the entry: its id row goes first.
    """
    places = defaultdict(list)
    holders: dict[str, Holder] = {}
    entries: dict[int, Entry] = {}
    for raw, value in table.items():
        key, row = CODEC.parse_key(raw), CODEC.parse_row(value)
        if isinstance(key, Identity):
            assert isinstance(row, Holder)
            holders[key.id] = row
        elif isinstance(key, Queued | Free | Settled):
            assert isinstance(row, Entry)
            places[key.offset].append(key)
            entries[key.offset] = row
    for offset, found in places.items():
        if len(found) > 1:
            yield f"the entry {number}-{offset} stands in {len(found)} places: {found}"
    for entry in entries.values():
        holder = holders.get(entry.id)
        if not prunes and entry.status not in {Status.DUPLICATE, Status.REJECTED} and holder is None:
            yield f"nothing remembers the id {entry.id} of {entry.source}"
        if holder is not None and holder.offset not in entries:
            yield f"the id {entry.id} is held by {holder.offset}, of which there is no entry"
