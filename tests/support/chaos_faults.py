"""Reads: a scene. Writes: faults into it, and mends them. Each is a function: injection, `yield`, healing."""

import random
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from functools import partial

from tests.support.chaos_crew import owns
from tests.support.chaos_scene import AIRFLOW_TIMEOUT_SECONDS, WAYS_IN, Scene
from tests.support.worker import Worker


@dataclass(frozen=True)
class Blow:
    """What happens at one time. Faults begin in this order and are healed in the opposite one."""

    faults: tuple[str, ...]
    seconds: float
    """For how long, at least."""
    victim: int = 0
    """Which worker."""
    rest_seconds: float = 0.0
    """How long a killed one stays away."""
    wait: bool = True
    """Whether the next blow waits until all take part again."""

    def __str__(self) -> str:
        then = "all get ready" if self.wait else "the next follows at once"
        back = f"who is killed is back after {self.rest_seconds:.0f} s"
        return f"{' + '.join(self.faults)} for {self.seconds:.1f} s; {back}; {then}"


@dataclass(frozen=True)
class Fault:
    """A kind of fault."""

    act: Callable[[Scene, Blow], AbstractContextManager[None]]
    side: str
    """Where it strikes: workers, broker or around them."""
    seconds: tuple[float, float]
    """The shortest and the longest time for it."""
    alone: bool = False
    """Not together with another one."""


FAULTS: dict[str, Fault] = {}
Act = Callable[[Scene, Blow], Iterator[None]]


def fault(side: str, shortest: float, longest: float, **more: bool) -> Callable[[Act], Act]:
    """Register a kind of fault under the name of its function."""

    def register(act: Act) -> Act:
        FAULTS[act.__name__.replace("_", " ")] = Fault(contextmanager(act), side, (shortest, longest), **more)
        return act

    return register


def victim(scene: Scene, blow: Blow) -> Worker:
    """The worker that is hit."""
    return scene.crew.workers[blow.victim % len(scene.crew.workers)]


# Workers


@fault("workers", 0.5, 4)
def kill(scene: Scene, blow: Blow) -> Iterator[None]:
    """Power fails."""
    scene.crew.kill(victim(scene, blow), rest_seconds=blow.rest_seconds)
    yield


@fault("workers", 0.5, 4)
def kill_and_lose_data(scene: Scene, blow: Blow) -> Iterator[None]:
    """Power fails, and the disk is gone."""
    scene.crew.kill(victim(scene, blow), rest_seconds=blow.rest_seconds, lose_data=True)
    yield


@fault("workers", 0.5, 4)
def kill_all(scene: Scene, blow: Blow) -> Iterator[None]:
    """Power fails everywhere."""
    for worker in scene.crew.all:
        scene.crew.kill(worker, rest_seconds=blow.rest_seconds)
    yield


@fault("workers", 0.5, 4)
def term(scene: Scene, blow: Blow) -> Iterator[None]:
    """One is restarted."""
    scene.crew.terminate(victim(scene, blow))
    yield


@fault("workers", 0.5, 2, alone=True)
def rolling_restart(scene: Scene, blow: Blow) -> Iterator[None]:
    """One after the other is restarted, each once the one before takes part again."""
    for worker in scene.crew.workers:
        scene.crew.terminate(worker)
        scene.crew.wait(partial(_restarted, worker, worker.pid), 180)
        scene.crew.wait(scene.crew.check_ready, 180)
    yield


@fault("workers", 1, 4)
def short_freeze(scene: Scene, blow: Blow) -> Iterator[None]:
    """One gets no processor for a while, mostly shorter than the session."""
    worker = victim(scene, blow)
    scene.crew.wait(lambda: _runs(worker))
    worker.freeze()
    yield
    worker.thaw()


@fault("workers", 1, 4)
def freeze(scene: Scene, blow: Blow) -> Iterator[None]:
    """One in the middle of something gets no processor until others have all of its partitions."""
    worker = victim(scene, blow)
    scene.crew.wait(lambda: _owns_some(worker), 180)
    worker.freeze()
    scene.crew.wait(lambda: scene.crew.check_all_owned(scene.partitions, without=worker), 180)
    yield
    worker.thaw()


@fault("workers", 1, 3)
def join_and_leave(scene: Scene, blow: Blow) -> Iterator[None]:
    """A further worker comes and goes, and one of the others goes and comes, every few seconds."""
    other = victim(scene, blow)
    for _ in range(2):
        scene.crew.join(scene.crew.extra)
        scene.crew.hold(2 + blow.seconds)
        scene.crew.leave(other)
        scene.crew.hold(blow.seconds)
        scene.crew.join(other)
        scene.crew.hold(blow.seconds)
        scene.crew.leave(scene.crew.extra)
    yield


def _restarted(worker: Worker, pid: int) -> None:
    _runs(worker)
    assert worker.pid != pid, f"{worker.name} was not started again"


def _runs(worker: Worker) -> None:
    assert worker.running, f"{worker.name} does not run"


def _owns_some(worker: Worker) -> None:
    assert owns(worker), f"{worker.name} owns nothing"


# The broker


@fault("broker", 0, 8)
def broker_restart(scene: Scene, blow: Blow) -> Iterator[None]:
    """The broker ends in good order and comes back."""
    scene.broker.stop()
    yield
    scene.broker.start()


@fault("broker", 0, 8)
def broker_kill(scene: Scene, blow: Blow) -> Iterator[None]:
    """The broker's machine is reset."""
    scene.broker.kill()
    yield
    scene.broker.start()


@fault("broker", 1, 4)
def short_broker_pause(scene: Scene, blow: Blow) -> Iterator[None]:
    """The broker does not answer for less than a session."""
    scene.broker.freeze()
    yield
    scene.broker.thaw()
    scene.broker.wait_ready()


@fault("broker", 8, 14)
def long_broker_pause(scene: Scene, blow: Blow) -> Iterator[None]:
    """The broker does not answer for longer than a session."""
    scene.broker.freeze()
    yield
    scene.broker.thaw()
    scene.broker.wait_ready()


# Around them


@fault("around", 2, 8)
def registry_down(scene: Scene, blow: Blow) -> Iterator[None]:
    """Nobody answers for the registry."""
    scene.registry_way.shut()
    yield
    scene.registry_way.open()


@fault("around", 1, 8)
def airflow_down(scene: Scene, blow: Blow) -> Iterator[None]:
    """Nobody answers for Airflow, and what was under way gets no answer."""
    scene.airflow_way.shut()
    yield
    scene.airflow_way.open()


def _airflow_goes_wrong(name: str, kind: str, *, times: int, seconds: float = 0.0) -> None:
    def act(scene: Scene, blow: Blow) -> Iterator[None]:
        assert scene.fake is not None
        for operation in WAYS_IN:
            scene.fake.control("fault", operation=operation, kind=kind, times=times, seconds=seconds)
        yield
        scene.fake.control("mend")

    act.__name__ = name
    fault("around", 3, 8)(act)


_airflow_goes_wrong("airflow slow", "slow", times=1000, seconds=1.0)
_airflow_goes_wrong("airflow hangs", "slow_after", times=20, seconds=AIRFLOW_TIMEOUT_SECONDS + 1)
_airflow_goes_wrong("airflow is late", "slow", times=20, seconds=AIRFLOW_TIMEOUT_SECONDS + 1)
_airflow_goes_wrong("airflow 500", "500", times=20)
_airflow_goes_wrong("airflow 500 although done", "500_after", times=20)
_airflow_goes_wrong("airflow 429", "429", times=20)
_airflow_goes_wrong("airflow loses answers", "lost", times=20)
_airflow_goes_wrong("airflow cuts connections", "cut", times=20)
_airflow_goes_wrong("airflow answers nonsense", "garbled", times=20)


@fault("around", 1, 2)
def airflow_forgets_tokens(scene: Scene, blow: Blow) -> Iterator[None]:
    """Everybody has to log in again."""
    assert scene.fake is not None
    scene.fake.control("forget-tokens")
    yield


# Plans


def blow(chance: random.Random, *names: str) -> Blow:
    """Draw how these faults happen."""
    bounds = [FAULTS[name].seconds for name in names]
    return Blow(
        faults=names,
        seconds=round(chance.uniform(max(low for low, _ in bounds), max(high for _, high in bounds)), 1),
        victim=chance.randrange(12),
        rest_seconds=chance.choice([0.0, 0.0, 2.0, 9.0]),
        wait=chance.random() < 0.6,
    )


def each_once(chance: random.Random, *, company: float = 0.5) -> Iterator[Blow]:
    """Every fault once, some of them, or as many as can, two at a time."""
    names = list(FAULTS)
    chance.shuffle(names)
    while names:
        first = names.pop(0)
        second = next((name for name in names if _together(first, name)), None)
        if second is None or chance.random() > company:
            yield blow(chance, first)
        else:
            names.remove(second)
            yield blow(chance, *sorted((first, second), key=_ORDER))


def for_ever(chance: random.Random) -> Iterator[Blow]:
    """Every fault once, in another order and company each time."""
    while True:
        yield from each_once(chance)


def counted(chance: random.Random, plan: dict[str, int]) -> Iterator[Blow]:
    """Each fault as often as asked for, quickly one after another."""
    names = [name for name, times in plan.items() for _ in range(times)]
    chance.shuffle(names)
    for name in names:
        yield replace(blow(chance, name), seconds=FAULTS[name].seconds[0], rest_seconds=0.0)


def _together(one: str, other: str) -> bool:
    kinds = FAULTS[one], FAULTS[other]
    if any(kind.alone for kind in kinds) or kinds[0].side == kinds[1].side:
        return False
    # Who waits for workers to answer can't do so without a broker.
    return {kind.side for kind in kinds} != {"workers", "broker"} or {one, other}.isdisjoint(
        {"freeze", "join and leave"}
    )


def _ORDER(name: str) -> int:  # noqa: N802
    return ["workers", "broker", "around"].index(FAULTS[name].side)
