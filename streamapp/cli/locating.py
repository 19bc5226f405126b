"""Reads: what workers say of commands and keys. Writes: nothing. On which partition an instruction has to be given."""

from collections.abc import Iterable

from streamapp.cli.control import partition_in, partition_of_key, partitions_in
from streamapp.cli.output import say
from streamapp.cli.workers import CantTell, command_at, key_at
from streamapp.core.errors import ConfigError, Unavailable
from streamapp.core.key import show_key
from streamapp.settings import Settings


class Locator:
    """Finds partitions. In doubt nothing is given: about a command it would be refused there, but a hold would not."""

    def __init__(self, settings: Settings, worker: str, partitions: int, given: int | None) -> None:
        """Ask nobody yet.

        Args:
            settings: Of this installation.
            worker: Any worker's address.
            partitions: Of the control topic.
            given: The partition that the user names; it goes before everything else.

        Raises:
            ConfigError: There is no such partition.
        """
        if given is not None and given >= partitions:
            raise ConfigError(f"--partition {given}: {settings.control_topic} has the partitions 0 to {partitions - 1}")
        self._settings = settings
        self._worker = worker
        self._partitions = partitions
        self._given = given
        self._silence: str | None = None
        """Why no worker was any help; asked once only."""

    def everywhere(self) -> list[int]:
        """All partitions, or the one that the user names."""
        return list(range(self._partitions)) if self._given is None else [self._given]

    def commands(self, ids: Iterable[str], key: bytes | None) -> dict[str, int]:
        """Where these commands are; those of which no worker knows are left out, unless their key is given.

        Raises:
            ConfigError: No worker can be asked, and nothing else tells.
        """
        places = {one: self._command(one, key) for one in ids}
        return {one: place for one, place in places.items() if place is not None}

    def key(self, key: bytes) -> int:
        """Where commands of a key are; where Java clients put them if there are none, or no worker runs.

        Raises:
            ConfigError: They are on several partitions, or a worker that may know does not answer.
        """
        if self._given is not None:
            return self._given
        found: set[int] = set()
        if self._silence is None:
            try:
                found = partitions_in(key_at(self._worker, key) or {})
            except CantTell as error:
                what = f"the key {show_key(key)}: where it is can't be told, nothing was given ({error})"
                raise ConfigError(f"{what}; name its partition with --partition") from None
            except Unavailable as error:
                self._silence = str(error)
                say(f"{error}: taking the partition that Java clients choose for the key")
        if len(found) > 1:
            places = ", ".join(map(str, sorted(found)))
            raise ConfigError(
                f"the key {show_key(key)} has commands on the partitions {places}: name one with --partition"
            )
        return found.pop() if found else partition_of_key(key, self._partitions)

    def _command(self, command_id: str, key: bytes | None) -> int | None:
        if self._given is not None:
            return self._given
        if self._silence is None:
            try:
                found = command_at(self._worker, command_id)
                if found is not None:
                    return partitions_in(found).pop()
                return None if key is None else partition_of_key(key, self._partitions)
            except Unavailable as error:
                self._silence = str(error)
        if key is not None:
            return partition_of_key(key, self._partitions)
        place = partition_in(command_id, self._settings)
        if place is None or place >= self._partitions:
            raise ConfigError(
                f"{command_id}: where it is can't be told, nothing was given ({self._silence}); "
                "name a worker with --worker, or its key with --key, or its partition with --partition"
            )
        return place
