"""Kafka's client for one worker, as far as reading needs it: records in memory, positions, and calls to look at.

Like the real one, it empties what it has of one partition before it looks at the next, in the order in which chunks
have come, and takes no partitions for all.
"""

from collections.abc import Callable, Collection, Mapping
from types import SimpleNamespace
from typing import Any

from aiokafka.client import ConnectionGroup
from aiokafka.errors import IllegalStateError
from faust.types import TP

from streamapp.clock import Clock
from streamapp.kafka import topic_ids
from streamapp.kafka.recreated import Originals
from tests.support.manual_clock import ManualClock


def record(offset: int, value: bytes = b"v") -> Any:
    """A record with one byte of value, unless told."""
    return SimpleNamespace(offset=offset, key=None, value=value, headers=())


def originals(clock: Clock | None = None) -> Originals:
    """Nothing is known yet of the topics of an installation whose app id is shop."""
    names = {name: name for name in ("commands", "results", "control", "changelog")}
    return Originals(clock or ManualClock(), **names, group="shop")


class FakeClient:
    """Reads these records, each partition from its first one."""

    def __init__(self, chunks: Mapping[TP, Collection[int]]) -> None:
        self.asked: list[tuple[frozenset[TP], float | None, int | None, int]] = []
        """Of each call: partitions, timeout, the most records, and how long a broker may wait."""
        self.sought: list[tuple[TP, int]] = []
        self.meanwhile: Callable[[], object] = lambda: None
        """Done once, while a call waits for its answer, after records were taken."""
        self.before: Callable[[], object] = lambda: None
        """Done once, while a call waits for its answer, before records are taken."""
        self._chunks = {tp: sorted(offsets) for tp, offsets in chunks.items()}
        self._closed = False
        self._fetch_max_wait_ms = 0
        self._states = {
            tp: SimpleNamespace(has_valid_position=True, position=min(offsets, default=0))
            for tp, offsets in chunks.items()
        }
        self._fetcher = self
        self._subscriptions = self._coordinator = self
        self._client = self.cluster = self
        self.committed: dict[TP, int] = {}
        self.marks: dict[TP, str] = {}
        """What was committed beside an offset."""
        self.ids = {tp.topic: f"id-of-{tp.topic}" for tp in chunks}
        """Of the topics; empty: no broker answers."""
        self.partitions: dict[str, int] = {}
        """How many a topic has by now, where the client does not know yet."""
        self.looks = 0
        """Times that it was asked for ids."""
        self.refreshed = 0
        """Times that it was asked to find out about topics."""
        self.subscribed: list[str] = []
        self._subscription = SimpleNamespace(
            subscription=SimpleNamespace(assignment=SimpleNamespace(state_value=self.state_value))
        )

    # What Faust and streamapp ask

    def assignment(self) -> frozenset[TP]:
        return frozenset(self._states)

    def partitions_for_topic(self, topic: str) -> set[int] | None:
        return {tp.partition for tp in self._states if tp.topic == topic} or None

    def state_value(self, tp: TP) -> Any:
        if tp not in self._states:
            raise IllegalStateError(f"{tp} is not assigned")
        return self._states[tp]

    def seek(self, tp: TP, offset: int) -> None:
        self.state_value(tp).position = offset
        self.sought.append((tp, offset))

    def fetch_context(self) -> Any:
        return self

    def __enter__(self) -> None: ...

    def __exit__(self, *_: object) -> None: ...

    async def fetched_records(
        self,
        partitions: Collection[TP],
        timeout: float | None,  # noqa: ASYNC109 - the client's own
        max_records: int | None,
    ) -> dict[TP, list[Any]]:
        self.asked.append((frozenset(partitions), timeout, max_records, self._fetch_max_wait_ms))
        before, self.before = self.before, lambda: None
        before()
        left = 500 if max_records is None else max_records
        answer: dict[TP, list[Any]] = {}
        for tp, offsets in self._chunks.items():
            if tp not in self._states or (partitions and tp not in partitions):
                continue
            taken = [offset for offset in offsets if offset >= self._states[tp].position][:left]
            if taken:
                answer[tp] = [record(offset) for offset in taken]
                self._states[tp].position = taken[-1] + 1
                left -= len(taken)
            if not left:
                break
        meanwhile, self.meanwhile = self.meanwhile, lambda: None
        meanwhile()
        return answer

    def subscribe(self, topics: Collection[str], **_: Any) -> None:
        self.subscribed += topics

    async def _send_req(self, request: Any) -> Any: ...

    async def position(self, tp: TP) -> int:
        return self.read_on(tp)

    async def fetch_committed_offsets(self, partitions: Collection[TP]) -> dict[TP, Any]:
        assert partitions, "the client would not answer"
        return {
            tp: SimpleNamespace(offset=self.committed[tp], metadata=self.marks.get(tp, ""))
            for tp in partitions
            if tp in self.committed
        }

    async def commit(self, offsets: Mapping[TP, Any]) -> None:
        self.committed |= {tp: found.offset for tp, found in offsets.items()}
        self.marks |= {tp: found.metadata for tp, found in offsets.items()}

    def force_metadata_update(self) -> None:
        self.refreshed += 1

    def get_random_node(self) -> int | None:
        return 1 if self.ids else None

    def leader_for_partition(self, tp: TP) -> int | None:
        return None if tp.topic not in self.ids else 1

    async def send(self, node: int, request: Any, *, group: int) -> Any:
        """Answer as a broker that is asked for topics by their names, on the connection that has no fetches."""
        assert (node, group) == (1, ConnectionGroup.COORDINATION)
        self.looks += 1
        topics = []
        for _, name, _ in request.build(topic_ids.Question).topics:
            count = self.partitions.get(name, len(self.partitions_for_topic(name) or ()))
            known = name in self.ids
            topics.append((0 if known else 3, name, self.ids.get(name), False, [()] * count, 0, {}))
        return SimpleNamespace(topics=topics)

    async def beginning_offsets(self, partitions: Collection[TP]) -> dict[TP, int]:
        return {tp: min(self._chunks[tp], default=0) for tp in partitions}

    async def end_offsets(self, partitions: Collection[TP]) -> dict[TP, int]:
        return {tp: max(self._chunks[tp], default=-1) + 1 for tp in partitions}

    # What tests tell it

    def revoke(self, tp: TP) -> None:
        """This partition is somebody else's now."""
        del self._states[tp]

    def read_on(self, tp: TP) -> int:
        """Where it would read on."""
        position: int = self._states[tp].position
        return position
