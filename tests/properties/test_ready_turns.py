"""Whatever happens to DAGs in whatever order: something may be taken exactly when one of them has room."""

from dataclasses import replace
from datetime import timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from streamapp.core.effects import OfDag, OfKey
from streamapp.core.model import Status
from streamapp.dispatch.ready import Phase, Ready
from tests.support.builders import entry, policy
from tests.support.manual_clock import START, ManualClock

DAGS = ["a", "b"]
SECOND = timedelta(seconds=1)
CAPS = st.sampled_from([None, 1, 2])
SOON = st.integers(1, 3).map(lambda seconds: START + seconds * SECOND)
COME = st.tuples(st.just("come"), st.sampled_from(DAGS), CAPS, st.none() | SOON, st.none() | SOON)
TAKE = st.tuples(st.just("take"))
CHANGES = ["report", "postpone", "run", "end", "end", "end", "expire", "forget"]
STEPS = st.one_of(
    COME,
    COME,
    TAKE,
    TAKE,
    st.tuples(st.sampled_from(CHANGES), st.integers(0, 20)),
    st.tuples(st.just("share"), st.integers(0, 4)),
    st.tuples(st.just("allow"), st.sampled_from(DAGS), st.integers(1, 3)),
    st.tuples(st.just("steer"), st.sampled_from([OfDag("a"), OfKey(b"k1")]), st.booleans()),
    st.tuples(st.just("wait")),
    st.tuples(st.just("drop"), st.integers(0, 1)),
)


class Scene:
    """The index, and what was told to it."""

    def __init__(self):
        self.clock = ManualClock()
        self.caps = {}
        self.ready = Ready(self.clock, lambda: None, lambda dag_id: self.caps.get(dag_id, 1))
        self.entries = []
        self.taken = []

    def come(self, dag_id, cap, not_before, deadline):
        offset = len(self.entries)
        made = entry(
            offset,
            key=b"k%d" % (offset % 3),
            policy=policy(dag_id=dag_id, max_in_flight=cap),
            not_before=not_before,
            deadline=deadline,
        )
        self.entries.append(replace(made, source=replace(made.source, partition=offset % 2)))
        self.ready.track(self.entries[-1])

    def take(self):
        before = self.someone_has_room()
        note = self.ready.take()
        assert (note is not None) == before
        if note is not None:
            self.taken.append(note)

    def report(self, number):
        self._give_back(number, lambda note: self.ready.done(note, None))

    def postpone(self, number):
        self._give_back(number, lambda note: self.ready.done(note, SECOND))

    def forget(self, number):
        self._give_back(number, self.ready.forget)

    def _give_back(self, number, how):
        """As the sink does: once for each time that a dispatch was taken."""
        if self.taken:
            how(self.taken.pop(number % len(self.taken)))

    def run(self, number):
        self._stands(number, status=Status.TRIGGERED, attempt=1)

    def end(self, number):
        self._stands(number, status=Status.SUCCEEDED, attempt=1)

    def expire(self, number):
        self._stands(number, ending=Status.EXPIRED)

    def _stands(self, number, **fields):
        if self.entries:
            self.ready.track(replace(self.entries[number % len(self.entries)], **fields))

    def share(self, owned):
        self.ready.share(owned, 4)

    def allow(self, dag_id, cap):
        self.caps[dag_id] = cap
        self.ready.caps_changed()

    def steer(self, scope, stopped):
        self.ready.steer(0, scope, stopped=stopped)

    def wait(self):
        self.clock.advance(SECOND)
        self.ready.advance()

    def drop(self, partition):
        self.ready.drop(frozenset({partition}))

    def someone_has_room(self):
        """As one would see it who looks at everything there is."""
        ready = self.ready
        outstanding, heads = ready._outstanding, {}
        for dag_id, queue in ready._queues.items():
            heads[dag_id] = queue.head
            assert all(note.phase is Phase.QUEUED for note in queue)
        return any(head.ending or outstanding[dag_id] < ready._cap(head) for dag_id, head in heads.items())


@settings(max_examples=300)
@given(st.lists(STEPS, min_size=30, max_size=60))
def test_something_may_be_taken_when_a_dag_has_room(steps):
    scene = Scene()
    for name, *arguments in steps:
        getattr(scene, name)(*arguments)
        takeable = scene.ready.takeable  # sets aside what is overdue
        assert takeable == scene.someone_has_room(), f"after {name}"
