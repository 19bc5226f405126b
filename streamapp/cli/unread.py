"""Reads: commands that no worker has taken in yet, and the group's offsets. Writes: nothing. How long a way is left."""

from dataclasses import dataclass
from typing import Any

from streamapp.cli.checks import group
from streamapp.cli.control import partition_of_key
from streamapp.cli.parts import registry_of
from streamapp.cli.scan import Topic
from streamapp.core.key import show_key
from streamapp.core.model import Source
from streamapp.settings import Settings
from streamapp.wire.codec import CommandDecoder
from streamapp.wire.times import from_millis, to_text

LOOKED_THROUGH = 10_000
"""Records of each partition that are looked through at most."""


@dataclass(frozen=True, slots=True)
class Unread:
    """What is not read yet, as far as it was looked through."""

    found: dict[str, Any] | None
    """The command, as `streamapp status` shows one."""
    records: int
    """All records that are not read yet, of the partitions that were looked through."""
    passed_by: bool
    """Whether there were too many to look through all of them."""


async def look(settings: Settings, command_id: str, partition: int | None, key: bytes | None) -> Unread:
    """Look for a command among what is not read yet.

    Args:
        settings: Of this installation.
        command_id: The command.
        partition: Where it is.
        key: Tells the partition, as Java clients choose it; without both, all are looked through.

    Raises:
        Unavailable: Kafka does not answer, or the registry, where it is needed.
    """
    _, committed = await group(settings)
    offsets = {place.partition: offset for place, offset in committed.items() if place.topic == settings.commands_topic}
    decoder = CommandDecoder(registry_of(settings), settings.max_command_bytes)
    async with Topic(settings, "commands") as topic:
        if partition is None and key is not None:
            partition = partition_of_key(key, len(topic.ends))
        numbers = [number for number in topic.ends if partition in {None, number}]
        starts = {number: max(offsets.get(number, 0), topic.starts[number]) for number in numbers}
        ends = {number: min(topic.ends[number], starts[number] + LOOKED_THROUGH) for number in numbers}
        found = None
        async for record in topic.read(starts, ends, label="looking through what is not read yet"):
            source = Source(topic.name, record.partition, record.offset)
            at = from_millis(max(record.timestamp, 0))
            content = await decoder.decode(
                source=source, key=record.key, value=record.value, headers=record.headers, recorded_at=at
            )
            if content.id == command_id:
                found = {
                    "command_id": command_id,
                    "key": show_key(record.key),
                    "command": content.command,
                    "status": "unread",
                    "waiting_for": _waits(record.offset - starts[record.partition]),
                    "recorded_at": to_text(at),
                    "source": {"topic": source.topic, "partition": source.partition, "offset": source.offset},
                }
        records = sum(max(topic.ends[number] - starts[number], 0) for number in numbers)
        return Unread(found, records, any(ends[number] < topic.ends[number] for number in numbers))


def _waits(before: int) -> str:
    if before <= 0:
        return "a worker to read it: it comes next on its partition"
    records = "one record" if before == 1 else f"{before} records"
    return f"a worker to read it: at most {records} of its partition {'is' if before == 1 else 'are'} before it"
