import re

import pytest

from streamapp.core.run_id import MAX_LENGTH, params_digest, run_id

AIRFLOWS = re.compile(r"[A-Za-z0-9_.~:+-]+")


def assert_fits(text):
    assert AIRFLOWS.fullmatch(text), text
    assert ".." not in text
    assert len(text) <= MAX_LENGTH


def test_a_plain_id_is_shown_as_it_is():
    assert run_id("streamapp", "order-17", 1, 2) == "cmd__streamapp__order-17__1.2"


def test_an_id_from_a_position_is_shown_as_it_is():
    assert run_id("streamapp", "commands-3-42-1767323045678", 1, 1) == (
        "cmd__streamapp__commands-3-42-1767323045678__1.1"
    )


def test_an_id_with_dots_is_shown_as_it_is():
    """What a release makes of an id stays: another one would start the run of a command a second time."""
    assert run_id("streamapp", "v1.order.17", 1, 1) == "cmd__streamapp__v1.order.17__1.1"


@pytest.mark.parametrize(
    ("command_id", "shown"),
    [
        ("a b", "a~20b"),
        ("a/b", "a~2fb"),
        ("é", "~c3~a9"),
        ("~", "~7e"),
        ("a..b", "a.~2eb"),
        ("...", ".~2e."),
        ("a__b", "a__b"),
    ],
)
def test_what_airflow_does_not_take_is_escaped(command_id, shown):
    assert run_id("app", command_id, 1, 1) == f"cmd__app__{shown}__1.1"
    assert_fits(run_id("app", command_id, 1, 1))


@pytest.mark.parametrize("length", [1, 200, 235, 236, 237, 238, 239, 240, 250, 500])
@pytest.mark.parametrize("letter", ["x", "é", ".", "~"])
def test_ids_of_every_length_fit(length, letter):
    assert_fits(run_id("app", letter * length, 1, 1))
    assert_fits(run_id("app", letter * length, 123456, 7890))


def test_the_longest_id_that_fits_is_shown_whole():
    whole = run_id("app", "x" * 235, 1, 1)
    assert len(whole) == MAX_LENGTH
    assert "~" not in whole


@pytest.mark.parametrize("length", [1, 99, 100, 101, 249])
def test_app_ids_of_every_length_fit(length):
    assert_fits(run_id("a" * length, "x" * 500, 1, 1))


def test_long_ids_differ_in_their_hash():
    assert run_id("app", "x" * 500 + "a", 1, 1) != run_id("app", "x" * 500 + "b", 1, 1)


def test_rounds_and_attempts_differ():
    ids = {run_id("app", "x" * length, r, a) for length in (1, 500) for r in (1, 2, 11) for a in (1, 2, 11)}
    assert len(ids) == 18


def test_an_id_that_is_written_like_a_hashed_one_is_another():
    hashed = run_id("app", "x" * 500, 1, 1)
    written = hashed.removeprefix("cmd__app__").removesuffix("__1.1")
    assert run_id("app", written, 1, 1) != hashed


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (("a__b", "c"), ("a", "b__c")),
        (("a_", "b"), ("a", "_b")),
        (("a", "b__1.1"), ("a__b", "1.1")),
        (("a" * 120, "b"), ("a" * 121, "b")),
    ],
)
def test_the_border_between_app_and_command_is_kept(one, other):
    assert run_id(*one, 1, 1) != run_id(*other, 1, 1)


def test_the_digest_tells_params_apart_by_their_text():
    assert params_digest('{"a":1}') == params_digest('{"a":1}')
    assert params_digest('{"a":1}') != params_digest('{"a": 1}')
    assert re.fullmatch(r"[0-9a-f]{32}", params_digest("{}"))
