import struct

import pytest
from aiokafka.consumer.fetcher import PartitionRecords
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.memory_records import MemoryRecords
from aiokafka.record.util import calc_crc32c
from aiokafka.structs import TopicPartition

from streamapp.kafka.headers import LenientRecords

PLAIN, GZIP = 0, 1
CHECKED_FROM = 21
"""What the checksum at 17 is about."""


def batch(base: int, *names: bytes, codec: int = PLAIN) -> bytes:
    builder = DefaultRecordBatchBuilder(2, codec, 0, -1, -1, -1, 10_000)
    for number, name in enumerate(names):
        headers = [("x" * len(name), b"1"), ("none", None), ("\u00fc", b"\xff")]
        builder.append(number, timestamp=number, key=b"k", value=b"%d" % number, headers=headers)
    raw = bytearray(builder.build())
    struct.pack_into(">q", raw, 0, base)
    for name in names:
        raw = raw.replace(b"x" * len(name), name, 1)
    struct.pack_into(">I", raw, 17, calc_crc32c(bytes(raw[CHECKED_FROM:])))
    return bytes(raw)


def read(data: bytes, kind=LenientRecords):
    records = PartitionRecords(TopicPartition("t", 0), kind(data), [], 0, None, None, True, 1)
    return [(record.offset, record.value, record.headers[0][0]) for record in records]


BAD = b"\xff\xfe\x80"


def test_stock_never_gets_past_such_a_name():
    with pytest.raises(UnicodeDecodeError):
        read(batch(0, b"good", BAD), MemoryRecords)


def test_records_with_any_names_are_read():
    data = batch(0, b"good", BAD) + batch(2, b"fine") + batch(3, BAD, BAD)
    assert read(data) == [
        (0, b"0", "good"),
        (1, b"1", "\\xff\\xfe\\x80"),
        (2, b"0", "fine"),
        (3, b"0", "\\xff\\xfe\\x80"),
        (4, b"1", "\\xff\\xfe\\x80"),
    ]


def test_good_batches_are_read_as_ever():
    data = batch(0, b"a", b"b") + batch(2, b"c", b"d", codec=GZIP)
    assert read(data) == read(data, MemoryRecords)
    assert len(read(data)) == 4


def test_what_is_no_whole_batch_has_a_size():
    """By which the client tells nothing from too large a record."""
    for data in (b"", batch(0, b"a")[:-1]):
        assert not LenientRecords(data).has_next()
        assert LenientRecords(data).size_in_bytes() == len(data)
