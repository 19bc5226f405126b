"""Which DAG is served next: those that have something queued, in turn. Reads and writes nothing.

A DAG that was found without room stands aside, and is looked at again only when something of it has changed: however
many wait for room, they cost those that have it nothing. It keeps its place meanwhile.
"""

from sortedcontainers import SortedDict


class Turns:
    """The DAGs with something queued, in the order in which they are served."""

    def __init__(self) -> None:
        self._places: dict[str, int] = {}
        self._open: SortedDict[int, str] = SortedDict()
        """Those that may have room, by place."""
        self._last = 0

    @property
    def first(self) -> str | None:
        """The DAG whose turn it is, of those that may have room."""
        return self._open.peekitem(0)[1] if self._open else None

    def join(self, dag_id: str) -> None:
        """Something of a DAG is queued: it comes last, unless it has a place, and may have room."""
        if dag_id not in self._places:
            self._last += 1
            self._places[dag_id] = self._last
        self.look_again(dag_id)

    def served(self, dag_id: str) -> None:
        """A DAG had its turn: it comes last now."""
        self.leave(dag_id)
        self.join(dag_id)

    def leave(self, dag_id: str) -> None:
        """Nothing of a DAG is queued any more."""
        self._open.pop(self._places.pop(dag_id), None)

    def stand_aside(self, dag_id: str) -> None:
        """A DAG has no room, until something of it changes."""
        del self._open[self._places[dag_id]]

    def look_again(self, dag_id: str) -> None:
        """Something of a DAG has changed: if it waits, it may have room."""
        if dag_id in self._places:
            self._open[self._places[dag_id]] = dag_id

    def look_at_all(self) -> None:
        """Any of them may have room."""
        for dag_id in self._places:
            self.look_again(dag_id)
