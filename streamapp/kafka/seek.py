"""Where reading starts: asks Kafka for committed and first offsets, sets the positions.

Stock Faust skips partitions without a committed offset, or with 0: what was fetched and dropped at a topic's start is
gone. It also asks partition by partition, each request behind a long poll. Here one request asks for all committed
offsets, one for the beginnings, and then all positions are set without an await. Kafka's client takes an answer that is
an error, because the group's coordinator has just moved, say, for one without offsets: reading would start anew.
"""

from collections.abc import Mapping
from typing import Any

from aiokafka.errors import GroupCoordinatorNotAvailableError, NoError, NotCoordinatorForGroupError, for_code
from faust.types import TP

from streamapp.core.errors import ConfigError
from streamapp.kafka.fetch import FetchThread
from streamapp.kafka.recreated import Originals, is_mark


class SeekThread(FetchThread):
    """The consumer thread with a seek that leaves no partition out."""

    async def subscribe(self, topics: Any) -> None:
        """Join the group; its coordinator exists from here on."""
        await super().subscribe(topics)
        heed_errors(self._consumer._coordinator)  # noqa: SLF001

    async def seek_to_committed(self) -> dict[TP, int | None]:
        """Set every source partition to its committed offset, or to its beginning."""
        return await self.call_thread(self._seek_all)  # type: ignore[no-any-return]

    async def _seek_all(self) -> dict[TP, int | None]:
        consumer = self._ensure_consumer()
        changelogs = self.app.tables.changelog_topics
        recovery = self.app.tables.recovery
        sources = [tp for tp in consumer.assignment() if tp.topic not in changelogs]
        if error := await self.app.originals.look(consumer._client):  # noqa: SLF001
            self.app.leave(error)
        committed = await consumer._coordinator.fetch_committed_offsets(sources) if sources else {}  # noqa: SLF001
        unread = [tp for tp in sources if tp not in committed]
        beginnings = await consumer.beginning_offsets(unread) if unread else {}
        ends = await consumer.end_offsets(sources) if sources else {}
        if error := await self._belied(consumer, committed, ends):
            self.app.leave(error)
        positions = {tp: committed[tp].offset if tp in committed else beginnings[tp] for tp in sources}
        for tp, offset in positions.items():
            consumer.seek(tp, offset)
        derived = {tp: end for tp, end in ends.items() if tp.topic != self.app.commands_topic}
        self.app.gaps.start(_by_faust(positions), _by_faust(derived))
        if recovery.in_recovery:
            restored = {TP(tp.topic, tp.partition) for tp in consumer.assignment() if tp.topic in changelogs}
            applied = {tp: recovery.applied(tp) for tp in restored}
            self._restore_from(consumer, {tp: max(offset, 0) for tp, offset in applied.items() if offset is not None})
        return {tp: committed[tp].offset if tp in committed else None for tp in sources}

    async def _belied(self, consumer: Any, committed: Mapping[TP, Any], ends: Mapping[TP, int]) -> ConfigError | None:
        """Why what is committed can't be believed: it is of another topic."""
        originals: Originals = self.app.originals
        for tp, found in committed.items():
            if error := originals.belied(tp.topic, found.metadata):
                return error
            if (end := ends[tp]) < found.offset:
                what = (
                    f"offset {found.offset} of {tp.topic} partition {tp.partition} was committed, but it ends at {end}"
                )
                return await originals.shrunk(consumer._client, tp.topic, what, sure=is_mark(found.metadata))  # noqa: SLF001
        return None

    async def _seek_wait(self, consumer: Any, partitions: Mapping[TP, int]) -> None:
        self._restore_from(consumer, partitions)
        await super()._seek_wait(consumer, partitions)

    def _restore_from(self, consumer: Any, positions: Mapping[TP, int]) -> None:
        """Read changelogs from here; Faust starts with the last record that it has applied."""
        recovery = self.app.tables.recovery
        self.app.restoring.go_to(positions, {tp: _after(recovery.applied(tp)) for tp in positions})
        for tp, offset in positions.items():
            consumer.seek(tp, offset)


def heed_errors(coordinator: Any) -> None:
    """Have an error that stands for all committed offsets raised; the client looks at those of partitions alone.

    It asks again where that helps, as it does for those.
    """
    if getattr(coordinator, "heeding", False):
        return
    coordinator.heeding = True
    ask = coordinator._send_req  # noqa: SLF001

    async def send(request: Any) -> Any:
        response = await ask(request)
        if is_a(request, "OffsetFetchRequest"):
            error = for_code(getattr(response, "error_code", NoError.errno))  # the first versions have none
            if error in {GroupCoordinatorNotAvailableError, NotCoordinatorForGroupError}:
                coordinator.coordinator_dead()
            if error is not NoError:
                raise error(f"the committed offsets of {coordinator.group_id} are not told")
        return response

    coordinator._send_req = send  # noqa: SLF001


def is_a(request: Any, name: str) -> bool:
    """Whether it is such a request, of whatever version."""
    return type(request).__name__.startswith(name)


def _after(applied: int | None) -> int:
    return 0 if applied is None else applied + 1


def _by_faust(offsets: Mapping[TP, int]) -> dict[TP, int]:
    return {TP(tp.topic, tp.partition): offset for tp, offset in offsets.items()}
