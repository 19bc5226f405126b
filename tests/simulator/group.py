"""The consumer group, modelled: reads joins and heartbeats, hands out partitions, evicts members that are not heard of.

At a change all members give up everything, and join again; the last one to join starts the next generation.
"""

from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.simulator.worker import Worker
    from tests.simulator.world import World

SESSION_MS = 10_000
REBALANCE_MS = 20_000
LOOK_EVERY_MS = 1000


class Group:
    """Members and who owns what."""

    def __init__(self, world: "World", partitions: int) -> None:
        self._world = world
        self._partitions = partitions
        self._seen: dict[Worker, int] = {}
        """When each member was last heard of."""
        self._joined: dict[Worker, int] = {}
        """Who waits for the next generation, and for the answer to which of its joins."""
        self._joining_since: int | None = None
        self.generation = 0
        self.owners: dict[int, Worker] = {}

    def join(self, worker: "Worker", number: int) -> None:
        self._seen[worker] = self._world.now
        self._start()
        self._joined[worker] = number
        self._assign_if_all_joined()

    def leave(self, worker: "Worker") -> None:
        self._forget(worker)
        self._start()
        self._assign_if_all_joined()

    def rebalance(self) -> None:
        """Somebody, or something, wants one."""
        if self._seen:
            self._start()

    def heartbeat(self, worker: "Worker") -> bool:
        """Whether the member may go on as it is; else it has to give up its partitions and join again."""
        if worker not in self._seen:
            return False
        self._seen[worker] = self._world.now
        return self._joining_since is None or worker in self._joined

    @property
    def settled(self) -> bool:
        """Whether each partition is with its owner."""
        owners = self.owners.items()
        return len(owners) == self._partitions and all(one.alive and n in one.assignment for n, one in owners)

    def is_member(self, worker: "Worker", generation: int | None = None) -> bool:
        """Whether it is one, and of the present generation."""
        return worker in self._seen and generation in {None, self.generation}

    def look(self) -> None:
        """Evict whoever was not heard of for too long."""
        now = self._world.now
        for worker, seen in list(self._seen.items()):
            waits = worker in self._joined and worker.alive and not worker.frozen
            late = self._joining_since is not None and now - self._joining_since > REBALANCE_MS
            if (worker not in self._joined and late) or (now - seen > SESSION_MS and not waits):
                self._world.say(worker.name, "is evicted")
                self._forget(worker)
                self._start()
        self._assign_if_all_joined()
        self._world.idle()
        self._world.after(LOOK_EVERY_MS, None, self.look)

    def _forget(self, worker: "Worker") -> None:
        self._seen.pop(worker, None)
        self._joined.pop(worker, None)

    def _start(self) -> None:
        if self._joining_since is None:
            self._joining_since = self._world.now
            self._joined.clear()

    def _assign_if_all_joined(self) -> None:
        if self._joining_since is None or not self._seen or self._joined.keys() != self._seen.keys():
            return
        world = self._world
        self._joining_since = None
        self.generation += 1
        members = list(self._joined)
        before, self.owners = self.owners, {n: world.random.choice(members) for n in range(self._partitions)}
        moved = sum(before.get(number) is not owner for number, owner in self.owners.items() if number in before)
        world.counts["takeovers"] += moved
        world.counts["rebalances"] += 1
        for worker, join in self._joined.items():
            self._seen[worker] = world.now
            numbers = frozenset(number for number, owner in self.owners.items() if owner is worker)
            world.after(world.delay(20), worker, partial(worker.assigned, join, self.generation, numbers, world.now))
        self._joined.clear()
