"""The decision core: reads one partition's state and an event, writes nothing, answers what follows.

Three logs are folded: commands are received, observations of runs come back, instructions are given. Only here a
command gets a verdict. An event that was folded before changes nothing and dispatches nothing: its rows are written
again as they now are, because a crash may have cut a fold's rows short, and what they show is published again, because
a crash may have kept it from leaving.
"""

from streamapp.core import instruct, observe, receive
from streamapp.core.effects import Decision
from streamapp.core.events import CommandReceived, Event, Instructed, Observed
from streamapp.core.state import State


def decide(state: State, event: Event) -> Decision:
    """Fold one event.

    Raises:
        ConfigError: the table knows the record's offset with another timestamp: the topic was recreated.
    """
    match event:
        case CommandReceived():
            return receive.receive(state, event)
        case Observed():
            return observe.observe(state, event)
        case Instructed():
            return instruct.instruct(state, event)
