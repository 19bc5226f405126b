"""Which keys and DAGs operators have stopped. Reads what the table and the folds say of them; writes nothing."""

from collections import defaultdict

from streamapp.core.effects import OfDag, OfKey, Scope
from streamapp.core.model import Source

ALL_DAGS = OfDag("")


class Stops:
    """Keys on hold and paused DAGs, by partition."""

    def __init__(self) -> None:
        self._partitions: defaultdict[Scope, set[int]] = defaultdict(set)

    def set(self, partition: int, scope: Scope, *, stopped: bool) -> None:
        """Note what a partition's log says."""
        if stopped:
            self._partitions[scope].add(partition)
        elif scope in self._partitions:
            self._partitions[scope].discard(partition)
            if not self._partitions[scope]:
                del self._partitions[scope]

    def drop(self, partitions: frozenset[int]) -> None:
        """Forget what these partitions' logs have said."""
        for scope in list(self._partitions):
            for partition in partitions:
                self.set(partition, scope, stopped=False)

    def cover(self, source: Source, key: bytes | None, dag_id: str) -> bool:
        """Whether a command must not be started."""
        if not self._partitions:
            return False
        scopes: list[Scope] = [ALL_DAGS, OfDag(dag_id)]
        if key is not None:
            scopes.append(OfKey(key))
        return any(source.partition in self._partitions.get(scope, set()) for scope in scopes)
