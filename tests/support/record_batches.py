"""Reads: nothing. Writes: batches of records as they lie in Kafka's log, with names of headers that are any bytes."""

import struct
from collections.abc import Iterable
from typing import Any, NamedTuple

from aiokafka.record.default_records import _DefaultRecordBatchBuilderPy
from aiokafka.record.util import calc_crc32c

PLAIN, GZIP, SNAPPY, LZ4, ZSTD = range(5)
_OFFSET, _CHECKSUM, _ATTRIBUTES, _LAST_TIME = 0, 17, 21, 35
HEAD_BYTES = 61
"""Then come the records."""


class Raw(NamedTuple):
    """A record."""

    key: bytes | None = None
    value: bytes | None = None
    headers: Iterable[tuple[bytes, bytes | None]] = ()


class _Name(str):
    """A name that is encoded to the bytes that were asked for."""

    __slots__ = ("raw",)

    def encode(self, *_: Any) -> bytes:
        return self.raw


def batch(first_offset: int, records: Iterable[Raw], codec: int = PLAIN, appended_at: int | None = None) -> bytes:
    """One batch.

    Args:
        first_offset: That of its first record.
        records: Their times count from 0.
        codec: How they are compressed.
        appended_at: Their time, if the broker says it.
    """
    builder = _DefaultRecordBatchBuilderPy(2, codec, 0, -1, -1, -1, 2**31 - 1)
    for number, (key, value, headers) in enumerate(records):
        named = [(_named(name), content) for name, content in headers]
        builder.append(number, timestamp=number, key=key, value=value, headers=named)
    raw = builder.build()
    struct.pack_into(">q", raw, _OFFSET, first_offset)
    if appended_at is not None:
        raw[_ATTRIBUTES + 1] |= 0b1000
        struct.pack_into(">q", raw, _LAST_TIME, appended_at)
    return checked(raw)


def checked(raw: bytearray) -> bytes:
    """A batch with the checksum that it should have."""
    struct.pack_into(">I", raw, _CHECKSUM, calc_crc32c(bytes(raw[_ATTRIBUTES:])))
    return bytes(raw)


def _named(raw: bytes) -> str:
    name = _Name()
    name.raw = raw
    return name
