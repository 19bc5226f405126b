"""Whatever stands on the results and control topics is passed over or folded; what follows from it fits into Kafka."""

import asyncio
import json

from hypothesis import given
from hypothesis import strategies as st

from streamapp.core.events import Instructed, Observed
from streamapp.core.model import RunState, Source, Status
from streamapp.kafka.outlet import MAX_OUTCOME_BYTES
from streamapp.wire.control import decode_instruction
from streamapp.wire.outcomes import OutcomeCodec
from tests.support.builders import AT, entry, outcome, received
from tests.support.memory import Table, letters, outcomes
from tests.support.plans import often

CODEC = OutcomeCodec(None, "results")
KEYS = (b"k", b"", None, b"\xff", b"k" * 9000)
MAX_KEPT_BYTES = 20_000
"""What an observation may add to a row: its texts are cut or bounded."""

huge = st.sampled_from([301, 1001, 30_000, 200_000]).map(lambda size: "x" * size)
odd = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.lists(st.integers(), max_size=2),
    st.sampled_from([-1, 0, 1, 2, 2**31, 2**63 - 1, "0001-01-01T00:00:00.000Z", "9999-12-31T23:59:59.999Z", *RunState]),
)  # fmt: skip


@st.composite
def changed(draw):
    """Half of them too long to be kept; Hypothesis alone would seldom choose those."""
    return draw(huge) if draw(st.booleans()) else draw(odd)


@st.composite
def results(draw):
    """A genuine outcome of one of two commands, with some of its fields changed."""
    about = entry(draw(st.integers(0, 1)))
    usual = st.sampled_from([Status.TRIGGERED, Status.RUN_ENDED])
    said = outcome(about, draw(usual if draw(st.integers(0, 3)) else st.sampled_from(Status)))
    fields = json.loads(CODEC.encode(said).value)
    fields["result"] = draw(st.sampled_from([None, *RunState]))
    names = [*fields, "dag_run_id", "duplicate_of", "source.offset", "timings.triggered_at"]
    for name in draw(st.lists(st.sampled_from(names), max_size=2)):
        outer, _, inner = name.partition(".")
        if not inner:
            fields[outer] = draw(changed())
        elif isinstance(fields[outer], dict):
            fields[outer][inner] = draw(st.sampled_from([-1, 2**63 - 1]) | odd)
    return draw(st.sampled_from([b"k", b"k", *KEYS])), json.dumps(fields).encode("utf-8", "surrogatepass")


@st.composite
def instructions(draw):
    fields = {"control_id": "c", "command_id": "c0", "by": "x", "at": "2026-01-01T00:00:00Z"}
    fields["action"] = draw(st.sampled_from(["expire", "hold", "retry"]))
    names = [*fields, "key", "key_base64", "dag_id", "reason"]
    for name in draw(st.lists(st.sampled_from(names), max_size=2)):
        fields[name] = draw(changed())
    return json.dumps(fields).encode("utf-8", "surrogatepass")


def table() -> Table:
    table = Table()
    table.folds(received(0), received(1, deadline=AT))
    return table


def fits(decision) -> None:
    for told in outcomes(decision):
        assert CODEC.encode(told).size <= MAX_OUTCOME_BYTES
    for letter in letters(decision):
        assert len(letter.detail) <= 1000


@often(300)
@given(st.lists(results(), min_size=1, max_size=4))
def test_any_results_are_passed_over_or_folded(records):
    state = table()
    for key, value in records:
        seen = asyncio.run(CODEC.decode(key, value))
        if seen is not None:
            fits(state.fold(Observed(key=key, outcome=seen, at=AT)))
    assert all(len(row) <= MAX_KEPT_BYTES for row in state.ledger.databases[0].values())
    state.again()


@often(200)
@given(st.lists(instructions(), min_size=1, max_size=4))
def test_any_instructions_are_passed_over_or_folded(values):
    state = table()
    for value in values:
        instruction = decode_instruction(value)
        if instruction is not None:
            fits(state.fold(Instructed(source=Source("control", 0, 7), instruction=instruction, at=AT)))
    state.again()
