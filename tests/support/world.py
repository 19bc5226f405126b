"""A worker's real core, folds and index between modelled logs and a modelled Airflow; each step is taken by hand.

One partition, one worker at a time. A crash loses the worker and, of what was in flight, everything but a prefix that
the test chooses; the next worker starts from the committed offsets, with the old database or a new one.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from streamapp.core.effects import Bury, Decision, Emit, RowKey, Scope
from streamapp.core.events import CommandReceived, Event, Instructed, Observed
from streamapp.core.model import (
    Action,
    Command,
    Entry,
    Instruction,
    Outcome,
    Reason,
    Reopens,
    RunState,
    Source,
    Status,
    Timings,
)
from streamapp.core.run_id import run_id
from streamapp.dispatch.fold import Folds
from streamapp.dispatch.partitions import Partitions
from streamapp.dispatch.ready import Note, Ready
from streamapp.wire import rows
from tests.support.builders import TOPIC, command, policy, received
from tests.support.history import Run, Sent, violations
from tests.support.manual_clock import ManualClock
from tests.support.memory import Log, MemoryLedger, MemoryOutlet, Receipt, Turns

COMMANDS, RESULTS, CONTROL = (TOPIC, 0), ("results", 0), ("control", 0)
ALL_LOGS = (COMMANDS, RESULTS, CONTROL)
APP = "app"


@dataclass
class ModelRun:
    """A run in the modelled Airflow."""

    entry: Entry
    run_id: str
    attempt: int
    start: datetime
    end: datetime | None = None
    state: str = "running"


@dataclass
class Try:
    """A dispatch that the sink has."""

    note: Note
    entry: Entry
    answer: Outcome | None = None


@dataclass
class Worker:
    """What a crash takes with it."""

    folds: Folds
    ready: Ready
    partitions: Partitions
    turns: Turns
    positions: dict[tuple[str, int], int]
    acked: dict[tuple[str, int], int]
    tries: list[Try] = field(default_factory=list)
    followed: dict[int, Entry] = field(default_factory=dict)
    reported: set[tuple[int, int]] = field(default_factory=set)
    failures: list[BaseException] = field(default_factory=list)


class World:
    """The parts, and the steps that may be taken.

    Args:
        commands: The records of the commands topic, offset by offset.
        fate: What becomes of each attempt of a command: `success`, `fail`, `unstarted`, `deleted` or `refused`; the
            last one of a command's list holds for all further attempts.
    """

    def __init__(
        self, commands: Iterable[CommandReceived], fate: Callable[[int], list[str]] = lambda _: ["success"]
    ) -> None:
        self.commands = list(commands)
        self.sent = len(self.commands)
        """What stands behind these are redrives."""
        self.fate = fate
        self.clock = ManualClock()
        self.ledger = MemoryLedger()
        self.outlet = CheckedOutlet()
        self.control = Log()
        self.committed = dict.fromkeys(ALL_LOGS, 0)
        self.runs: dict[str, ModelRun] = {}
        self.gone: list[ModelRun] = []
        self.ticks = 0
        self.start()

    # The worker

    def start(self) -> None:
        """A worker takes the partition over."""
        turns, failures = Turns(), []
        ready = Ready(self.clock, wake=lambda: None)
        self.worker = Worker(
            folds=Folds(self.ledger, self.outlet, self, soon=turns, fail=failures.append),
            ready=ready,
            partitions=Partitions(self.ledger, rows, self),
            turns=turns,
            positions=dict(self.committed),
            acked=dict(self.committed),
            failures=failures,
        )
        self.outlet.safe_after.clear()
        list(self.worker.partitions.rebuild({0}))

    def track(self, entry: Entry) -> None:
        """What the index is told; by then the row is in the changelog."""
        assert rows.row_value(entry) in {value for _, value in self.ledger.changelogs[0].records}
        self.worker.ready.track(entry)
        self.worker.followed.pop(entry.source.offset, None)
        if entry.status is Status.TRIGGERED:
            self.worker.followed[entry.source.offset] = entry

    inherit = track

    def drop(self, partitions: frozenset[int]) -> None:
        self.worker.ready.drop(partitions)

    def steer(self, partition: int, scope: Scope, *, stopped: bool) -> None:
        self.worker.ready.steer(partition, scope, stopped=stopped)

    # Operators

    def instruct(self, action: Action, **about: Any) -> None:
        """An operator gives an instruction."""
        number = len(self.control.records) + len(self.control.in_flight)
        self.control.send(
            Instruction(control_id=f"ann-{number}", action=action, by="ann", at=self.clock.now(), **about)
        )

    def redrive(self, told: Outcome) -> None:
        """An operator has a command that has ended run again, at the end of its key."""
        before, offset = self.commands[told.source.offset], len(self.commands)
        again = before.content if isinstance(before.content, Command) else command(id=told.command_id)
        event = received(
            offset, key=before.key, content=replace(again, deadline=None), policy=before.policy or policy()
        )
        self.commands.append(replace(event, reopens=Reopens(told.source, told.round)))

    def records(self, source: tuple[str, int]) -> list[Any]:
        if source == COMMANDS:
            return self.commands
        return self.outlet.results[0].records if source == RESULTS else self.control.records

    def waiting(self, source: tuple[str, int]) -> bool:
        """Whether a record of the log can be folded."""
        return self.worker.folds.failed is None and self.worker.positions[source] < len(self.records(source))

    def deliver(self, source: tuple[str, int]) -> Decision:
        """Fold the next record of a log."""
        offset = self.worker.positions[source]
        self.worker.positions[source] += 1
        partition = self.worker.partitions.get(0)
        assert partition is not None
        worker = self.worker

        def ack() -> None:
            assert worker.acked[source] == offset, f"{source} {offset} was acked after {worker.acked[source]}"
            worker.acked[source] += 1

        decision = worker.folds.fold(source, partition, self._event(source, offset), ack)
        changelog = self.ledger.changelogs[0]
        self.outlet.note(decision.effects, len(changelog.records) + len(changelog.in_flight), changelog)
        return decision

    def _event(self, source: tuple[str, int], offset: int) -> Event:
        record = self.records(source)[offset]
        if source == COMMANDS:
            return replace(record, at=self.clock.now())
        if source == RESULTS:
            return Observed(key=record.key, outcome=record, at=self.clock.now())
        return Instructed(source=Source("control", 0, offset), instruction=record, at=self.clock.now())

    def commit(self) -> None:
        self.committed = dict(self.worker.acked)

    # The sink

    def take(self) -> None:
        """The sink takes a dispatch, and asks the table whether it is still due."""
        note = self.worker.ready.take()
        if note is None:
            return
        entry = self.worker.partitions.entry(0, note.key, note.source.offset)
        if entry is None or not (entry.dispatchable or entry.ending):
            self.worker.ready.forget(note)
        else:
            self.worker.tries.append(Try(note, entry))

    def ask(self, try_: Try) -> None:
        """A request of the sink reaches Airflow and is answered."""
        entry = try_.entry
        name = run_id(APP, entry.id, entry.round, entry.run_attempt)
        fate = self._fate(entry.source.offset, entry.run_attempt)
        if entry.ending is None and name not in self.runs and fate != "refused":
            self.runs[name] = ModelRun(entry, name, entry.run_attempt, self._tick())
        if name in self.runs and self.runs[name].entry.source != entry.source:
            first = str(self.runs[name].entry.source)
            try_.answer = self._outcome(
                entry, entry.run_attempt, Status.RUN_ENDED, result=RunState.DUPLICATE, duplicate_of=first
            )
        elif name in self.runs:
            created = Timings(accepted_at=entry.timings.accepted_at, triggered_at=self.runs[name].start)
            try_.answer = self._outcome(entry, entry.run_attempt, Status.TRIGGERED, timings=created)
        elif entry.ending is not None:
            try_.answer = self._outcome(entry, entry.run_attempt, Status.RUN_ENDED, result=RunState.NOT_CREATED)
        else:
            try_.answer = self._outcome(
                entry,
                entry.run_attempt,
                Status.RUN_ENDED,
                result=RunState.NOT_CREATED,
                reason=Reason.REFUSED_BY_AIRFLOW,
                detail="Airflow said no",
            )

    def tell(self, try_: Try) -> None:
        """The sink reports an answer."""
        assert try_.answer is not None
        self.worker.tries.remove(try_)
        self.outlet.report(try_.answer)
        self.worker.ready.done(try_.note, None)

    def lose_answer(self, try_: Try) -> None:
        """An answer gets lost on its way; the sink tries again later."""
        self.worker.tries.remove(try_)
        self.worker.ready.done(try_.note, timedelta(seconds=1))

    # Airflow and the follower

    def end(self, run: ModelRun) -> None:
        """A run ends, or is deleted, as its fate wants it."""
        run.end = self._tick()
        fate = self._fate(run.entry.source.offset, run.attempt)
        run.state = "success" if fate == "success" else "failed"
        if fate == "deleted":
            del self.runs[run.run_id]
            self.gone.append(run)

    @property
    def running(self) -> list[ModelRun]:
        """Runs that may end now.

        A person deletes only what the table knows, and what nobody asks for at that moment: else the run would be made
        again (a new owner asks before it has read that the run was made).
        """
        asked_for = {try_.entry.source.offset for try_ in self.worker.tries}
        known = self.worker.followed.keys() - asked_for
        return [
            run
            for run in self.runs.values()
            if run.end is None
            and (self._fate(run.entry.source.offset, run.attempt) != "deleted" or run.entry.source.offset in known)
        ]

    def ended(self, *, again: bool = False) -> list[Entry]:
        """Entries whose run has ended; with `again`, those that were reported before."""
        worker = self.worker
        return [
            entry
            for offset, entry in worker.followed.items()
            if ((offset, entry.attempt) in worker.reported) is again
            and ((run := self.runs.get(self._name(entry))) is None or run.end is not None)
        ]

    def report(self, entry: Entry) -> None:
        """The follower reports the end of a run."""
        run = self.runs.get(self._name(entry))
        fate = self._fate(entry.source.offset, entry.attempt)
        fields: dict[str, Any] = {"result": RunState.SUCCESS}
        if run is None:
            fields = {"result": RunState.DELETED, "reason": Reason.RUN_DELETED, "detail": "gone"}
        elif run.state == "failed":
            reason = Reason.RUN_NOT_STARTED if fate == "unstarted" else Reason.RUN_FAILED
            fields = {"result": RunState.FAILED, "reason": reason, "detail": "failed"}
        if run is not None:
            fields["timings"] = replace(entry.timings, started_at=run.start, ended_at=run.end)
        self.worker.reported.add((entry.source.offset, entry.attempt))
        self.outlet.report(self._outcome(entry, entry.attempt, Status.RUN_ENDED, **fields))

    # Time

    def pass_time(self, by: timedelta = timedelta(hours=2)) -> None:
        self.clock.advance(by)

    def tell_deadlines(self) -> None:
        """The worker's timer looks at the time."""
        for note in self.worker.ready.advance():
            entry = self.worker.partitions.entry(0, note.key, note.source.offset)
            if entry is not None:
                self.control.send(
                    Instruction(
                        control_id=f"expire-{entry.source}-{entry.round}",
                        action=Action.EXPIRE,
                        command_id=entry.id,
                        key=entry.key,
                        by="streamapp",
                        at=self.clock.now(),
                    )
                )

    # Kafka

    @property
    def logs(self) -> list[Log]:
        return [self.ledger.changelogs[0], self.outlet.results[0], self.outlet.dead_letters[0], self.control]

    def crash(self, kept: Iterable[int], *, new_directory: bool, landed: bool) -> None:
        """The worker dies.

        Args:
            kept: For each log, how much of what is in flight it has taken.
            new_directory: Whether the next worker starts without a database.
            landed: Whether requests that were on their way reach Airflow.
        """
        if landed:
            for try_ in self.worker.tries:
                self.ask(try_)
        for log, count in zip(self.logs, kept, strict=True):
            log.crash(min(count, len(log.in_flight)))
        self.ledger.recover(0, new_directory=new_directory)
        self.start()

    # All of it

    def steps(self) -> list[Callable[[], None]]:
        """What may happen next, but for crashes and the passing of time."""
        worker = self.worker
        if worker.folds.failed is not None:
            return []
        steps: list[Callable[[], None]] = [
            lambda source=source: self.deliver(source) for source in ALL_LOGS if self.waiting(source)
        ]
        steps += [log.take for log in self.logs if log.in_flight]
        if len(worker.turns):
            steps.append(worker.turns.turn)
        if worker.ready.takeable:
            steps.append(self.take)
        steps += [lambda t=t: self.ask(t) if t.answer is None else self.tell(t) for t in worker.tries]
        steps += [lambda run=run: self.end(run) for run in self.running]
        steps += [lambda entry=entry: self.report(entry) for entry in self.ended()]
        return steps

    def finish(self) -> None:
        """Let everything happen that is still to happen."""
        for _ in range(5000):
            steps = self.steps()
            if steps:
                steps[0]()
                continue
            self.pass_time()
            self.tell_deadlines()
            if not self.steps() and not self.worker.ready.figures["later"]:
                return
        raise AssertionError(f"it never ends: {self.worker.ready.figures}")

    def settle(self) -> None:
        """Let everything that was folded so far come to its end; nothing new is folded or started."""
        while True:
            for log in self.logs:
                log.take_all()
            if not len(self.worker.turns):
                return
            self.worker.turns.turn()

    def violations(self, *, complete: bool = True) -> list[str]:
        return violations(
            sent=[
                Sent(
                    partition=0,
                    offset=event.source.offset,
                    key=event.key,
                    id=event.content.id,
                    ordered=event.policy is not None and event.policy.ordering == "completed",
                )
                for event in self.commands
            ],
            runs=[self._as_airflow_shows(run) for run in [*self.runs.values(), *self.gone]],
            outcomes=self.outlet.taken(),
            dead_letters=self.outlet.buried(),
            complete=complete,
        )

    def entries(self) -> dict[RowKey, Any]:
        """The table without what depends on when things happened."""
        return {
            rows.parse_key(key): _timeless(rows.parse_row(value)) for key, value in self.ledger.databases[0].items()
        }

    def verdicts(self) -> set[str]:
        """The ids of all outcomes that a fold pronounced."""
        return {told.id for told in self.outlet.taken() if told.status not in {Status.TRIGGERED, Status.RUN_ENDED}}

    # Inside

    def _fate(self, offset: int, attempt: int) -> str:
        fates = self.fate(offset) if offset < self.sent else ["success"]
        return fates[min(attempt, len(fates)) - 1]

    def _name(self, entry: Entry) -> str:
        return run_id(APP, entry.id, entry.round, entry.attempt)

    def _tick(self) -> datetime:
        """Airflow's clock: no two things happen at the same time."""
        self.ticks += 1
        return self.clock.now() + timedelta(milliseconds=self.ticks)

    def _outcome(self, entry: Entry, attempt: int, status: Status, **fields: Any) -> Outcome:
        return Outcome(
            command_id=entry.id,
            key=entry.key,
            command=entry.command,
            dag_id=entry.policy and entry.policy.dag_id,
            dag_run_id=run_id(APP, entry.id, entry.round, attempt),
            round=entry.round,
            attempt=attempt,
            status=status,
            at=self.clock.now(),
            source=entry.source,
            **fields,
        )

    @staticmethod
    def _as_airflow_shows(run: ModelRun) -> Run:
        source = run.entry.source
        mark = {
            "topic": source.topic,
            "partition": source.partition,
            "offset": source.offset,
            "round": run.entry.round,
            "attempt": run.attempt,
            "id": run.entry.id,
        }
        return Run(run_id=run.run_id, conf={"_command": mark}, start=run.start, end=run.end, state=run.state)


class CheckedOutlet(MemoryOutlet):
    """One that sees to it that nothing leaves before the rows of its fold are in the changelog."""

    def __init__(self) -> None:
        super().__init__()
        self.safe_after: dict[int, tuple[Any, int, Log]] = {}

    def note(self, effects: Iterable[Any], rows: int, changelog: Log) -> None:
        for effect in effects:
            if isinstance(effect, Emit | Bury):
                self.safe_after[id(effect)] = effect, rows, changelog

    def prepare(self, effect: Emit | Bury) -> Callable[[], Receipt]:
        send = super().prepare(effect)

        def checked() -> Receipt:
            _, rows, changelog = self.safe_after[id(effect)]
            assert len(changelog.records) >= rows, f"{effect} left before its rows were safe"
            return send()

        return checked


def _timeless(row: Any) -> Any:
    if not isinstance(row, Entry):
        return row
    return replace(row, at=row.recorded_at, timings=Timings(), not_before=None)
