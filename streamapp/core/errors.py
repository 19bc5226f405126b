"""The errors of streamapp, split by what the caller does next. Reads and writes nothing.

StreamappError
+-- ConfigError          the start stops; the message names the value and how to mend it
+-- Unprocessable        a record that can never run: rejected, with a dead letter
+-- Unavailable          a part does not answer: wait and ask again; nothing is rejected
+-- Unsafe               going on could lose or double something: the worker stops, its supervisor restarts it
"""

from streamapp.core.model import Reason


class StreamappError(Exception):
    """Base of all errors that streamapp raises on purpose."""


class ConfigError(StreamappError):
    """A setting, file or topic does not fit; the message says which and how to mend it."""


class Unprocessable(StreamappError):
    """A record can never run.

    Attributes:
        reason: From the closed list of reasons.
        detail: One sentence for a person.
        id: The command id, if it could be read.
        command: The command's name, if it could be read.
    """

    def __init__(self, reason: Reason, detail: str, *, id: str | None = None, command: str | None = None) -> None:  # noqa: A002
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail
        self.id = id
        self.command = command


class Unavailable(StreamappError):
    """A part that is needed does not answer."""


class Unsafe(StreamappError):
    """Going on could lose or double something."""


class TooLarge(StreamappError):
    """A record would be larger than Kafka takes; known before anything is sent."""
