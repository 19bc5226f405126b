"""What the encoders give: a record for Kafka. Reads and writes nothing."""

from typing import NamedTuple

from streamapp.wire.headers import Headers


class Outgoing(NamedTuple):
    """A record, ready to be sent."""

    key: bytes | None
    value: bytes | None
    headers: Headers = ()
