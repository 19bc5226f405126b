"""What the fold asks of the outside: a changelog with a database, a way out, an index. Reads and writes nothing."""

from collections.abc import Callable, Generator, Sequence
from typing import Any, Protocol

from streamapp.core.effects import Bury, Emit, Row, RowKey, Scope
from streamapp.core.model import Entry


class Receipt(Protocol):
    """The promise of an acknowledgement by Kafka; an `asyncio.Future` is one."""

    def add_done_callback(self, callback: Callable[[Any], None], /) -> Any:
        """Call back once the broker has answered."""

    def done(self) -> bool:
        """Whether the broker has answered."""

    def cancelled(self) -> bool:
        """Whether nobody waits for the answer any more."""

    def exception(self) -> BaseException | None:
        """Why the send failed."""

    def result(self) -> Any:
        """The acknowledgement; raises what went wrong."""


class Ledger(Protocol):
    """The table: per partition a changelog, which is the truth, and a local database, which follows it."""

    def check_size(self, key: bytes, value: bytes | None) -> None:
        """Make sure that the changelog takes a row.

        Raises:
            TooLarge: it would be refused.
        """

    def append(self, partition: int, key: bytes, value: bytes | None) -> Receipt:
        """Send a row to the changelog, None for its removal."""

    def enter(self, partition: int, rows: Sequence[tuple[bytes, bytes | None]], last: Receipt) -> None:
        """Write acknowledged rows into the database, in one atomic write with the changelog offset of the last."""

    def get(self, partition: int, key: bytes) -> bytes | None:
        """A row of the database."""

    def scan(self, partition: int, start: bytes) -> Generator[tuple[bytes, bytes], None, None]:
        """The rows of the database from a key on, in order. Close the iterator."""


class RowCodec(Protocol):
    """Rows to bytes and back; the bytes of keys keep one key's entries adjacent and in offset order."""

    QUEUES: bytes
    """Where the first row of any queue would stand."""
    FREE: bytes
    """Where the first entry that holds no key would stand."""
    SETTLED: bytes
    """Where the first entry that has ended would stand."""
    STANDINGS: bytes
    """Where the first row of a key or a DAG as a whole would stand."""

    def after_queue(self, key: bytes) -> bytes:
        """Where the first row after all entries of a key's queue would stand."""

    def row_key(self, key: RowKey) -> bytes:
        """A row key as bytes."""

    def parse_key(self, data: bytes) -> RowKey:
        """The row key that the bytes stand for."""

    def row_value(self, row: Row) -> bytes:
        """A row's value."""

    def parse_row(self, data: bytes) -> Row:
        """The row that the bytes stand for."""


class Outlet(Protocol):
    """The way out to the results and dead-letter topics."""

    def prepare(self, effect: Emit | Bury) -> Callable[[], Receipt]:
        """Encode an effect now, to be sent later.

        Raises:
            TooLarge: Kafka would refuse it.
        """


class Index(Protocol):
    """The memory of what is to be done next."""

    def track(self, entry: Entry) -> None:
        """Note how an entry now stands."""

    def inherit(self, entry: Entry) -> None:
        """Note how an entry stands that the restored table shows: another worker may have been at it."""

    def steer(self, partition: int, scope: Scope, *, stopped: bool) -> None:
        """Stop a key or a DAG, or let it go on: nothing of it is started meanwhile, what has a run goes on."""

    def drop(self, partitions: frozenset[int]) -> None:
        """Forget all entries of these partitions, and who is stopped on them."""
