"""The way out: sends outcomes, dead letters and instructions. Reads nothing."""

from collections.abc import Callable

from streamapp.core.effects import Bury, Emit
from streamapp.core.errors import TooLarge
from streamapp.core.model import Instruction, Outcome
from streamapp.kafka.producer import Acknowledgement
from streamapp.kafka.store import RECORD_OVERHEAD_BYTES
from streamapp.kafka.topics import OVERHEAD_BYTES
from streamapp.kafka.transport import DurableApp
from streamapp.settings import Settings
from streamapp.wire.control import encode_instruction
from streamapp.wire.dead_letter import encode_dead_letter
from streamapp.wire.outcomes import OutcomeCodec
from streamapp.wire.outgoing import Outgoing

MAX_OUTCOME_BYTES = 2 * OVERHEAD_BYTES - RECORD_OVERHEAD_BYTES
"""What every results topic takes: `streamapp topics` checks for it."""


class TopicOutlet:
    """Sends to the three derived topics, in order, to the partition of the command that it is about."""

    def __init__(self, app: DurableApp, settings: Settings, outcomes: OutcomeCodec) -> None:
        self._app = app
        self._outcomes = outcomes
        self._results = settings.results_topic
        self._control = settings.control_topic
        self._dead_letters = settings.dead_letters_topic
        self.max_letter_bytes = MAX_OUTCOME_BYTES
        """What the dead-letter topic takes; asked of Kafka before the worker starts."""

    def prepare(self, effect: Emit | Bury) -> Callable[[], Acknowledgement]:
        """Encode an effect now, to be sent later.

        Raises:
            TooLarge: Kafka would refuse it.
        """
        if isinstance(effect, Emit):
            record = self._outcomes.encode(effect.outcome)
            size = record.size
            if size > MAX_OUTCOME_BYTES:
                raise TooLarge(f"its outcome would take {size} bytes, and {MAX_OUTCOME_BYTES} are the most")
            partition = effect.outcome.source.partition
            return lambda: self._send(self._results, record, partition)
        letter = encode_dead_letter(effect.letter)
        size = letter.size + RECORD_OVERHEAD_BYTES
        if size > self.max_letter_bytes:
            raise TooLarge(f"its dead letter would take {size} bytes, and {self.max_letter_bytes} are the most")
        return lambda: self._send(self._dead_letters, letter, None)

    def report(self, outcome: Outcome) -> Acknowledgement:
        """Publish an observation."""
        return self.prepare(Emit(outcome))()

    def instruct(self, instruction: Instruction, partition: int) -> Acknowledgement:
        """Publish an instruction."""
        return self._send(self._control, encode_instruction(instruction), partition)

    def _send(self, topic: str, record: Outgoing, partition: int | None) -> Acknowledgement:
        return self._app.producer.post(topic, record.key, record.value, record.headers, partition)
