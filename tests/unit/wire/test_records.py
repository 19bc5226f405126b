import faust
import pytest

from streamapp.wire.records import CommandRecord, ControlRecord, OutcomeRecord, SourceRecord, TimingsRecord
from streamapp.wire.schemas import COMMAND, CONTROL, OUTCOME

PARTS = {field["name"]: field["type"] for field in OUTCOME["fields"]}


@pytest.mark.parametrize(
    ("record", "schema"),
    [
        (CommandRecord, COMMAND),
        (OutcomeRecord, OUTCOME),
        (SourceRecord, PARTS["source"]),
        (TimingsRecord, PARTS["timings"]),
        (ControlRecord, CONTROL),
    ],
)
def test_each_record_has_the_fields_of_its_schema_in_order(record, schema):
    assert issubclass(record, faust.Record)
    assert list(record._options.fields) == [field["name"] for field in schema["fields"]]


def test_a_record_carries_no_faust_metadata():
    assert set(CommandRecord(command="app.probe", params="{}").to_representation()) == set(
        CommandRecord._options.fields
    )
