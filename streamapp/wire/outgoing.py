"""What the encoders give: a record for Kafka. Reads and writes nothing."""

from typing import NamedTuple

from streamapp.wire.headers import Headers


class Outgoing(NamedTuple):
    """A record, ready to be sent."""

    key: bytes | None
    value: bytes | None
    headers: Headers = ()

    @property
    def size(self) -> int:
        """Its bytes, without Kafka's own framing."""
        headers = sum(len(name.encode()) + len(content or b"") for name, content in self.headers)
        return len(self.key or b"") + len(self.value or b"") + headers
