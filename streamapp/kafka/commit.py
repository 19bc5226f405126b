"""What is committed: reads acks, which come in offset order and mean done, writes the offset after the last one.

Stock Faust works out runs of acked offsets and gaps between them, from what it believes to have delivered; what was
read again, and gaps that the broker has, are the business of `gaps` here. It also believes that a failed commit went
through.
"""

from collections.abc import Mapping
from typing import Any

from faust.types import TP
from faust.types.tuples import Message

from streamapp.kafka.gaps import RereadingConsumer


class CommittingConsumer(RereadingConsumer):
    """A consumer whose commit is the offset after the last ack of each partition."""

    def ack(self, message: Message) -> bool:
        """Note that a record, and every one before it in its partition, is done."""
        if message.acked:
            return False
        message.acked = True
        self._unacked_messages.discard(message)
        if self.app.topics.acks_enabled_for(message.topic):
            self._acked[message.tp] = [message.offset]
            self.app.gaps.acked(message.tp, message.offset)
            self.app.intake.acked(message.tp, message.offset)
            self._n_acked += 1
        return True

    async def commit(self, topics: Any = None, start_new_transaction: bool = True) -> bool:  # noqa: FBT001
        """Commit what is acked by now; stock leaves it at a commit under way, which may have begun before that."""
        await self.maybe_wait_for_commit_to_finish()
        return bool(await super().commit(topics, start_new_transaction))

    def _new_offset(self, tp: TP) -> int | None:
        acked = self._acked[tp]
        return acked[-1] + 1 if acked else None

    async def _add_gap(self, tp: TP, offset_from: int, offset_to: int) -> None:
        """Gaps are not acked here: whether one is allowed is decided before a record is folded."""

    async def _commit_offsets(self, offsets: Mapping[TP, int], start_new_transaction: bool = True) -> bool:  # noqa: FBT001
        before = {tp: self._committed_offset[tp] for tp in offsets}
        committed: bool = await super()._commit_offsets(offsets, start_new_transaction)
        if committed:
            self.app.gaps.committed(offsets)
        else:
            self._committed_offset.update(before)
        return committed
