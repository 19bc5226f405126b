"""Topics that are no longer those that were read: asks for their ids, compares, says how to go on. Writes nothing.

Commands are told apart by their offsets, and a topic that is deleted and created again begins with offset 0 anew: what
stands on it would be taken for what was read before. Kafka's client reads on under the old name, wherever it was, or
from the beginning where the topic ends before that, and says nothing. So the ids of topics are kept from the first
assignment on, and compared whenever partitions are given out, every few seconds, and before records are handed on where
that was more than a second ago, or the client has been refused or cut off since. They are also committed, beside each
offset: a worker that was not there when a topic was created again is told by its last commit.
"""

import logging
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from streamapp.clock import Clock
from streamapp.core.errors import ConfigError, Unsafe
from streamapp.kafka import topic_ids

log = logging.getLogger(__name__)

RECREATED = "the topic was deleted and created again"
LOST = "a broker has lost records that it had acknowledged"
FRESH = timedelta(seconds=1)
"""How old a look may be when records are handed on. A client that waits for records is refused when their topic goes;
one that did not, because its worker was frozen or holds commands, may find the new topic and notice nothing."""
MARK = "topic-ids"
"""What a mark begins with: other programs commit what they like."""


class Originals:
    """The topics that this worker began to read, and its table's changelog."""

    def __init__(self, clock: Clock, *, commands: str, results: str, control: str, changelog: str, group: str) -> None:
        self.doubtful = False
        """Whether the client has been refused or cut off since the last look: a topic may have been created again."""
        self._clock = clock
        self._looked_at = float("-inf")
        self._commands = commands
        self._changelog = changelog
        self._group = group
        self._names = (commands, results, control, changelog)
        self._ids: dict[str, str] = {}

    def bind(self, consumer: Any) -> None:
        """Be told when the client is refused or cut off, and have the ids committed with each offset."""
        client, commit = consumer._client, consumer.commit  # noqa: SLF001
        refresh = client.force_metadata_update

        def doubt() -> Any:
            self.doubtful = True
            return refresh()

        async def commit_with_ids(offsets: Mapping[Any, Any]) -> None:
            await commit({tp: offset._replace(metadata=self.mark(tp.topic)) for tp, offset in offsets.items()})

        client.force_metadata_update, consumer.commit = doubt, commit_with_ids

    @property
    def due(self) -> bool:
        """Whether records must not be handed on without another look."""
        return self.doubtful or self._clock.monotonic() - self._looked_at > FRESH.total_seconds()

    async def look(self, client: Any, *, node: int | None = None) -> ConfigError | None:
        """Ask for the ids; say so where one is another than before. What is not told now counts as unchanged.

        Where a topic has got more partitions, the client is made to see it: it would only after minutes.

        Args:
            client: Kafka's.
            node: A broker that answers just now; None: any.
        """
        begun = self._clock.monotonic()
        told = await topic_ids.ask(client, self._names, node) or {}
        self.doubtful, self._looked_at = len(told) < len(self._names), begun
        for name, topic in told.items():
            if self._ids.setdefault(name, topic.id) != topic.id:
                return self.recreated(name, f"{name} has the id {topic.id}, and had {self._ids[name]} before")
        for name, topic in told.items():
            known = client.cluster.partitions_for_topic(name)
            if known and len(known) != topic.partitions:
                client.force_metadata_update()
        return None

    def mark(self, topic: str) -> str:
        """What is committed beside an offset: the topic's id; of commands also that of the changelog."""
        ids = [self._ids.get(name, "") for name in self._marked(topic)]
        return " ".join((MARK, *ids)) if all(ids) else ""

    def belied(self, topic: str, mark: str) -> ConfigError | None:
        """What the mark of a committed offset says of the topics as they are now; one without a mark is believed."""
        for name, id_ in zip(self._marked(topic), mark.split()[1:] if is_mark(mark) else (), strict=False):
            if self._ids.get(name, id_) != id_:
                return self.recreated(name, f"{name} has the id {self._ids[name]}, and had {id_} at the last commit")
        return None

    def _marked(self, topic: str) -> tuple[str, ...]:
        return (topic, self._changelog) if topic == self._commands else (topic,)

    async def shrunk(self, client: Any, topic: str, what: str, *, sure: bool) -> ConfigError:
        """Why a topic ends before what was read of it.

        Args:
            client: To ask once more which topic it is.
            topic: Its name.
            what: One sentence: what was read, and where it ends.
            sure: Whether what was read was read of the topic whose id is known.
        """
        if error := await self.look(client):
            return error
        if topic not in self._ids or not sure:
            return ConfigError(f"{what}: {RECREATED}, or {LOST}. {self._mend(topic)}")
        return self.lost(topic, what)

    def recreated(self, topic: str, how: str) -> ConfigError:
        """The topic is another one."""
        return ConfigError(f"{how}: {RECREATED}. {self._mend(topic)}")

    def lost(self, topic: str, how: str) -> ConfigError:
        """The topic is the same and has become shorter."""
        if topic == self._commands:
            return ConfigError(
                f"{how}: {LOST}, and what is sent now gets their offsets. Use a new commands topic, with a new app id "
                "(STREAMAPP_APP_ID), and send there what has not run."
            )
        return ConfigError(f"{how}: {LOST}. {self._mend(topic)}")

    def _mend(self, topic: str) -> str:
        """What to do; a new app id only where no command is left that it would run again."""
        reset = f"`kafka-consumer-groups.sh --bootstrap-server … --group {self._group} --topic"
        if topic == self._commands:
            return (
                "Use a new app id (STREAMAPP_APP_ID), or delete this one's consumer group and changelog topic: all "
                "that stands on the topic now is run then."
            )
        if topic == self._changelog:
            return (
                "What it knew of commands is gone. Keep the app id: a new one would run all commands again that are "
                "still on the commands topic. Stop all workers, delete their data directories, and commit again what "
                f"is committed: {reset} {self._commands} --reset-offsets --to-current --execute`"
            )
        return (
            "Keep the app id: a new one would run all commands again that are still on the commands topic. Stop all "
            f"workers and let the topic be read from its beginning: {reset} {topic} --reset-offsets --to-earliest "
            "--execute`"
        )


def is_mark(metadata: str) -> bool:
    """Whether a worker has committed this."""
    return metadata.startswith(f"{MARK} ")


def went_back(tp: Any, position: int, read: int) -> Unsafe:
    """The client read from the beginning again, and nothing tells why any more."""
    return Unsafe(
        f"{tp.topic} partition {tp.partition} was read up to {read}, and then from {position} again: for a moment it "
        "ended before that. Has a broker lost records?"
    )
