from dataclasses import replace

import pytest

from streamapp.core.errors import Unprocessable
from streamapp.core.model import Original, Reason, Reopens, Source
from streamapp.wire.outcomes import OutcomeCodec
from streamapp.wire.reopens import decode_reopens, reopening
from tests.support.builders import entry, triggered

BEFORE = Source("my-commands", 3, 42)
HERE = Source("my-commands", 3, 50)
ORIGINAL = Original(b"\x00raw", (("ce_id", b"a-1"), ("dlq.id", b"my-commands-3-42-2"), ("streamapp-redrive", b"older")))


def test_a_redriven_record_is_the_original_with_one_mark():
    assert reopening(b"order-1", ORIGINAL, Reopens(BEFORE, 2)) == (
        b"order-1",
        b"\x00raw",
        [("ce_id", b"a-1"), ("streamapp-redrive", b"my-commands-3-42-2")],
    )


def test_a_replayed_record_names_the_replay_too():
    headers = reopening(None, ORIGINAL, Reopens(BEFORE, 1, "monday")).headers
    assert headers[1:] == [("streamapp-redrive", b"my-commands-3-42-1"), ("streamapp-replay", b"monday")]
    assert decode_reopens(HERE, headers) == Reopens(BEFORE, 1, "monday")


def test_an_ordinary_record_follows_nothing():
    assert decode_reopens(HERE, (("ce_id", b"1"),)) is None


@pytest.mark.parametrize(
    ("named", "why"),
    [
        (b"nonsense", "no round"),
        (b"\xff", "not UTF-8"),
        (b"my-commands-3-42", "no round"),
        (b"my-commands-3-42-0", "rounds count from 1"),
        (b"my-commands-3-042-1", "another way to write the same"),
        (b"my-commands-2-42-1", "another partition"),
        (b"others-3-42-1", "another topic"),
        (b"my-commands-3-50-1", "itself"),
        (b"my-commands-3-51-1", "what comes later"),
        (b"my-commands-3-42-2147483647", "no outcome holds the round after it"),
        (None, "null"),
    ],
)
def test_what_names_no_earlier_round_is_refused(named, why):
    with pytest.raises(Unprocessable, match="streamapp-redrive must be the dlq") as refused:
        decode_reopens(HERE, (("streamapp-redrive", named), ("streamapp-replay", b"monday")))
    assert refused.value.reason is Reason.INVALID_COMMAND, why


async def test_what_is_seen_of_the_last_round_that_a_record_may_open_can_be_read():
    """It would hold its key for ever."""
    reopens = decode_reopens(HERE, (("streamapp-redrive", b"my-commands-3-42-999999999"),))
    assert reopens is not None
    seen = triggered(replace(entry(), round=reopens.round + 1))
    codec = OutcomeCodec(None, "results")
    record = codec.encode(seen)
    assert (await codec.decode(record.key, record.value)) == seen


@pytest.mark.parametrize("replay", [b"", b"a b", b"x" * 201, b"\xff"])
def test_a_replay_has_a_usable_name(replay):
    headers = (("streamapp-redrive", b"my-commands-3-42-1"), ("streamapp-replay", replay))
    with pytest.raises(Unprocessable, match="streamapp-replay must be"):
        decode_reopens(HERE, headers)


def test_topics_with_hyphens_and_digits_are_told_apart():
    topic = "my-7-commands-1"
    before = Source(topic, 0, 5)
    headers = reopening(None, ORIGINAL, Reopens(before, 3)).headers
    assert decode_reopens(replace(before, offset=6), headers) == Reopens(before, 3)
