"""What the core may ask of the table while it decides: a few questions, each answered in constant time. Reads only."""

from typing import Protocol

from streamapp.core.effects import Scope
from streamapp.core.model import Entry, Holder, Standing


class State(Protocol):
    """One partition's rows, as the folds before this one left them."""

    def entry(self, key: bytes | None, offset: int) -> Entry | None:
        """The entry of a record.

        Where a crash left a move half done, the row that was written last is the truth: settled before free before
        queued.
        """

    def holder(self, command_id: str) -> Holder | None:
        """Who holds a command id."""

    def reopened(self, round_: str) -> Holder | None:
        """Which record has followed a round with another one."""

    def standing(self, scope: Scope) -> Standing | None:
        """What operators have said of a key or a DAG."""

    def head(self, key: bytes) -> int | None:
        """The offset of the first entry in a key's queue, None when the queue is empty."""

    def next_after(self, key: bytes, offset: int) -> Entry | None:
        """The first entry in a key's queue beyond an offset."""
