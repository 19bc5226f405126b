from contextlib import suppress

from aiokafka.consumer.fetcher import PartitionRecords
from aiokafka.errors import CorruptRecordException
from aiokafka.structs import TopicPartition
from hypothesis import given
from hypothesis import strategies as st

from streamapp.kafka.headers import LenientRecords
from tests.support.record_batches import GZIP, HEAD_BYTES, LZ4, PLAIN, SNAPPY, ZSTD, Raw, batch, checked

contents = st.none() | st.binary(max_size=200)
names = st.binary(max_size=6) | st.sampled_from([b"", b"traceparent", b"\xff", b"\xc3", "ü".encode()])
good = st.builds(Raw, contents, contents, st.lists(st.tuples(st.just(b"good"), contents), max_size=2))
records = good | st.builds(Raw, contents, contents, st.lists(st.tuples(names, contents), max_size=3))
times = st.none() | st.integers(0, 2**40)
codecs = st.sampled_from([PLAIN, GZIP, SNAPPY, LZ4, ZSTD])
batches = st.tuples(st.lists(records, min_size=1, max_size=12), codecs, times)


def fetched(log, position=0):
    return PartitionRecords(TopicPartition("t", 0), LenientRecords(log), [], position, None, None, True, 1)


@given(st.lists(batches, max_size=3), st.data())
def test_records_come_in_order_and_whole_whatever_their_names(written, data):
    log, expected = b"", []
    for content, codec, appended_at in written:
        first = len(expected)
        log += batch(first, content, codec, appended_at)
        for number, (key, value, headers) in enumerate(content):
            shown = tuple((name.decode("utf-8", "backslashreplace"), part) for name, part in headers)
            time = number if appended_at is None else appended_at
            expected.append((first + number, time, key, value, shown))
    position = data.draw(st.integers(0, max(0, len(written[0][0]) - 1))) if written else 0
    read = fetched(log, position)
    assert [(one.offset, one.timestamp, one.key, one.value, one.headers) for one in read] == expected[position:]
    assert read.next_fetch_offset == len(expected)


@given(st.lists(records, min_size=1, max_size=4), st.data())
def test_damage_is_told_as_ever(content, data):
    """Not by the end of the process, say."""
    raw = bytearray(batch(0, content))
    for _ in range(data.draw(st.integers(1, 3))):
        raw[data.draw(st.integers(HEAD_BYTES, len(raw) - 1))] = data.draw(st.integers(0, 255))
    with suppress(CorruptRecordException):
        assert len(list(fetched(checked(raw)))) <= len(content)
