"""A whole installation in virtual time: reads a plan, runs it to its end, answers what was exercised and broken.

One `random.Random` decides everything: latencies, who owns what, which fault comes when. So a seed is a schedule.
"""

import logging
import traceback
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import partial
from random import Random
from typing import Any

from faust.types import TP

from streamapp.core.effects import Free, Queued, Settled
from streamapp.core.model import Action, Entry, Instruction, Ordering, Outcome, Reopens, Source, Status
from streamapp.wire import rows
from tests.simulator.airflow import Airflow
from tests.simulator.broker import CHANGELOG, COMMANDS, CONTROL, DEAD_LETTERS, MARKER, Broker
from tests.simulator.group import SESSION_MS, Group
from tests.simulator.judge import final_violations
from tests.simulator.plan import WORKER_FAULTS, Plan, Sending
from tests.simulator.scheduler import Scheduler, as_running_loop
from tests.simulator.surroundings import Database, Directory
from tests.simulator.worker import Left, Worker
from tests.support.manual_clock import START

PATIENCE_MS = 600_000
"""How long after the last fault every command must have ended: back-offs and doubts of 40 s, attempt by attempt."""
AFTERWARDS_MS = 15_000
"""How long is watched after that, and after the last request has landed."""
MAX_EVENTS = 60_000
LOOK_EVERY_MS = 1000
MAX_SKEW_MS = 40_000


LETS_GO = {Action.HOLD: Action.RELEASE, Action.PAUSE: Action.RESUME}
"""What is asked for in the end, for whatever was asked to stop."""
FROM_THE_START = "prune", "slow_kafka", "busy_operators", "retried_refusal", "short_memory"
"""Faults that need no moment."""


@dataclass
class Report:
    """What became of a schedule."""

    plan: Plan
    events: int = 0
    """Without heartbeats, polls and other looks at a clock that led to nothing."""
    counts: Counter[str] = field(default_factory=Counter)
    violations: list[str] = field(default_factory=list)
    timeline: list[str] = field(default_factory=list)


class World:
    """The parts, and what happens to them."""

    def __init__(self, plan: Plan, *, timeline: bool = False) -> None:
        self.plan = plan
        self.random = Random(plan.seed)
        self.scheduler = Scheduler()
        self.after = self.scheduler.after
        self.counts: Counter[str] = Counter()
        self._events = self._idle = 0
        self.violations: list[str] = []
        self.timeline: list[str] | None = [] if timeline else None
        self.broker = Broker(self)
        self.group = Group(self, plan.partitions)
        self.airflow = Airflow(self, self._skew())
        self.known_runs: set[str] = set()
        self.sent: dict[Source, Sending] = {}
        self.recorded: defaultdict[int, set[int]] = defaultdict(set)
        """For each partition, the offsets whose entries are in the changelog."""
        self.let_go: defaultdict[int, set[int]] = defaultdict(set)
        """For each partition, the offsets whose entries stand in no queue, says the changelog: their keys go on."""
        self.told: dict[Source, list[Outcome]] = defaultdict(list)
        self._waiting: dict[Source, None] = {}
        """What was sent and has no ending, in this order."""
        self._said_blocked: dict[Source, None] = {}
        """What was told to be blocked, in this order; it may have gone on since."""
        self.instructed: list[tuple[Instruction, int]] = []
        """What operators asked for, each with its partition."""
        self._redriven = 0
        self._fates = {sending.event.content.id: sending.fates for sending in reversed(plan.sendings)}
        self._directories: dict[int, Directory] = defaultdict(lambda: defaultdict(Database))
        self._lives: Counter[int] = Counter()
        self.workers: dict[int, Worker] = {}
        self.calm = False
        self._quiet_since: int | None = None
        self._over = False
        self._last_at = max((sending.at_ms for sending in plan.sendings), default=0)
        self._rate = {name: plan.rates[name] for name in WORKER_FAULTS if name in plan.rates}
        self._any_rate = sum(self._rate.values())
        """Of any of them; none while it is calm."""

    # For the parts

    @property
    def now(self) -> int:
        return self.scheduler.now

    def delay(self, typical_ms: int) -> int:
        """Mostly short, now and then long: what is usual comes in any order."""
        number = self.random.random()
        return int(typical_ms * (number * 2 if number < 0.9 else number * 20))

    def happens(self, fault: str) -> bool:
        rate = self.plan.rates.get(fault)
        return rate is not None and not self.calm and self.random.random() < rate

    def chance(self, fault: str) -> bool:
        """Whether a fault happens now; it is counted."""
        happens = self.happens(fault)
        if happens:
            self.counts[fault] += 1
        return happens

    def fate(self, command_id: str, attempt: int) -> str:
        fates = self._fates[command_id]
        return fates[min(attempt, len(fates)) - 1]

    def shared_id(self, name: str) -> bool:
        """Whether several commands have the id of this run: a deletion would free it for the others."""
        ids = Counter(sending.event.content.id for sending in self.plan.sendings)
        return any(count > 1 and f"__{id_}__" in name for id_, count in ids.items())

    def say(self, who: str, what: str) -> None:
        if self.timeline is not None:
            self.timeline.append(f"{self.now:>7} {who:<11} {what}")

    def appended(self, tp: TP, offset: int, record: Any) -> None:
        owner = self.group.owners.get(tp.partition)
        if tp.topic == CHANGELOG:
            key = rows.parse_key(record[0])
            if record[1] is not None and isinstance(key, Queued | Free | Settled):
                self.recorded[tp.partition].add(key.offset)
                if not isinstance(key, Queued):
                    self.let_go[tp.partition].add(key.offset)
            return
        if isinstance(record, Outcome):
            self.told[record.source].append(record)
            if record.status.terminal:
                self._waiting.pop(record.source, None)
            if record.status is Status.BLOCKED:
                self._said_blocked[record.source] = None
        if owner is not None and owner.alive:
            owner.more(tp)

    def idle(self, events: int = 1) -> None:
        """So many events are not worth counting."""
        self._idle += events

    # What must never be

    def violation(self, what: str) -> None:
        self.say("VIOLATION", what)
        self.violations.append(what)

    def judge_writer(self, worker: Worker, partition: int) -> None:
        if self.group.owners.get(partition) is not worker:
            self.violation(f"{worker.name} writes to the changelog of {partition}, which another worker has taken over")

    def judge_commit(self, offsets: Mapping[TP, int]) -> None:
        for tp, end in offsets.items():
            if tp.topic != COMMANDS:
                continue
            for offset in range(self.broker.committed.get(tp, 0), end):
                if self.broker.logs[tp][offset] is MARKER:
                    continue
                source = Source(COMMANDS, tp.partition, offset)
                if offset not in self.recorded[tp.partition] or source not in self.told:
                    self.violation(f"G4: {source} is committed, and not recorded or not told")

    def judge_request(self, worker: Worker, name: str, mark: Mapping[str, Any]) -> None:
        if worker.lease.remaining <= timedelta():
            self.violation(f"{worker.name} asks for {name} after its lease")
        if mark["partition"] not in worker.assignment:
            self.violation(f"{worker.name} asks for {name}, whose partition it does not own")
        behind = [
            tp
            for tp, end in worker.must_reach.items()
            if worker.done[tp] < end and any(one is not MARKER for one in self.broker.logs[tp][worker.done[tp] : end])
        ]
        if behind:
            self.violation(f"{worker.name} asks for {name} before it has folded {behind}")
        source = Source(mark["topic"], mark["partition"], mark["offset"])
        self._judge_turn(worker, source)
        not_before = getattr(self.sent[source].event.content, "not_before", None)
        early = not_before is not None and worker.clock.now() < not_before
        if early and mark["attempt"] == 1 and "clock_step" not in self.plan.rates:
            self.violation(f"{worker.name} asks for {name} before {not_before}")

    def _judge_turn(self, worker: Worker, source: Source) -> None:
        """Whatever stands before it in the queue of its key has let the key go on, whatever the two orderings are."""
        queue = self._in_queue(source)
        for before in self.sent if queue is not None else ():
            waits = before.offset < source.offset and self._in_queue(before) == queue
            if waits and before.offset not in self.let_go[source.partition]:
                self.violation(f"G2: {worker.name} asks for a run of {source}, although {before} holds its key")

    # A schedule

    def run(self) -> Report:
        """All of it."""
        with as_running_loop(), _without_logs():
            self._begin()
            while not self._over and not self.violations and self._events < MAX_EVENTS:
                event = self.scheduler.pop()
                if event is None:
                    break
                self._step(*event)
        for broken in [] if self.violations else final_violations(self):
            self.violation(broken)
        return Report(self.plan, self._events - self._idle, self.counts, self.violations, self.timeline or [])

    def _begin(self) -> None:
        rates = self.plan.rates
        for sending in self.plan.sendings:
            self.after(sending.at_ms, None, partial(self._send, sending))
        for machine in range(self.plan.workers):
            self.after(self.random.choice([0, 0, self.random.randrange(5000)]), None, partial(self._launch, machine))
        self.counts.update(name for name in FROM_THE_START if name in rates)
        until = self.plan.faults_until_ms
        self.airflow.mended_at = self.random.randrange(until)
        if "outage" in rates:
            self.after(self.random.randrange(until), None, self._break_airflow)
        for name, meet, longest in (
            ("dag_missing", self._hide, 12_000),
            ("dag_paused", self._pause, 12_000),
            ("dag_broken", self._break_dag, 60_000),
        ):
            for dag in ("one", "two") if name in rates else ():
                at = self.random.randrange(until)
                self.after(at, None, partial(meet, dag, at + self.random.randint(500, longest)))
        for name, step in (
            ("junk", self._send_junk),
            ("instruction", self._instruct),
            ("redrive", self._redrive),
            ("early_expire", self._expire_early),
            ("wrong_partition", self._instruct_elsewhere),
            ("clock_step", self._set_a_clock),
        ):
            if name in rates:
                times = {"instruction": 6}.get(name, 2) * (5 if "busy_operators" in rates else 1)
                for _ in range(times):
                    self.after(self.random.randrange(until), None, step)
        self.after(until, None, self._calm_down)
        self.after(LOOK_EVERY_MS, None, self.group.look)
        self.after(LOOK_EVERY_MS, None, self._look)

    def _step(self, owner: Any, action: Callable[[], None]) -> None:
        self._events += 1
        try:
            action()
            if owner is not None and self._any_rate and self.random.random() < self._any_rate:
                self._strike(owner)
        except Left as error:
            self.counts["left"] += 1
            self.bury(owner, f"leaves: {error}")
        except Exception as error:
            where = traceback.extract_tb(error.__traceback__)[-1]
            self.violation(f"{type(error).__name__}: {error} ({where.name}, line {where.lineno})")

    def _look(self) -> None:
        """Whether everything has come to its end."""
        moves = self.now < self._last_at or self.airflow.under_way.total() or not self.group.settled
        if not self.calm or moves or not self._all_ended():
            self._quiet_since = None
        elif self._quiet_since is None:
            self._quiet_since = self.now
        late = self.now > self.plan.faults_until_ms + self._last_at + PATIENCE_MS
        self._over = late or (self._quiet_since is not None and self.now - self._quiet_since > AFTERWARDS_MS)
        self.idle()
        self.after(LOOK_EVERY_MS, None, self._look)

    def _all_ended(self) -> bool:
        return len(self.sent) == len(self.plan.sendings) + self._redriven and not self.unended()

    def unended(self) -> list[Source]:
        """Commands without an ending that nothing excuses: a blocked one holds its key."""
        if not self._waiting:
            return []
        queues = {self._queue(source) for source in self._waiting}
        entries = map(self._entry, (source for source in self._said_blocked if self._queue(source) in queues))
        blocked = [one for one in entries if one is not None and one.status is Status.BLOCKED]
        holding = {one.source: self._in_queue(one.source, one.attempt - one.refused) for one in blocked}
        return [
            source
            for source in self._waiting
            if source not in holding
            and not any(
                held and self._in_queue(source) == held and first.offset < source.offset
                for first, held in holding.items()
            )
        ]

    def _entry(self, source: Source) -> Entry | None:
        """As its owner has it now."""
        owner = self.group.owners.get(source.partition)
        partition = owner.parts.partitions.get(source.partition) if owner is not None and owner.alive else None
        return None if partition is None else partition.entry(self.sent[source].event.key, source.offset)

    def _queue(self, source: Source) -> tuple[int, bytes | None]:
        return source.partition, self.sent[source].event.key

    def _in_queue(self, source: Source, runs: int = 0) -> tuple[int, bytes] | None:
        """The queue in which a command stands, after so many runs."""
        event = self.sent[source].event
        if event.key is None or event.policy is None or event.policy.ordering is Ordering.NONE:
            return None
        if event.policy.ordering is Ordering.TRIGGERED and runs:
            return None
        return source.partition, event.key

    def _calm_down(self) -> None:
        """No more faults; what has happened has still to be lived through."""
        self.calm = True
        self._any_rate = 0.0
        self.say("", "no more faults")
        stopped = [(LETS_GO[one.action], one, partition) for one, partition in self.instructed if one.action in LETS_GO]
        for action, key, dag_id, partition in dict.fromkeys((act, one.key, one.dag_id, at) for act, one, at in stopped):
            self._give(partition, action, key=key, dag_id=dag_id)

    # Producers and operators

    def _send(self, sending: Sending) -> None:
        partition = sending.event.source.partition
        tp = TP(COMMANDS, partition)
        if "marker" in self.plan.rates and self.random.random() < 0.3:
            self.counts["marker"] += 1
            self.broker.append(tp, MARKER)
        source = Source(COMMANDS, partition, self.broker.end(tp))
        recorded_at = START + timedelta(milliseconds=self.now)
        self.sent[source] = sending
        self._waiting[source] = None
        self.say("a producer", f"sends {source} {sending}")
        self.broker.append(tp, replace(sending.event, source=source, recorded_at=recorded_at))

    def _send_junk(self) -> None:
        self.counts["junk"] += 1
        topic = self.random.choice([CONTROL, "results"])
        self.broker.append(TP(topic, self.random.randrange(self.plan.partitions)), None)

    def _instruct(self) -> None:
        """An operator gives an instruction, or the same one again."""
        if self.instructed and self.random.random() < 0.2:
            instruction, partition = self.random.choice(self.instructed)
            self.say("an operator", f"repeats {instruction.control_id}")
            self.broker.append(TP(CONTROL, partition), instruction)
            return
        self.counts["instruction"] += 1
        action = self.random.choice([action for action in Action if action is not Action.EXPIRE])
        if action in {Action.PAUSE, Action.RESUME}:
            dag = self.random.choice(["one", "two", None])
            for partition in range(self.plan.partitions):
                self._give(partition, action, dag_id=dag)
        elif self.sent:
            blocked = [one for one in self.sent if (entry := self._entry(one)) and entry.status is Status.BLOCKED]
            source = self.random.choice(blocked or list(self.sent))
            sending = self.sent[source]
            on_key = action in {Action.HOLD, Action.RELEASE}
            about = {"key": sending.event.key} if on_key else {"command_id": sending.event.content.id}
            self._give(source.partition, action, **about)

    def _instruct_elsewhere(self) -> None:
        """An operator is wrong about the partition of a command."""
        if self.sent:
            self.counts["wrong_partition"] += 1
            action = self.random.choice([Action.RETRY, Action.SKIP, Action.CANCEL])
            id_ = self.sent[self.random.choice(list(self.sent))].event.content.id
            self._give(self.random.randrange(self.plan.partitions), action, command_id=id_)

    def _give(self, partition: int, action: Action, **about: Any) -> None:
        instruction = Instruction(
            control_id=f"{action}-{self.now}-{len(self.instructed)}",
            action=action,
            by="ann",
            at=START + timedelta(milliseconds=self.now),
            **about,
        )
        self.say("an operator", f"wants to {action} {about} on {partition}")
        self.instructed.append((instruction, partition))
        self.broker.append(TP(CONTROL, partition), instruction)

    def _redrive(self) -> None:
        """An operator redrives or replays a command, whether that makes sense or not; often twice."""
        if not self.sent:
            return
        buried = [letter.source for tp, log in self.broker.logs.items() if tp.topic == DEAD_LETTERS for letter in log]
        before = self.random.choice(buried or list(self.sent))
        sending, told = self.sent[before], self.told.get(before)
        replay = self.random.choice([None, "a-replay"])
        reopens = Reopens(before, max(one.round for one in told) if told else 1, replay)
        for _ in range(self.random.choice([1, 2])):
            self.counts["redrive"] += 1
            self._redriven += 1
            self._send(replace(sending, event=replace(sending.event, reopens=reopens)))

    def _expire_early(self) -> None:
        """Somebody's clock says that a deadline has passed."""
        if not self.sent:
            return
        source, sending = self.random.choice(list(self.sent.items()))
        self.counts["early_expire"] += 1
        self.say("a timer", f"says that {source} has expired")
        instruction = Instruction(
            control_id=f"expire-{self.now}",
            action=Action.EXPIRE,
            command_id=sending.event.content.id,
            key=sending.event.key,
            by="ann",
            at=START + timedelta(milliseconds=self.now),
        )
        self.broker.append(TP(CONTROL, source.partition), instruction)

    # Faults

    def _skew(self) -> timedelta:
        if "clock_skew" not in self.plan.rates:
            return timedelta()
        self.counts["clock_skew"] += 1
        return timedelta(milliseconds=self.random.randint(-MAX_SKEW_MS, MAX_SKEW_MS))

    def _set_a_clock(self) -> None:
        """The clock of a worker was wrong; its next life may have another one again."""
        for worker in self.workers.values():
            self.counts["clock_step"] += 1
            step = self.random.randint(-MAX_SKEW_MS, MAX_SKEW_MS)
            self.say(worker.name, f"has its clock set by {step} ms")
            worker.clock.set_by(timedelta(milliseconds=step))

    def _launch(self, machine: int) -> None:
        self._lives[machine] += 1
        self.workers[machine] = worker = Worker(
            self, machine, self._lives[machine], self._directories[machine], self._skew()
        )
        self.counts["starts"] += 1
        self.say(worker.name, "starts")

    def bury(self, worker: Worker, why: str) -> None:
        """A process has ended; its supervisor starts another one."""
        worker.alive = False
        self.say(worker.name, why)
        self.after(self.random.choice([200, 2000, 12_000]), None, partial(self._launch, worker.machine))

    def _strike(self, worker: Worker) -> None:
        """What happens to a worker between two of its steps."""
        if not worker.alive or worker.frozen:
            return
        kind = self.random.choices(list(self._rate), self._rate.values())[0]
        self.counts[kind] += 1
        match kind:
            case "crash" | "wipe":
                if kind == "wipe":
                    self._directories[worker.machine] = defaultdict(Database)
                self.bury(worker, "is killed" + (" and loses its directory" if kind == "wipe" else ""))
            case "freeze" | "coma":
                lasts = SESSION_MS + self.random.randint(0, 15_000) if kind == "coma" else self.random.randint(50, 9000)
                self.say(worker.name, f"freezes for {lasts} ms")
                worker.freeze()
                self.after(lasts, None, worker.thaw)
            case "stop":
                worker.stop()
            case "deaf":
                worker.deaf_until = self.now + self.random.randint(4000, 20_000)
                self.say(worker.name, "gets no answers to heartbeats")
            case "rebalance":
                self.say("", "a rebalance is asked for")
                self.group.rebalance()

    def _break_airflow(self) -> None:
        self.counts["outage"] += 1
        self.airflow.outage_until = self.now + self.random.randint(1000, 20_000)
        self.say("airflow", f"is away until {self.airflow.outage_until}")

    def _pause(self, dag: str, until: int) -> None:
        self.counts["dag_paused"] += 1
        self.airflow.paused_until[dag] = until
        self.say("a person", f"pauses {dag} until {until}")

    def _break_dag(self, dag: str, until: int) -> None:
        self.counts["dag_broken"] += 1
        self.airflow.broken_until[dag] = until
        self.say("a person", f"deploys {dag} with an error in it until {until}")

    def _hide(self, dag: str, until: int) -> None:
        self.airflow.missing_until[dag] = until
        self.say("airflow", f"does not know {dag} until {until}")


@contextmanager
def _without_logs() -> Iterator[None]:
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(before)


def simulate(plan: Plan, *, timeline: bool = False) -> Report:
    """Run a schedule."""
    return World(plan, timeline=timeline).run()
