"""Stands between the fold and the way out: reads the outcomes that leave, counts them, remembers whose they were."""

from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from streamapp.core.effects import Bury, Emit
from streamapp.core.model import Outcome, Status

REMEMBERED = 2000
"""Commands; more than the console looks at for one page, since some are others' by now."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a command's entry is found."""

    partition: int
    key: bytes | None
    offset: int


class Outlet(Protocol):
    """The way out."""

    def prepare(self, effect: Emit | Bury) -> Callable[[], Any]:
        """Encode an effect now, to be sent later."""


class OutcomeWatch:
    """An outlet that passes everything on."""

    def __init__(self, outlet: Outlet) -> None:
        self._outlet = outlet
        self._last: OrderedDict[Place, None] = OrderedDict()
        self.sent: Counter[Status] = Counter()
        """Outcomes by status since the start."""

    def prepare(self, effect: Emit | Bury) -> Callable[[], Any]:
        """Encode an effect now, to be sent later."""
        send = self._outlet.prepare(effect)
        if not isinstance(effect, Emit):
            return send
        outcome = effect.outcome

        def sent() -> Any:
            self._note(outcome)
            return send()

        return sent

    def latest(self) -> Iterator[Place]:
        """The commands of which something was said last, the newest first. They may be others' by now."""
        return iter(tuple(reversed(self._last)))

    def _note(self, outcome: Outcome) -> None:
        self.sent[outcome.status] += 1
        place = Place(outcome.source.partition, outcome.key, outcome.source.offset)
        self._last[place] = None
        self._last.move_to_end(place)
        if len(self._last) > REMEMBERED:
            self._last.popitem(last=False)
