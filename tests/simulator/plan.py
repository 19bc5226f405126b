"""What a schedule is made of: reads a seed, answers commands, their runs' fates and how often what goes wrong."""

from collections import Counter
from dataclasses import dataclass, field, replace
from datetime import timedelta
from random import Random
from typing import Any

from streamapp.core.events import CommandReceived
from streamapp.core.model import RETRYABLE, OnFailure, Ordering, Paused, Reason
from tests.support.builders import policy, received, rejection
from tests.support.manual_clock import START

KEYS = (b"a", b"a", b"b", None)
FATES = ("success",) * 5 + ("fail", "fail", "unstarted", "deleted", "refused", "mended", "cleared")
"""What becomes of an attempt; `mended` is refused until a person mends the DAG."""
ORDERINGS = (Ordering.COMPLETED,) * 6 + (Ordering.TRIGGERED, Ordering.NONE)

RETENTION = timedelta(seconds=6)
"""Where there is pruning: short enough that what has ended is forgotten while others still run."""

WORKER_FAULTS = {"crash": 0.01, "wipe": 0.003, "freeze": 0.004, "coma": 0.004, "stop": 0.003, "deaf": 0.003,
                 "rebalance": 0.006}  # fmt: skip
"""After an event of a worker. `wipe`: it also loses its directory. `coma`: frozen for longer than its session.
`deaf`: its heartbeats get no answer."""
KAFKA_FAULTS = {"slow_produce": 0.1, "refused_produce": 0.006, "lost_delivery": 0.04, "failed_commit": 0.5}
"""For each batch, record or commit."""
TRIGGER_FAULTS = {"slow_post": 0.1, "lost_answer": 0.15, "lost_request": 0.1, "late_post": 0.15, "error_after": 0.1,
                  "error_before": 0.1, "turned_away": 0.08}  # fmt: skip
"""For each POST."""
READ_FAULTS = {"failed_read": 0.1, "slow_read": 0.1}
"""For each other request."""
RUN_FAULTS = {"late_commit": 0.3}
HINT_FAULTS = {"hint": 0.8, "false_hint": 0.3, "late_hint": 0.3, "doubled_hint": 0.3}
"""For each end of a run, or, with a false one, each start; all workers are told."""
PAUSED, BROKEN = "dag_paused", "dag_broken"
ADDED = "busy_operators", "wrong_partition", "clock_step", "retried_refusal", "short_memory"
"""Drawn after all others."""
DELETED_AT_409 = "deleted_at_409"
"""A person deletes the run that a second request is told of, before the table knows it."""
SLOW_LOGIN = "slow_login"
"""For some POSTs: what has to come before them takes long."""
WORLD_FAULTS = (
    "outage",
    "dag_missing",
    PAUSED,
    BROKEN,
    "clock_skew",
    "junk",
    "instruction",
    "redrive",
    "early_expire",
    "marker",
    "prune",
    "slow_kafka",
    "busy_operators",
    "wrong_partition",
    "clock_step",
    "retried_refusal",
    "short_memory",
)
"""On or off for a whole schedule. `slow_kafka`: many folds are under way at a time. `wrong_partition`: where an
instruction has nothing to do. `clock_step`: a worker's clock is set. `short_memory`: some routes have
`dedupe_for`."""
ALL_FAULTS = (*WORKER_FAULTS, *KAFKA_FAULTS, *TRIGGER_FAULTS, DELETED_AT_409, SLOW_LOGIN, *READ_FAULTS, *RUN_FAULTS,
              *HINT_FAULTS, *WORLD_FAULTS)  # fmt: skip


@dataclass(frozen=True)
class Sending:
    """A record of the commands topic to be."""

    at_ms: int
    event: CommandReceived
    """Its source has the partition; the offset is the broker's to give."""
    fates: tuple[str, ...]
    """Of its attempts; the last one holds for all further ones."""

    def __str__(self) -> str:
        content, rules = self.event.content, self.event.policy
        shown = f"partition={self.event.source.partition} key={self.event.key!r} id={content.id} fates={self.fates}"
        if rules is None:
            return f"{self.at_ms:>6} {shown} rejected: {getattr(content, 'reason', '')}"
        return (
            f"{self.at_ms:>6} {shown} {rules.dag_id}/{rules.max_in_flight} {rules.ordering} {rules.on_failure} "
            f"attempts={rules.max_attempts} not_before={_ms(content.not_before)} deadline={_ms(content.deadline)}"  # type: ignore[union-attr]
        )


@dataclass(frozen=True)
class Plan:
    """A schedule, but for its chances."""

    seed: int
    partitions: int
    workers: int
    sendings: tuple[Sending, ...]
    rates: dict[str, float] = field(default_factory=dict)
    """How often each fault happens; what isn't there never does."""
    faults_until_ms: int = 0

    @property
    def prunes(self) -> bool:
        return "prune" in self.rates

    @property
    def shortest_memory(self) -> timedelta | None:
        """Of all routes."""
        rules = [sending.event.policy for sending in self.sendings]
        return min((one.dedupe_for for one in rules if one is not None and one.dedupe_for is not None), default=None)

    @property
    def kafka_ms(self) -> int:
        """How long a request to Kafka, or its answer, takes as a rule."""
        return 150 if "slow_kafka" in self.rates else 8

    @property
    def retention(self) -> timedelta:
        return RETENTION if self.prunes else timedelta(days=7)

    def without(self, fault: str) -> "Plan":
        return replace(self, rates={name: rate for name, rate in self.rates.items() if name != fault})

    def __str__(self) -> str:
        head = f"seed {self.seed}: {self.workers} workers, {self.partitions} partitions, faults until "
        head += f"{self.faults_until_ms} ms: {', '.join(self.rates)}"
        return "\n".join([head, *map(str, self.sendings)])


def make_plan(seed: int) -> Plan:
    """The plan of a seed. Each one has only some of the faults, so that none drowns the others."""
    random = Random(f"plan {seed}")
    partitions = random.choice([2, 2, 3])
    known = {**WORKER_FAULTS, **KAFKA_FAULTS, **TRIGGER_FAULTS, **READ_FAULTS, **RUN_FAULTS, **HINT_FAULTS}
    share = random.choice([0.15, 0.3, 0.5])
    rates = {name: rate * random.choice([0.5, 1, 2]) for name, rate in known.items() if random.random() < share}
    rates |= {name: 1.0 for name in WORLD_FAULTS if name not in {PAUSED, BROKEN, *ADDED} and random.random() < share}
    plan = Plan(
        seed=seed,
        partitions=partitions,
        workers=random.choice([2, 2, 3]),
        sendings=tuple(_sendings(random, partitions)),
        rates=rates,
        faults_until_ms=random.choice([8_000, 15_000, 30_000]),
    )
    plan = _with_paused_dags(plan) if random.random() < share else plan
    more = Random(f"more {seed}")
    if more.random() < share / 2:
        plan = replace(plan, rates=plan.rates | {BROKEN: 1.0})
    if more.random() < share:
        plan = replace(plan, rates=plan.rates | {SLOW_LOGIN: 0.1})
    if plan.rates.keys() & {"lost_answer", "late_post", "error_after"} and more.random() < 0.7:
        plan = replace(plan, rates=plan.rates | {DELETED_AT_409: 1.0})
    rest = Random(f"rest {seed}")
    plan = replace(plan, rates=plan.rates | {name: 1.0 for name in ADDED if rest.random() < share / 2})
    return _with_other_policies(plan, rest)


def _with_other_policies(plan: Plan, random: Random) -> Plan:
    """Routes that have refusals tried again, or that remember for another time.

    Of commands that share an id, each would be run once more under another run id, and so it would be where an
    operator has a blocked one tried again: that is not promised.
    """
    ids = Counter(sending.event.content.id for sending in plan.sendings)
    sendings = []
    for sending in plan.sendings:
        rules = sending.event.policy
        if rules is not None and "retried_refusal" in plan.rates and ids[sending.event.content.id] == 1:
            rules = replace(rules, retry_on=RETRYABLE if random.random() < 0.7 else frozenset({Reason.DAG_NOT_FOUND}))
        if rules is not None and ids[sending.event.content.id] > 1:
            rules = replace(rules, on_failure=OnFailure.DEAD_LETTER)
        if rules is not None and "short_memory" in plan.rates and random.random() < 0.5:
            rules = replace(rules, dedupe_for=timedelta(seconds=random.choice([1, 3, 30])))
        sendings.append(replace(sending, event=replace(sending.event, policy=rules)))
    return replace(plan, sendings=tuple(sendings))


def _with_paused_dags(plan: Plan) -> Plan:
    """DAGs are paused for a while; some commands do not wait for that, some have the DAG's own cap."""
    random = Random(f"paused {plan.seed}")
    sendings = []
    for sending in plan.sendings:
        rules = sending.event.policy
        if rules is not None:
            paused = Paused.REJECT if random.random() < 0.4 else Paused.WAIT
            cap = rules.max_in_flight if random.random() < 0.7 else None
            rules = replace(rules, paused=paused, max_in_flight=cap)
        sendings.append(replace(sending, event=replace(sending.event, policy=rules)))
    return replace(plan, sendings=tuple(sendings), rates=plan.rates | {PAUSED: 1.0})


def _sendings(random: Random, partitions: int) -> list[Sending]:
    sendings: list[Sending] = []
    for number in range(random.randint(4, 7)):
        partition = random.randrange(partitions)
        at_ms = random.choice([0, random.randrange(3000), random.randrange(12_000)])
        fates = tuple(random.choices(FATES, k=random.randint(1, 3)))
        key, id_, dag = random.choice(KEYS), f"c{number}", random.choice(["one", "two"])
        if random.random() < 0.06:
            reason = random.choice([Reason.UNDECODABLE, Reason.UNKNOWN_ROUTE])
            event = received(0, partition=partition, key=key, content=rejection(reason, id=id_))
            sendings.append(Sending(at_ms, event, fates))
            continue
        # A deletion frees the id of a run; whoever does not remember the command would make it again.
        commands = [one for one in sendings if one.event.policy is not None and "deleted" not in one.fates]
        if commands and random.random() < 0.15:
            first = random.choice(commands)
            id_, fates, dag = first.event.content.id, first.fates, first.event.policy.dag_id
        rules = _policy(random, dag)
        event = received(number, partition=partition, key=key, id=id_, policy=rules, **_times(random, at_ms))
        sendings.append(Sending(at_ms, event, fates))
    return sorted(sendings, key=lambda one: one.at_ms)


def _policy(random: Random, dag: str) -> Any:
    return policy(
        dag_id=dag,
        ordering=random.choice(ORDERINGS),
        on_failure=OnFailure.BLOCK if random.random() < 0.12 else OnFailure.DEAD_LETTER,
        max_attempts=random.randint(1, 3),
        retry_delay=timedelta(seconds=random.choice([1, 4])),
        max_in_flight=random.randint(1, 4),
    )


def _times(random: Random, at_ms: int) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    if random.random() < 0.15:
        fields["not_before"] = START + timedelta(milliseconds=at_ms + random.randrange(6000))
    if random.random() < 0.25:
        fields["deadline"] = START + timedelta(milliseconds=at_ms + random.randrange(9000))
    return fields


def _ms(at: Any) -> str:
    return "-" if at is None else str((at - START) // timedelta(milliseconds=1))
