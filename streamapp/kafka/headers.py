r"""Record headers whose names are not UTF-8: reads record batches, gives them with readable names. Writes nothing.

Kafka says that names are UTF-8, and no broker looks. aiokafka raises at the first other one, and so at every fetch from
then on: one such record would stop its partition for good. Its bytes are shown as `\xff` instead.
"""

import struct
from collections.abc import Iterator
from typing import Any

from aiokafka.consumer import fetcher
from aiokafka.record.default_records import _DefaultRecordBatchPy
from aiokafka.record.memory_records import MemoryRecords

_LENGTH = struct.Struct(">i")
_LENGTH_AT, _FRAME_BYTES = 8, 12
"""A batch starts with its first offset in 8 bytes, and the length of what follows in 4."""


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
        try:
            return iter(list(self._batch))
        except UnicodeDecodeError:
            again = _DefaultRecordBatchPy(self._data)
            again._maybe_uncompress()  # noqa: SLF001
            again._buffer = _Lenient(again._buffer)  # noqa: SLF001
            return iter(list(again))


class _Lenient(bytearray):
    """Bytes that decode to something, whatever they are."""

    def __getitem__(self, where: Any) -> Any:
        found = super().__getitem__(where)
        return _Lenient(found) if isinstance(where, slice) else found

    def decode(self, encoding: str = "utf-8", _errors: str = "strict") -> str:
        return super().decode(encoding, "backslashreplace")
