"""Hypothesis strategies for the modelled world: which commands are sent, what their runs become, what happens when."""

from dataclasses import dataclass
from datetime import timedelta
from itertools import starmap

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from streamapp.core.events import CommandReceived
from streamapp.core.model import Action, OnFailure, Ordering, Reason
from tests.support.builders import policy, received, rejection
from tests.support.manual_clock import START
from tests.support.world import ALL_LOGS, World

MAX_COMMANDS = 7
KINDS = 16
FATES = ("success", "success", "fail", "unstarted", "deleted", "refused")
HOUR = timedelta(hours=1)

_KEYS = [{"key": b"a"}, {"key": b"a"}, {"key": b"b"}]
_DAGS = [{"dag_id": None}, {"dag_id": "one"}, {"dag_id": "two"}]
OF_COMMANDS = [Action.RETRY, Action.SKIP, Action.CANCEL]
GIVEN = [
    *((action, [{}]) for action in OF_COMMANDS),
    *((action, _KEYS) for action in (Action.HOLD, Action.RELEASE)),
    *((action, _DAGS) for action in (Action.PAUSE, Action.RESUME)),
]
"""What operators do, and to what."""


def often(examples):
    """So many examples, and no judgement on how fast the machine is."""
    return settings(max_examples=examples, suppress_health_check=[HealthCheck.too_slow])


@dataclass(frozen=True)
class Plan:
    """The records of the commands topic, and the fate of each attempt."""

    commands: list[CommandReceived]
    fate: list[list[str]]

    def __repr__(self):
        return "\n".join(starmap(_line, zip(self.commands, self.fate, strict=True)))


def _line(event, fate):
    content, policy = event.content, event.policy
    shown = f"{event.source.offset} key={event.key} id={content.id} fate={fate} {getattr(content, 'reason', '')}"
    if policy is None:
        return shown
    times = f"not_before={content.not_before} deadline={content.deadline}"
    rules = f"{policy.dag_id}/{policy.max_in_flight} {policy.ordering} {policy.on_failure} max={policy.max_attempts}"
    return f"{shown} {rules} {times}"


@st.composite
def plans(draw, *, fates=FATES, orderings=tuple(Ordering), blocks=False, deadlines=(None, -HOUR), duplicates=True):
    commands, fate = [], []
    for offset in range(draw(st.integers(1, MAX_COMMANDS))):
        key = draw(st.sampled_from([b"a", b"a", b"a", b"b", None]))
        fate.append(draw(st.lists(st.sampled_from(fates), min_size=1, max_size=3)))
        if draw(st.integers(0, 9)) == 0:
            content = rejection(draw(st.sampled_from(Reason)), id=f"c{offset}")
            commands.append(received(offset, key=key, content=content))
            continue
        first = draw(st.integers(0, offset)) if duplicates and draw(st.booleans()) else offset
        if "refused" in fate[first]:  # whether it holds its id is a matter of who is faster
            first = offset
        deadline = draw(st.sampled_from(deadlines))
        commands.append(
            received(
                offset,
                key=key,
                id=f"c{first}",
                deadline=None if deadline is None else START + deadline,
                not_before=draw(st.sampled_from([None, None, None, START + HOUR])),
                policy=policy(
                    dag_id=draw(st.sampled_from(["one", "two"])),
                    ordering=draw(st.sampled_from(orderings)),
                    on_failure=OnFailure.BLOCK if blocks and draw(st.booleans()) else OnFailure.DEAD_LETTER,
                    max_attempts=draw(st.integers(1, 3)),
                    max_in_flight=draw(st.integers(1, 3)),
                ),
            )
        )
    return Plan(commands, fate)


def _numbers(data):
    return [int.from_bytes(data[at : at + 3], "little") for at in range(0, len(data), 3)]


moves = st.integers(0, 200).flatmap(lambda count: st.binary(min_size=3 * count, max_size=3 * count)).map(_numbers)
"""What happens next, step by step: any number means something in any state, 0 nothing."""
many_moves = st.binary(min_size=360, max_size=360).map(_numbers)
numbers = st.integers(0, 2**24)


def world_of(plan) -> World:
    return World(plan.commands, plan.fate.__getitem__)


def drive(world, choices, *, crashes=False, operators=False):
    """Let happen what the numbers say."""
    for choice in choices:
        kind, rest = choice % KINDS, choice // KINDS
        steps = world.steps()
        if kind == 0:
            continue
        if kind == 5 and crashes and (operators or rest % 3 == 0):
            crash(world, rest // 3)
        elif kind in {6, 7, 8} and operators:
            operate(world, rest)
        elif kind == 1:
            world.commit()
        elif kind == 2 and rest % 4 == 0:
            world.pass_time(HOUR / 2)
            world.tell_deadlines()
        elif kind == 3 and (again := world.ended(again=True)):
            world.report(again[rest % len(again)])
        elif kind == 4 and world.worker.tries:
            world.lose_answer(world.worker.tries[rest % len(world.worker.tries)])
        elif steps:
            steps[rest % len(steps)]()


def operate(world, number):
    """An operator says something, or has something run again."""
    number, which = divmod(number, len(GIVEN) + 1)
    ended = [told for told in world.outlet.taken() if told.status.terminal]
    if which < len(GIVEN):
        action, abouts = GIVEN[which]
        about = abouts[number % len(abouts)]
        if action in OF_COMMANDS:
            about = {"command_id": f"c{number % world.sent}"}
        world.instruct(action, **about)
        world.control.take_all()
    elif ended:
        world.redrive(ended[number % len(ended)])


def let_go(world):
    """Operators let everything go on that they stopped, and what is blocked."""
    for action, abouts in GIVEN:
        if action in {Action.RESUME, Action.RELEASE}:
            for about in abouts:
                world.instruct(action, **about)
    world.control.take_all()


def crash(world, number):
    number, landed = divmod(number, 2)
    number, new_directory = divmod(number, 2)
    kept = []
    for _ in range(len(ALL_LOGS) + 1):
        number, count = divmod(number, 8)
        kept.append(count)
    world.crash(kept, new_directory=bool(new_directory), landed=bool(landed))
