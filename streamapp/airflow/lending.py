"""One worker lends its permits to the others: messages between the two, and what each side does with them. No I/O.

The owner of partition 0 lends. A worker that can't reach it has its own part of the bound, which the lender leaves out.
"""

from collections.abc import Callable
from typing import Any

from pydantic import BaseModel, ConfigDict, TypeAdapter

from streamapp.airflow.limit import Limit
from streamapp.airflow.permits import Ask, Source

LENDING_PARTITION = 0
"""Its owner lends: every partition has one owner, and all workers know whose it is."""


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
    sample: float | None = None
    """Seconds of a trigger."""
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


_WISH: TypeAdapter[Wish] = TypeAdapter(Wish)
_GRANT: TypeAdapter[Grant] = TypeAdapter(Grant)


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
        wish = _WISH.validate_json(text)
        if wish.ask is not None:
            self._ask(wish.ask, reading=wish.reading)
        if wish.withdraw is not None:
            ask = self._asks.pop(wish.withdraw, None)
            if ask is not None:
                self._permits.withdraw(ask)
        if wish.sample is not None:
            self._permits.sample(wish.sample, wish.era)
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

    Args:
        send: Takes a message for the lender.
        owned: The partitions of this worker.
    """

    def __init__(self, send: Callable[[str], None], owned: tuple[int, ...]) -> None:
        self._send = send
        self._asks: dict[int, Ask] = {}
        self._numbers: dict[Ask, int] = {}
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
        self._next += 1
        self._asks[self._next], self._numbers[ask] = ask, self._next
        self._tell(ask=self._next, reading=ask.reading)
        return False

    def withdraw(self, ask: Ask) -> None:
        """It waits no longer."""
        number = self._numbers.pop(ask)
        del self._asks[number]
        self._tell(withdraw=number)

    def give_back(self) -> None:
        """A permit goes back; once the lender is gone, there is nobody to give it to."""
        self._tell(back=True)

    def sample(self, seconds: float, era: int) -> None:
        """A trigger was carried out."""
        if era == self.era:
            self._tell(sample=seconds, era=era)

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
        self._last = grant = _GRANT.validate_json(text)
        ask = self._asks.pop(grant.ask, None)
        if ask is None:  # withdrawn meanwhile
            self.give_back()
        else:
            del self._numbers[ask]
            ask.granted()

    def close(self) -> None:
        """The lender is gone."""
        self._closed = True

    def _tell(self, **fields: Any) -> None:
        if not self._closed:
            self._send(encode(Wish(**fields)))
