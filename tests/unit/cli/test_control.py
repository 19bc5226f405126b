from dataclasses import replace
from datetime import timedelta
from types import SimpleNamespace

import pytest

from streamapp.cli import control
from streamapp.cli.control import Order, Reply, partition_in, partition_of_key, partitions_in
from streamapp.core.model import Action, Instruction, Outcome, Source, Status
from streamapp.settings import load_settings
from tests.support.builders import AT

RETRY = Instruction(control_id="c1", action=Action.RETRY, command_id="order-17", by="ann", at=AT)
APPLIED = Outcome(
    command_id="order-17",
    key=b"k",
    command="app.probe",
    dag_id="probe",
    dag_run_id=None,
    round=1,
    attempt=1,
    status=Status.INSTRUCTION_APPLIED,
    at=AT,
    source=Source("commands", 3, 42),
    control_id="c1",
)


def test_an_answer_is_about_one_order() -> None:
    order = Order(RETRY, 3)
    assert order.answered_by(APPLIED)
    assert order.answered_by(replace(APPLIED, status=Status.INSTRUCTION_REFUSED))
    for other in (
        replace(APPLIED, control_id="c2"),
        replace(APPLIED, command_id="order-18"),
        replace(APPLIED, source=Source("commands", 2, 42)),
        replace(APPLIED, status=Status.SUCCEEDED),
    ):
        assert not order.answered_by(other)
    hold = Order(replace(RETRY, action=Action.HOLD, command_id=None, key=b"k"), 3)
    assert hold.answered_by(APPLIED)
    assert not hold.answered_by(replace(APPLIED, key=b"other"))


def test_a_reply_is_applied_refused_or_neither() -> None:
    order = Order(RETRY, 3)
    refused = replace(APPLIED, status=Status.INSTRUCTION_REFUSED)
    found = [(reply.applied, reply.refused) for reply in (Reply(order, each) for each in (APPLIED, refused, None))]
    assert found == [(True, False), (False, True), (False, False)]


@pytest.mark.parametrize(
    ("command_id", "partition"),
    [
        ("commands-3-42-1767225600000", 3),
        ("commands-3-42", None),
        ("other-3-42-1767225600000", None),
        ("commandsx3-42-1767225600000", None),
        ("commands-٣-42-1767225600000", None),
        ("order-17", None),
    ],
)
def test_an_id_made_from_the_place_tells_the_partition(command_id: str, partition: int | None) -> None:
    assert partition_in(command_id, load_settings({})) == partition


def test_a_key_has_the_partition_that_java_clients_choose() -> None:
    assert [partition_of_key(key, 12) for key in (b"event", b"", b"customer-17")] == [
        murmur2_of(key) % 12 for key in (b"event", b"", b"customer-17")
    ]


def murmur2_of(key: bytes) -> int:
    """The rule as Kafka's own clients have it, written down a second time."""
    mask, prime, hash_ = 0xFFFFFFFF, 0x5BD1E995, 0x9747B28C ^ len(key)
    whole = len(key) // 4 * 4
    for start in range(0, whole, 4):
        part = int.from_bytes(key[start : start + 4], "little") * prime & mask
        hash_ = hash_ * prime & mask ^ (part ^ part >> 24) * prime & mask
    if rest := key[whole:]:
        hash_ = (hash_ ^ int.from_bytes(rest, "little")) * prime & mask
    hash_ = (hash_ ^ hash_ >> 13) * prime & mask
    return (hash_ ^ hash_ >> 15) & 0x7FFFFFFF


def test_where_commands_of_a_key_are() -> None:
    at = [{"source": {"topic": "commands", "partition": number, "offset": 7}} for number in (1, 2)]
    assert partitions_in({"queue": at[:1], "history": at}) == {1, 2}
    assert partitions_in(at[1]) == {2}


def test_an_answer_about_one_dag_is_none_about_another_that_was_named_with_it() -> None:
    both = [Order(replace(RETRY, action=Action.PAUSE, command_id=None, dag_id=dag), 3) for dag in ("probe", "other")]
    assert [order.answered_by(replace(APPLIED, command_id="")) for order in both] == [True, False]
    every = Order(replace(RETRY, action=Action.PAUSE, command_id=None), 3)
    assert every.answered_by(replace(APPLIED, command_id="", dag_id=None))


async def test_answers_to_thousands_of_orders_are_all_told_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    names = [f"order-{number}" for number in range(3000)]
    outcomes = [replace(APPLIED, command_id=name) for name in names]
    hold = Order(replace(RETRY, action=Action.HOLD, command_id=None, key=b"held"), 3)
    orders = [*(Order(replace(RETRY, command_id=name), 3) for name in names), hold]
    outcomes.append(replace(APPLIED, command_id="", key=b"held"))
    compared = 0
    answered_by = Order.answered_by

    def counted(order: Order, outcome: Outcome) -> bool:
        nonlocal compared
        compared += 1
        return answered_by(order, outcome)

    async def read() -> list[Outcome]:
        return outcomes

    monkeypatch.setattr(Order, "answered_by", counted)
    replies = await control._answers(SimpleNamespace(read=read), orders, timedelta(seconds=30))
    assert [reply.outcome for reply in replies] == outcomes
    assert compared < 10_000
