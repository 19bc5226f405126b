from types import SimpleNamespace

import pytest

from streamapp.agents import sequencer
from streamapp.core.model import Reason, Reopens, Source
from streamapp.wire.headers import REDRIVE
from tests.support.builders import command, policy
from tests.support.manual_clock import ManualClock


class Parts:
    """What the sequencer asks: a decoder that takes everything, and one route."""

    def __init__(self):
        self.clock = ManualClock()
        self.commands = SimpleNamespace(decode=self.decode)
        self.routes = SimpleNamespace(find=lambda name: policy() if name == "app.probe" else None)
        self.name = "app.probe"

    async def decode(self, **_):
        return command(command=self.name)

    async def patiently(self, _part, _topic, ask):
        return await ask()


@pytest.fixture
def parts():
    return Parts()


def message(headers):
    return SimpleNamespace(
        topic="commands", partition=0, offset=9, timestamp=1_767_268_800.0, key=b"k", value=b"{}", headers=headers
    )


async def test_a_record_is_a_command_with_its_policy_also_without_headers(parts):
    received = await sequencer.receive(parts, message(None))
    assert (received.content, received.policy, received.reopens) == (command(), policy(), None)
    assert (received.original.value, received.original.headers) == (b"{}", ())


async def test_a_redriven_record_opens_the_next_round(parts):
    received = await sequencer.receive(parts, message([(REDRIVE, b"commands-0-3-1")]))
    assert received.reopens == Reopens(Source("commands", 0, 3), 1)


async def test_a_record_whose_redrive_can_not_be_read_does_not_run(parts):
    """As a command of its own, it would run what has run before."""
    received = await sequencer.receive(parts, message([(REDRIVE, b"nonsense")]))
    assert (received.content.reason, received.content.id, received.policy) == (Reason.INVALID_COMMAND, "c0", None)


async def test_what_no_route_takes_does_not_run(parts):
    parts.name = "other.probe"
    received = await sequencer.receive(parts, message(None))
    assert (received.content.reason, received.content.command) == (Reason.UNKNOWN_ROUTE, "other.probe")
    assert received.policy is None
