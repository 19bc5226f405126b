from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from streamapp.core.model import Original, Reopens
from streamapp.wire.control import decode_instruction, encode_instruction
from streamapp.wire.dead_letter import decode_dead_letter, encode_dead_letter
from streamapp.wire.headers import DLQ_ID, DLQ_NAMES, REDRIVE
from streamapp.wire.outcomes import OutcomeCodec
from streamapp.wire.reopens import decode_reopens, reopening
from tests.support.strategies import dead_letters, instructions, keys, outcomes, texts

dirty_headers = st.lists(st.tuples(texts | st.sampled_from([DLQ_ID, REDRIVE]), keys), max_size=4).map(tuple)


@given(outcomes)
async def test_an_outcome_comes_back_exactly_as_json(outcome):
    codec = OutcomeCodec(None, "results")
    key, value, _ = codec.encode(outcome)
    assert await codec.decode(key, value) == outcome


@given(keys, keys)
async def test_any_bytes_are_an_outcome_or_nothing(key, value):
    assert await OutcomeCodec(None, "results").decode(key, value) is None


@given(instructions)
def test_an_instruction_comes_back_exactly(instruction):
    _, value, _ = encode_instruction(instruction)
    assert decode_instruction(value) == instruction


@given(keys)
def test_any_bytes_are_an_instruction_or_nothing(value):
    assert decode_instruction(value) is None


@given(dead_letters.filter(lambda letter: not DLQ_NAMES & {name for name, _ in letter.original.headers}))
def test_a_dead_letter_comes_back_exactly(letter):
    assert decode_dead_letter(*encode_dead_letter(letter)) == letter


@given(dead_letters, dirty_headers)
def test_a_dead_letter_has_the_original_first_and_one_set_of_reasons(letter, headers):
    letter = replace(letter, original=Original(letter.original.value, headers))
    key, value, written = encode_dead_letter(letter)
    assert (key, value) == (letter.key, letter.original.value)
    kept = [header for header in headers if header[0] not in DLQ_NAMES]
    assert written[: len(kept)] == kept
    assert sorted(name for name, _ in written[len(kept) :]) == sorted(DLQ_NAMES)


@given(dead_letters, dirty_headers)
def test_a_redriven_record_is_the_original_with_one_mark(letter, headers):
    letter = replace(letter, original=Original(letter.original.value, headers))
    reopens = Reopens(letter.source, letter.round)
    key, value, written = reopening(letter.key, letter.original, reopens)
    assert (key, value) == (letter.key, letter.original.value)
    assert decode_reopens(replace(letter.source, offset=letter.source.offset + 1), written) == reopens
    assert str(reopens) == letter.id
    assert [name for name, _ in written].count(REDRIVE) == 1
    assert not DLQ_NAMES & {name for name, _ in written}


@given(keys, keys, st.lists(st.tuples(texts | st.sampled_from(sorted(DLQ_NAMES)), keys)) | st.just([]))
def test_any_record_is_a_dead_letter_or_nothing(key, value, headers):
    assert decode_dead_letter(key, value, headers) is None
