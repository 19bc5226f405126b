"""What can happen: the inputs of `decide`. Each carries the folding worker's time. Reads and writes nothing."""

from dataclasses import dataclass
from datetime import datetime

from streamapp.core.model import Command, Instruction, Original, Outcome, Policy, Rejection, Reopens, Source


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandReceived:
    """A record of the commands topic, decoded and routed, or found to be unusable."""

    source: Source
    key: bytes | None
    recorded_at: datetime
    original: Original
    content: Command | Rejection
    policy: Policy | None
    """None with a `Rejection`."""
    reopens: Reopens | None = None
    """Where the record asks for the next round of a command."""
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """A record of the results topic: `triggered` or `run_ended`. Other statuses are verdicts and change nothing."""

    key: bytes | None
    """The Kafka key of the record: the command's key, byte for byte."""
    outcome: Outcome
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Instructed:
    """A record of the control topic."""

    source: Source
    instruction: Instruction
    at: datetime


Event = CommandReceived | Observed | Instructed
