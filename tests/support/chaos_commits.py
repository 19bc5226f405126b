"""Reads: committed offsets, the three logs, the changelog. Writes: nothing. What is committed must be on record.

Of a committed command something was told. Of a committed observation there is what followed from it: the row of the
run, or a verdict. Of a committed deadline there is the row that the command is to end, or that a run came first; of any
other instruction there is the answer.
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from streamapp.core.effects import EntryKey
from streamapp.core.model import OBSERVATIONS, TERMINAL, Action, RunState, Status
from streamapp.wire.rows import parse_key
from tests.support.installation import Installation, Outcome, place_of
from tests.support.topics_reader import Record

Place = tuple[int, int]
"""Partition and offset of a command."""
Turn = tuple[int, int]
"""Round and attempt."""
WAITING = {Status.ACCEPTED, Status.ATTEMPT_FAILED}
WITHOUT_RUN = {RunState.NOT_CREATED, RunState.DUPLICATE}
ANSWERS = {Status.INSTRUCTION_APPLIED, Status.INSTRUCTION_REFUSED}
ENDS_ATTEMPT = {*TERMINAL, Status.BLOCKED, Status.ATTEMPT_FAILED}


@dataclass(frozen=True)
class Row:
    """What matters of an entry's row."""

    turn: Turn
    status: Status
    ending: Status | None


@dataclass(frozen=True)
class Seen:
    """An observation."""

    place: Place
    turn: Turn
    status: Status
    result: RunState | None


@dataclass
class Recorded:
    """What stands on the topics, as far as it was read."""

    told: set[Place] = field(default_factory=set)
    verdicts: defaultdict[Place, set[tuple[Turn, Status]]] = field(default_factory=lambda: defaultdict(set))
    observations: dict[Place, Seen] = field(default_factory=dict)
    """By their own place on the results topic."""
    seen: set[Place] = field(default_factory=set)
    """Commands of which something was observed."""
    rows: defaultdict[Place, set[Row]] = field(default_factory=lambda: defaultdict(set))
    holders: defaultdict[tuple[int, str], set[Place]] = field(default_factory=lambda: defaultdict(set))
    """Accepted commands by partition and id."""
    deadlines: dict[Place, str] = field(default_factory=dict)
    """By their own place on the control topic: the id of the command whose time is over."""
    instructions: dict[Place, str] = field(default_factory=dict)
    """By their own place on the control topic: the ids of all others."""
    answered: set[tuple[int, str]] = field(default_factory=set)
    """By partition: the ids of instructions that have an answer."""
    _read: dict[str, int] = field(default_factory=dict)

    def look(self, site: Installation) -> None:
        """Read on."""
        for outcome in self._fresh("results", site.outcomes()):
            self.tell(outcome)
        for record in self._fresh("control", site.records("-control")):
            self.instruct(record)
        for record in self._fresh("changelog", site.records_of(f"{site.name}-dispatches-changelog")):
            self.log(record)

    def _fresh(self, name: str, everything: list[Any]) -> list[Any]:
        before, self._read[name] = self._read.get(name, 0), len(everything)
        return everything[before:]

    def tell(self, outcome: Outcome) -> None:
        """Note a record of the results topic."""
        place, turn, status = place_of(outcome), (outcome["round"], outcome["attempt"]), Status(outcome["status"])
        if status in ANSWERS:
            self.answered.add((outcome["record"].partition, outcome["control_id"]))
            return
        self.told.add(place)
        if status in OBSERVATIONS:
            result = RunState(outcome["result"]) if outcome.get("result") else None
            self.observations[outcome["record"].place] = Seen(place, turn, status, result)
            self.seen.add(place)
        elif status in ENDS_ATTEMPT:
            self.verdicts[place].add((turn, status))

    def instruct(self, record: Record) -> None:
        """Note a record of the control topic."""
        fields = json.loads(record.value or b"{}")
        if fields.get("action") == Action.EXPIRE:
            self.deadlines[record.place] = fields["command_id"]
        elif "control_id" in fields:
            self.instructions[record.place] = fields["control_id"]

    def log(self, record: Record) -> None:
        """Note a record of the changelog."""
        assert record.key is not None
        key = parse_key(record.key)
        if record.value is None or not isinstance(key, EntryKey):
            return
        fields = json.loads(record.value.partition(b"\n")[0])
        place, ending = (record.partition, key.offset), fields.get("ending")
        row = Row((fields["round"], fields["attempt"]), Status(fields["status"]), Status(ending) if ending else None)
        self.rows[place].add(row)
        if row.status is Status.ACCEPTED:
            self.holders[record.partition, fields["id"]].add(place)


def unrecorded(committed: Mapping[str, Mapping[int, int]], recorded: Recorded) -> list[str]:
    """Committed records of which nothing came.

    Args:
        committed: The offsets of each log (commands, results, control) by partition, asked for before the topics were.
        recorded: What stands on them.
    """
    return [
        *_commands(committed["commands"], recorded),
        *_results(committed["results"], recorded),
        *_control(committed["control"], recorded),
    ]


def _commands(ends: Mapping[int, int], recorded: Recorded) -> Iterable[str]:
    for place in ((number, offset) for number, end in ends.items() for offset in range(end)):
        if place not in recorded.told:
            yield f"G4: command {place} is committed, and nothing was told of it"


def _results(ends: Mapping[int, int], recorded: Recorded) -> Iterable[str]:
    for (number, offset), seen in recorded.observations.items():
        if offset >= ends.get(number, 0):
            continue
        what = f"G4: result {(number, offset)} is committed, and"
        runs = any(_shows_run(row, seen.turn) for row in recorded.rows[seen.place])
        if seen.status is Status.TRIGGERED and not runs:
            yield f"{what} the changelog knows no run of {seen.place} {seen.turn}"
        if seen.status is Status.RUN_ENDED and not _has_verdict(recorded.verdicts[seen.place], seen.turn):
            if runs and seen.result in WITHOUT_RUN:
                continue  # another worker has made it: it is followed to its end
            yield f"{what} nothing was decided about the end of {seen.place} {seen.turn}"


def _has_verdict(verdicts: set[tuple[Turn, Status]], turn: Turn) -> bool:
    """An attempt that came to no run is not counted: its verdict names the one before."""
    return any(
        told[0] == turn[0] and (told >= turn or status is not Status.ATTEMPT_FAILED) for told, status in verdicts
    )


def _shows_run(row: Row, turn: Turn) -> bool:
    later = row.turn > turn or (row.turn == turn and row.status is not Status.ACCEPTED)
    return later or (row.turn[0] == turn[0] and row.status in TERMINAL)


def _control(ends: Mapping[int, int], recorded: Recorded) -> Iterable[str]:
    for (number, offset), command_id in recorded.deadlines.items():
        places = recorded.holders[number, command_id]
        if offset < ends.get(number, 0) and not any(_no_longer_waits(place, recorded) for place in places):
            yield f"G4: instruction {(number, offset)} is committed, and {command_id} waits as if it had no deadline"
    for (number, offset), control_id in recorded.instructions.items():
        if offset < ends.get(number, 0) and (number, control_id) not in recorded.answered:
            yield f"G4: instruction {(number, offset)} is committed, and {control_id} has no answer"


def _no_longer_waits(place: Place, recorded: Recorded) -> bool:
    """Whether it is to end, or a run came before its deadline."""
    rows = recorded.rows[place]
    return place in recorded.seen or any(row.ending is not None or row.status not in WAITING for row in rows)
