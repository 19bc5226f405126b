from collections import Counter
from types import SimpleNamespace

import pytest
from faust.types import TP

from streamapp.kafka.gaps import Gaps
from streamapp.kafka.store import Rows

ONE = TP("changelog", 1)


class Table(SimpleNamespace):
    __hash__ = object.__hash__


@pytest.fixture
def table():
    """A table that is being restored, and has applied everything up to 9."""
    restoring = Gaps()
    restoring.go_to({ONE: 9}, {ONE: 10})
    table = Table()
    recovery = SimpleNamespace(active_offsets=Counter({ONE: 9}), buffers={})
    table.app = SimpleNamespace(restoring=restoring, tables=SimpleNamespace(recovery=recovery))
    recovery.buffers[table] = []
    return table


async def arrives(table, offset, *, tp=ONE, meanwhile=lambda: None):
    """What Faust does with a record that it has got; answer what is about to be applied, and up to where."""
    recovery = table.app.tables.recovery
    recovery.active_offsets[tp] = offset
    event = SimpleNamespace(message=SimpleNamespace(tp=tp, offset=offset))
    recovery.buffers[table].append(event)
    meanwhile()
    await Rows.on_changelog_event(table, event)
    return [event.message.offset for event in recovery.buffers[table]], recovery.active_offsets[tp]


async def test_the_next_record_is_applied(table):
    assert await arrives(table, 10) == ([10], 10)


async def test_a_record_that_comes_too_early_is_not(table):
    assert await arrives(table, 12) == ([], 9)


async def test_a_record_of_a_partition_that_has_gone_is_not(table):
    assert await arrives(table, 3, tp=TP("changelog", 2)) == ([], -1)


async def test_reading_that_is_sent_on_with_a_record_in_hand_does_not_lose_it(table):
    restoring = table.app.restoring
    assert await arrives(table, 10, meanwhile=lambda: restoring.go_to({ONE: 10}, {ONE: 11})) == ([10], 10)
