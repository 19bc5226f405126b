import itertools

import pytest
from aiokafka.consumer.fetcher import PartitionRecords
from aiokafka.errors import CorruptRecordException
from aiokafka.record.default_records import DefaultRecord
from aiokafka.record.memory_records import MemoryRecords
from aiokafka.structs import TopicPartition

from streamapp.kafka import headers
from streamapp.kafka.headers import LenientBatch, LenientRecords
from tests.support.record_batches import GZIP, PLAIN, ZSTD, Raw, batch, checked

LENGTH_BEFORE = 10
"""A record's length stands so far in front of the name of its first header."""
BAD = b"\xff\xfe\x80"
SHOWN = "\\xff\\xfe\\x80"


def named(base: int, *names: bytes, codec: int = PLAIN) -> bytes:
    others = (b"none", None), ("\u00fc".encode(), b"\xff")
    records = (Raw(b"k", b"%d" % number, [(name, b"1"), *others]) for number, name in enumerate(names))
    return batch(base, records, codec)


def fetched(data: bytes, kind=LenientRecords, position: int = 0):
    return PartitionRecords(TopicPartition("t", 0), kind(data), [], position, None, None, True, 1)


def read(data: bytes, kind=LenientRecords, position: int = 0):
    return [(record.offset, record.value, record.headers[0][0]) for record in fetched(data, kind, position)]


@pytest.fixture
def slow(monkeypatch):
    """The records that are read in Python."""
    found = []

    def made(*parts):
        found.append(DefaultRecord(*parts))
        return found[-1]

    monkeypatch.setattr(headers, "DefaultRecord", made, raising=False)
    return found


def test_stock_never_gets_past_such_a_name():
    with pytest.raises(UnicodeDecodeError):
        read(named(0, b"good", BAD), MemoryRecords)


def test_records_with_any_names_are_read():
    data = named(0, b"good", BAD) + named(2, b"fine") + named(3, BAD, BAD)
    assert read(data) == [
        (0, b"0", "good"),
        (1, b"1", SHOWN),
        (2, b"0", "fine"),
        (3, b"0", SHOWN),
        (4, b"1", SHOWN),
    ]


def test_good_batches_are_read_as_ever():
    data = named(0, b"a", b"b") + named(2, b"c", b"d", codec=GZIP)
    assert read(data) == read(data, MemoryRecords)
    assert len(read(data)) == 4


@pytest.mark.parametrize("codec", [PLAIN, ZSTD])
def test_only_what_has_such_a_name_is_read_slowly(slow, codec):
    """A megabyte may hold a million records: in Python they would take the time of a session."""
    names = [b"good"] * 1000
    names[100] = names[101] = names[999] = BAD
    assert [name for _, _, name in read(named(0, *names, codec=codec), position=50)] == [
        name.decode("utf-8", "backslashreplace") for name in names[50:]
    ]
    assert [record.offset for record in slow] == [100, 101, 999]


@pytest.mark.parametrize("names", [[b"good"] * 9, [BAD] * 9, [b"good", BAD, *[b"good"] * 7]], ids=str)
def test_records_are_read_as_they_are_asked_for(slow, names):
    """All of them at once could take more memory than there is."""
    read_by_client = []

    class Client:
        def __iter__(self):
            for record in MemoryRecords(data).next_batch():
                read_by_client.append(record)
                yield record

    data = named(0, *names)
    asked = [record.offset for record in itertools.islice(LenientBatch(Client(), memoryview(data)), 2)]
    assert asked == [0, 1]
    assert len(read_by_client) + len(slow) == 2


@pytest.mark.parametrize("length", [0x00, 0x01, 0x31, 0x30, 0x34, 0x7E])
def test_a_damaged_record_of_such_a_name_is_found_damaged(length):
    """What is before it is read."""
    data = bytearray(named(0, b"good", BAD, b"good"))
    data[data.index(BAD) - LENGTH_BEFORE] = length
    records = fetched(checked(data))
    assert next(records).value == b"0"
    with pytest.raises(CorruptRecordException):
        next(records)


def test_what_is_no_whole_batch_has_a_size():
    """By which the client tells nothing from too large a record."""
    for data in (b"", named(0, b"a")[:-1]):
        assert not LenientRecords(data).has_next()
        assert LenientRecords(data).size_in_bytes() == len(data)
