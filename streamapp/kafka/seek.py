"""Where reading starts: asks Kafka for committed and first offsets, sets the positions.

Stock Faust skips partitions without a committed offset, or with 0: what was fetched and dropped at a topic's start is
gone. It also asks partition by partition, each request behind a long poll. Here one request asks for all committed
offsets, one for the beginnings, and then all positions are set without an await.
"""

from faust.types import TP

from streamapp.kafka.fetch import FetchThread


class SeekThread(FetchThread):
    """The consumer thread with a seek that leaves no partition out."""

    async def seek_to_committed(self) -> dict[TP, int | None]:
        """Set every source partition to its committed offset, or to its beginning."""
        return await self.call_thread(self._seek_all)  # type: ignore[no-any-return]

    async def _seek_all(self) -> dict[TP, int | None]:
        consumer = self._ensure_consumer()
        changelogs = self.app.tables.changelog_topics
        recovery = self.app.tables.recovery
        sources = [tp for tp in consumer.assignment() if tp.topic not in changelogs]
        committed = await consumer._coordinator.fetch_committed_offsets(sources) if sources else {}  # noqa: SLF001
        unread = [tp for tp in sources if tp not in committed]
        beginnings = await consumer.beginning_offsets(unread) if unread else {}
        answer: dict[TP, int | None] = {}
        for tp in sources:
            answer[tp] = committed[tp].offset if tp in committed else None
            consumer.seek(tp, committed[tp].offset if tp in committed else beginnings[tp])
        if recovery.in_recovery:
            for tp in consumer.assignment():
                applied = recovery.active_offsets.get(TP(tp.topic, tp.partition)) if tp.topic in changelogs else None
                if applied is not None:
                    consumer.seek(tp, max(applied, 0))
        return answer
