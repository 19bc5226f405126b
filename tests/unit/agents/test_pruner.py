from types import SimpleNamespace

import pytest
from faust.types import TP

from streamapp.agents import pruner
from streamapp.core.errors import Unsafe
from streamapp.dispatch.prune import Offsets


class Scene:
    """A worker that has something to forget."""

    def __init__(self):
        self.asked = []
        self.app = SimpleNamespace(
            commands_topic="commands", gaps=SimpleNamespace(offsets=lambda: {TP("commands", 3): (7, 5)})
        )
        self.parts = SimpleNamespace(
            partitions=SimpleNamespace(accepting=True),
            caught_up=lambda: True,
            gate=SimpleNamespace(reasons=set()),
            folds=SimpleNamespace(failed=None),
        )

    def turn(self, *asked):
        self.asked.append(asked)
        return True


@pytest.fixture
def scene():
    return Scene()


def test_it_forgets_by_what_each_partition_has_folded_and_committed(scene):
    assert pruner.turn(scene.app, scene.parts, scene)
    assert scene.asked == [({("commands", 3): Offsets(folded=7, committed=5)}, "commands")]


@pytest.mark.parametrize(
    "urgent",
    [
        lambda parts: setattr(parts.partitions, "accepting", False),
        lambda parts: setattr(parts, "caught_up", lambda: False),
        lambda parts: parts.gate.reasons.add("ready"),
        lambda parts: setattr(parts.folds, "failed", Unsafe("refused")),
    ],
    ids=["giving up", "not caught up", "held", "failed"],
)
def test_it_forgets_nothing_while_there_is_more_urgent_work(scene, urgent):
    """What the workers before have seen may still ask for an entry; commands that are held wait for this one."""
    urgent(scene.parts)
    assert not pruner.turn(scene.app, scene.parts, scene)
    assert scene.asked == []
