"""Reads and writes nothing. The commands of a run: which key each has, and which of them fail."""

import json
import random
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

Distribution = Literal["zipf", "uniform"]
TASK_SECONDS = 0.2
FAILING_EVERY = 20
"""5 % of the commands ask for a failure."""
ZIPF_EXPONENT = 1.17
"""With 12 keys, the hottest has three of eight commands."""
SEED = 7
COMMANDS_PER_KEY = 10


@dataclass(frozen=True)
class Workload:
    """So many commands over a tenth as many keys, always the same."""

    commands: int
    distribution: Distribution

    @cached_property
    def keys(self) -> tuple[str, ...]:
        """The key of each command. Zipf: the n-th key has a share like n ** -1.17."""
        count = max(2, self.commands // COMMANDS_PER_KEY)
        weights = [(rank + 1) ** -ZIPF_EXPONENT if self.distribution == "zipf" else 1.0 for rank in range(count)]
        whole = sum(weights)
        exact = [self.commands * weight / whole for weight in weights]
        counts = [int(share) for share in exact]
        # What rounding left over goes to those that lost most by it.
        by_loss = sorted(range(count), key=lambda rank: counts[rank] - exact[rank])
        for rank in by_loss[: self.commands - sum(counts)]:
            counts[rank] += 1
        keys = [f"key-{rank}" for rank in range(count) for _ in range(counts[rank])]
        random.Random(SEED).shuffle(keys)
        return tuple(keys)

    @property
    def hottest(self) -> int:
        """How many commands the key with the most has."""
        return max(self.keys.count(key) for key in set(self.keys))

    def first(self, commands: int) -> "Workload":
        """The same with at most so many commands."""
        return Workload(min(self.commands, commands), self.distribution)

    def value(self, run: str, number: int) -> bytes:
        """The record's value, as every way gets it."""
        return value(run, number, self.keys[number], fails=number % FAILING_EVERY == FAILING_EVERY - 1)


def value(run: str, number: int, key: str, *, fails: bool = False) -> bytes:
    """A command of the run of this name."""
    params = {"bench": run, "n": number, "key": key, "seconds": TASK_SECONDS, "fail": fails}
    return json.dumps({"command": "app.bench", "params": json.dumps(params)}).encode()
