"""One worker lends its permits to the others: messages between the two, and what each side does with them. No I/O.

The owner of partition 0 lends. A worker that can't reach it has its own part of the bound, which the lender leaves out.
"""

from collections import deque
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from pydantic import BaseModel, ConfigDict

from streamapp.airflow.limit import Limit
from streamapp.airflow.permits import Ask, Source
from streamapp.clock import Clock

LENDING_PARTITION = 0
"""Its owner lends: every partition has one owner, and all workers know whose it is."""

KEPT_FOR = timedelta(milliseconds=50)
"""So long a borrower may use a permit again and again; a worker that waits for one waits for so much longer."""
SAMPLES = 200
"""The most that are kept for the next message."""


class _Message(BaseModel):
    model_config = ConfigDict(frozen=True)


class Wish(_Message):
    """From a borrower: one thing of these."""

    ask: int | None = None
    """It wants a permit; a number for the answer."""
    reading: bool = False
    withdraw: int | None = None
    """It wants it no longer."""
    back: bool = False
    """A permit comes back."""
    samples: tuple[float, ...] = ()
    """Seconds of triggers that began in an era, while all permits were out."""
    era: int = 0
    failed: float | None = None
    """Seconds of a trigger that failed."""
    again: bool = False
    restart: bool = False
    owned: tuple[int, ...] | None = None
    """The partitions that are the borrower's now."""


class Grant(_Message):
    """From the lender: a permit, and how things stand."""

    ask: int
    number: int
    bound: int
    era: int
    full: bool
    recent: float | None = None
    before: float | None = None


def encode(message: Wish | Grant) -> str:
    """As JSON."""
    return message.model_dump_json(exclude_defaults=True)


class Lender:
    """The lender's side: one for each worker, a `Desk` for each borrower."""

    def __init__(self, limit: Limit) -> None:
        self._limit = limit
        self._desks: dict[Desk, frozenset[int]] = {}

    def __len__(self) -> int:
        return len(self._desks)

    def open(self, send: Callable[[str], None]) -> "Desk":
        """A borrower has come; close what is returned when it goes.

        Args:
            send: Takes a message for it.
        """
        desk = Desk(self._limit.own, send, self._settle)
        self._settle(desk, frozenset())
        return desk

    def _settle(self, desk: "Desk", owned: frozenset[int] | None) -> None:
        if owned is None:
            self._desks.pop(desk, None)
        else:
            self._desks[desk] = owned
        self._limit.lend(frozenset().union(*self._desks.values()))


class Desk:
    """Where one borrower is served."""

    def __init__(
        self, permits: Source, send: Callable[[str], None], settle: Callable[["Desk", frozenset[int] | None], None]
    ) -> None:
        self._permits = permits
        self._send = send
        self._settle = settle
        self._asks: dict[int, Ask] = {}
        self._lent = 0

    def take(self, text: str) -> None:
        """A message of the borrower.

        Raises:
            ValueError: it is none.
        """
        wish = Wish.model_validate_json(text)
        if wish.ask is not None:
            self._ask(wish.ask, reading=wish.reading)
        if wish.withdraw is not None:
            ask = self._asks.pop(wish.withdraw, None)
            if ask is not None:
                self._permits.withdraw(ask)
        for seconds in wish.samples:
            self._permits.sample(seconds, wish.era)
        if wish.failed is not None:
            self._permits.failed(wish.failed, again=wish.again)
        if wish.restart:
            self._permits.restart()
        if wish.owned is not None:
            self._settle(self, frozenset(wish.owned))
        if wish.back and self._lent:
            self._lent -= 1
            self._permits.give_back()

    def close(self) -> None:
        """The borrower is gone: what it had comes back."""
        asks, self._asks = self._asks, {}
        for ask in asks.values():
            self._permits.withdraw(ask)
        self._settle(self, None)
        while self._lent:
            self._lent -= 1
            self._permits.give_back()

    def _ask(self, number: int, *, reading: bool) -> None:
        def granted() -> None:
            self._asks.pop(number, None)
            self._grant(number)

        ask = Ask(reading, granted)
        if self._permits.ask(ask):
            self._grant(number)
        else:
            self._asks[number] = ask

    def _grant(self, number: int) -> None:
        permits = self._permits
        self._lent += 1
        grant = Grant(
            ask=number,
            number=permits.number,
            bound=permits.bound,
            era=permits.era,
            full=permits.full,
            recent=permits.recent,
            before=permits.before,
        )
        self._send(encode(grant))


class Loan:
    """The borrower's side: a source of permits that another worker has.

    A permit that comes back may be used again at once, for a short while: else each request would cost messages.

    Args:
        send: Takes a message for the lender.
        owned: The partitions of this worker.
        clock: For how long a permit has been lent.
    """

    def __init__(self, send: Callable[[str], None], owned: tuple[int, ...], clock: Clock) -> None:
        self._send = send
        self._clock = clock
        self._waiting: dict[bool, deque[Ask]] = {True: deque(), False: deque()}
        self._asked: dict[bool, deque[int]] = {True: deque(), False: deque()}
        """The numbers under which permits were asked for: for reads, and for triggers."""
        self._lent_at: deque[float] = deque()
        self._samples: list[float] = []
        self._next = 0
        self._closed = False
        self._last = Grant(ask=0, number=1, bound=1, era=0, full=False)
        self.own(owned)

    @property
    def number(self) -> int:
        """Permits of all workers together, when the last one was granted."""
        return self._last.number

    @property
    def bound(self) -> int:
        """The most of them."""
        return self._last.bound

    @property
    def era(self) -> int:
        """Grows whenever the number changes."""
        return self._last.era

    @property
    def full(self) -> bool:
        """Whether all permits were out with the last one."""
        return self._last.full

    @property
    def recent(self) -> float | None:
        """How long triggers took, in seconds."""
        return self._last.recent

    @property
    def before(self) -> float | None:
        """How long they took under the number that was compared with it."""
        return self._last.before

    def ask(self, ask: Ask) -> bool:
        """Pass it on: the answer comes later."""
        self._waiting[ask.reading].append(ask)
        self._ask_for_all()
        return False

    def withdraw(self, ask: Ask) -> None:
        """It waits no longer."""
        waiting, asked = self._waiting[ask.reading], self._asked[ask.reading]
        waiting.remove(ask)
        if len(asked) > len(waiting):
            self._tell(withdraw=asked.pop())

    def give_back(self) -> None:
        """A permit is free: for the next who waits here, or for other workers.

        Once the lender is gone, there is nobody to give it to.
        """
        lent_at = self._lent_at.popleft() if self._lent_at else 0.0
        if not self._closed and self._clock.monotonic() - lent_at < KEPT_FOR.total_seconds() and self._serve(lent_at):
            return
        self._tell(back=True)

    def sample(self, seconds: float, era: int) -> None:
        """A trigger was carried out; it is told with what is told next."""
        if era == self.era and len(self._samples) < SAMPLES:
            self._samples.append(seconds)

    def failed(self, seconds: float, *, again: bool) -> None:
        """A trigger failed."""
        self._tell(failed=seconds, again=again)

    def restart(self) -> None:
        """Begin with one again."""
        self._tell(restart=True)

    def own(self, partitions: tuple[int, ...]) -> None:
        """Other partitions are this worker's now."""
        self._tell(owned=partitions)

    def take(self, text: str) -> None:
        """A message of the lender.

        Raises:
            ValueError: it is none.
        """
        grant = Grant.model_validate_json(text)
        if grant.era != self.era:
            self._samples.clear()
        self._last = grant
        for asked in self._asked.values():
            if grant.ask in asked:
                asked.remove(grant.ask)
        if not self._serve(self._clock.monotonic()):  # nobody waits any more
            self._tell(back=True)
        self._ask_for_all()  # a read may have got what was asked for a trigger

    def close(self) -> None:
        """The lender is gone."""
        self._closed = True

    def _ask_for_all(self) -> None:
        for reading, waiting in self._waiting.items():
            asked = self._asked[reading]
            while len(asked) < len(waiting):
                self._next += 1
                asked.append(self._next)
                self._tell(ask=self._next, reading=reading)

    def _serve(self, lent_at: float) -> bool:
        for waiting in self._waiting.values():
            if waiting:
                self._lent_at.append(lent_at)
                waiting.popleft().granted()
                return True
        return False

    def _tell(self, **fields: Any) -> None:
        if not self._closed:
            samples, self._samples = tuple(self._samples), []
            self._send(encode(Wish(**fields, samples=samples, era=self.era)))
