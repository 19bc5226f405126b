"""What the two short agents fold, what they pass over, and what they leave for the next owner."""

from types import SimpleNamespace

import pytest
from faust.types import TP

from streamapp.agents import control, settle
from streamapp.core.events import Instructed, Observed
from streamapp.core.model import Action, Instruction, Source
from streamapp.wire.control import encode_instruction
from tests.support.manual_clock import START, ManualClock

HOLD = Instruction(control_id="i1", action=Action.HOLD, key=b"order-1", by="alice", at=START)


class App:
    """Keeps the agent that is added to it."""

    consumer_generation_id = 7

    def agent(self, topic, *, name, concurrency):
        assert (topic, name, concurrency) == ("topic", name, 1), "two at once would fold in any order"

        def keep(agent):
            self.run = agent

        return keep


class Stream:
    """These records, acked by whoever folds them."""

    def __init__(self, messages):
        self._messages = messages

    def noack(self):
        return self

    async def events(self):
        for message in self._messages:
            yield SimpleNamespace(message=message, ack=f"ack {message.offset}")


class Parts:
    """Notes what is folded; decodes what it was given."""

    def __init__(self, outcome=None):
        self.clock = ManualClock()
        self.outcome = outcome
        self.outcomes = SimpleNamespace(decode=self.decode)
        self.done = []

    async def decode(self, key, value):
        return self.outcome

    async def patiently(self, _part, _topic, ask):
        return await ask()

    def fold(self, message, event, ack):
        self.done.append(("fold", message.offset, event, ack))

    def pass_over(self, message, ack):
        self.done.append(("pass over", message.offset, ack))


def message(value=b"{}", generation=App.consumer_generation_id):
    tp = TP("topic", 3)
    return SimpleNamespace(
        topic=tp.topic, partition=tp.partition, tp=tp, offset=5, key=b"k", value=value, generation_id=generation
    )


async def run(agent, parts, *messages):
    app = App()
    agent.register(app, "topic", parts)
    await app.run(Stream(messages))
    return parts.done


def outcome(partition):
    return SimpleNamespace(source=Source("commands", partition, 41))


async def test_an_observation_is_folded_with_its_key_and_the_time():
    seen = outcome(3)
    done = await run(settle, Parts(seen), message())
    assert done == [("fold", 5, Observed(key=b"k", outcome=seen, at=START), "ack 5")]


@pytest.mark.parametrize("strange", [None, outcome(4)], ids=["nothing", "of another partition"])
async def test_a_result_that_says_nothing_here_is_passed_over(strange):
    """Left where it is, it would keep what was committed from ever growing; folded, it would end another's command."""
    assert await run(settle, Parts(strange), message()) == [("pass over", 5, "ack 5")]


@pytest.mark.parametrize("decoded", [outcome(3), None])
async def test_a_result_of_another_generation_is_neither_folded_nor_passed_over(decoded):
    """The registry was away, and partitions have moved meanwhile: it comes again, to whoever owns it now."""
    done = await run(settle, Parts(decoded), message(generation=6), message())
    assert [how[:2] for how in done] == [("fold" if decoded else "pass over", 5)]


async def test_an_instruction_is_folded_with_its_place_and_the_time():
    done = await run(control, Parts(), message(encode_instruction(HOLD).value))
    event = Instructed(source=Source("topic", 3, 5), instruction=HOLD, at=START)
    assert done == [("fold", 5, event, "ack 5")]


async def test_what_is_no_instruction_is_passed_over_and_the_next_one_is_read():
    done = await run(control, Parts(), message(b"\xff"), message(encode_instruction(HOLD).value))
    assert [how[0] for how in done] == ["pass over", "fold"]
