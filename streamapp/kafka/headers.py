r"""Record headers whose names are not UTF-8: reads record batches, gives them with readable names. Writes nothing.

Kafka says that names are UTF-8, and no broker looks. aiokafka raises at the first other one, and so at every fetch from
then on: one such record would stop its partition for good. Its bytes are shown as `\xff` instead.
"""

import struct
from collections.abc import Iterator
from typing import Any

from aiokafka.consumer import fetcher
from aiokafka.errors import CorruptRecordException
from aiokafka.record.default_records import DefaultRecord, DefaultRecordBatch, _DefaultRecordBatchPy
from aiokafka.record.memory_records import MemoryRecords
from aiokafka.record.util import decode_varint

_LENGTH = struct.Struct(">i")
_LENGTH_AT, _FRAME_BYTES = 8, 12
"""A batch starts with its first offset in 8 bytes, and the length of what follows in 4."""

_HEAD_BYTES = _DefaultRecordBatchPy.HEADER_STRUCT.size
_ATTRIBUTES, _ATTRIBUTES_AT = struct.Struct(">h"), _DefaultRecordBatchPy.ATTRIBUTES_OFFSET
_COUNT, _COUNT_AT = struct.Struct(">i"), _HEAD_BYTES - 4
_ATTRIBUTE_BYTES = 1
_SPARE = bytes(10)
"""Behind what numbers are read from: reading one looks at up to 10 bytes, and at no bounds."""


def install() -> None:
    """Have Kafka's client read batches so."""
    fetcher.MemoryRecords = LenientRecords


class LenientRecords:
    """What was fetched of one partition, batch by batch."""

    def __init__(self, data: bytes) -> None:
        self._records = MemoryRecords(data)
        self._data = memoryview(data)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._records, name)

    def next_batch(self) -> "LenientBatch":
        """The next batch."""
        end = _FRAME_BYTES + _LENGTH.unpack_from(self._data, _LENGTH_AT)[0]
        batch, self._data = self._data[:end], self._data[end:]
        return LenientBatch(self._records.next_batch(), batch)


class LenientBatch:
    """A batch as the client knows it, but for names of headers."""

    def __init__(self, batch: Any, data: memoryview) -> None:
        self._batch = batch
        self._data = data

    def __getattr__(self, name: str) -> Any:
        return getattr(self._batch, name)

    def __next__(self) -> Any:
        return next(self._batch)

    def __iter__(self) -> Iterator[Any]:
        """One by one, as they are asked for: a megabyte on the wire may hold millions of records."""
        batch, rest = self._batch, None
        while True:
            read = 0
            try:
                for record in batch:
                    read += 1
                    yield record
                return
            except UnicodeDecodeError:
                rest = rest or _Rest(self._data)
            yield rest.read(read)
            batch = rest.batch()


class _Rest:
    """The records of a batch that are not read yet: one is read leniently, those after it at full speed again."""

    def __init__(self, data: memoryview) -> None:
        batch = _DefaultRecordBatchPy(data)
        batch._maybe_uncompress()  # noqa: SLF001
        self._batch = batch
        self._left = batch._num_records  # noqa: SLF001
        self._head = bytearray(data[:_HEAD_BYTES])
        _ATTRIBUTES.pack_into(self._head, _ATTRIBUTES_AT, batch.attributes & ~batch.CODEC_MASK)
        self._bytes = self._head + batch._buffer[batch._pos :]  # noqa: SLF001
        self._at = _HEAD_BYTES

    def read(self, after: int) -> Any:
        """One record, after so many that are only passed over."""
        for _ in range(after):
            self._pass()
        start = self._pass()
        self._left -= after + 1
        parts, batch = _Parts(self._bytes[start : self._at]), self._batch
        timestamp, offset = batch.first_timestamp + parts.number(), batch.base_offset + parts.number()
        if batch.timestamp_type == batch.LOG_APPEND_TIME:
            timestamp = batch.max_timestamp
        key, value = parts.content(), parts.content()
        headers = [(parts.name(), parts.content()) for _ in range(parts.number())]
        parts.end()
        return DefaultRecord(offset, timestamp, batch.timestamp_type, key, value, headers)

    def batch(self) -> Any:
        """What is left, as a batch that is not compressed."""
        # Its head takes the place of what has been read. That is enough: all there is began with a head.
        _COUNT.pack_into(self._head, _COUNT_AT, self._left)
        start = self._at - _HEAD_BYTES
        self._bytes[start : self._at] = self._head
        return DefaultRecordBatch(memoryview(self._bytes)[start:])

    def _pass(self) -> int:
        start: int
        length, start = decode_varint(self._bytes, self._at)
        self._at = start + length
        return start


class _Parts:
    """What is in a record, part by part. Nobody has seen yet whether it is sound."""

    def __init__(self, record: bytearray) -> None:
        self._bytes = record + _SPARE
        self._end = len(record)
        self._at = _ATTRIBUTE_BYTES

    def number(self) -> int:
        if self._at >= self._end:
            raise CorruptRecordException("A record ends too early")
        number: int
        try:
            number, self._at = decode_varint(self._bytes, self._at)
        except ValueError as error:
            raise CorruptRecordException("A number in a record is too large") from error
        return number

    def content(self) -> bytes | None:
        size = self.number()
        if size < 0:
            return None
        start, self._at = self._at, self._at + size
        return bytes(self._bytes[start : self._at])

    def name(self) -> str:
        name = self.content()
        if name is None:
            raise CorruptRecordException("A header in a record has no name")
        return name.decode("utf-8", "backslashreplace")

    def end(self) -> None:
        if self._at != self._end:
            raise CorruptRecordException("A record has another length than it says")
