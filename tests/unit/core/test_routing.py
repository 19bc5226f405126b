from dataclasses import fields
from datetime import timedelta

import pytest

from streamapp.core.model import OnFailure, Ordering, Paused, Policy
from streamapp.core.routing import DEFAULT_ROUTES, Route, find_policy


def test_without_routes_the_dag_is_what_follows_app():
    assert find_policy(DEFAULT_ROUTES, "app.send_email_alert") == Policy(
        dag_id="send_email_alert",
        ordering=Ordering.COMPLETED,
        on_failure=OnFailure.DEAD_LETTER,
        max_attempts=1,
        retry_delay=timedelta(seconds=30),
        max_in_flight=None,
        paused=Paused.WAIT,
    )


@pytest.mark.parametrize("name", ["send_email_alert", "application.x", "App.x", "xapp.x", "", "app", "\napp.x"])
def test_other_names_have_no_route(name):
    assert find_policy(DEFAULT_ROUTES, name) is None


def test_the_name_goes_on_behind_further_dots_and_lines():
    assert find_policy(DEFAULT_ROUTES, "app.a.b").dag_id == "a.b"
    assert find_policy(DEFAULT_ROUTES, "app.a\nb").dag_id == "a\nb"


def test_the_first_route_that_matches_wins():
    routes = (
        Route(command="app.mail", dag="mails", max_attempts=3),
        Route(command="app.*", dag="all_{name}", ordering=Ordering.NONE),
        Route(command="app.never", dag="never"),
    )
    assert find_policy(routes, "app.mail") == Policy(dag_id="mails", max_attempts=3)
    assert find_policy(routes, "app.never") == Policy(dag_id="all_never", ordering=Ordering.NONE)
    assert find_policy(routes, "shop.mail") is None


def test_a_route_gives_its_commands_every_setting():
    route = Route(
        command="*",
        dag="one",
        ordering=Ordering.TRIGGERED,
        on_failure=OnFailure.BLOCK,
        max_attempts=7,
        retry_delay=timedelta(seconds=1),
        retry_delay_max=timedelta(seconds=2),
        retry_on=frozenset(),
        not_before=timedelta(seconds=3),
        deadline=timedelta(seconds=4),
        max_in_flight=2,
        dedupe_for=timedelta(seconds=5),
        paused=Paused.REJECT,
    )
    assert route.policy("x") == Policy(
        dag_id="one",
        ordering=Ordering.TRIGGERED,
        on_failure=OnFailure.BLOCK,
        max_attempts=7,
        retry_delay=timedelta(seconds=1),
        retry_delay_max=timedelta(seconds=2),
        retry_on=frozenset(),
        not_before=timedelta(seconds=3),
        deadline=timedelta(seconds=4),
        max_in_flight=2,
        dedupe_for=timedelta(seconds=5),
        paused=Paused.REJECT,
    )


@pytest.mark.parametrize(
    ("pattern", "name", "takes"),
    [
        ("app.?", "app.a", True),
        ("app.?", "app.ab", False),
        ("app.[ab]", "app.b", True),
        ("app.[!ab]", "app.b", False),
        ("a+.x", "a+.x", True),
        ("a+.x", "aa.x", False),
    ],
)
def test_patterns_are_globs(pattern, name, takes):
    assert (Route(command=pattern).policy(name) is not None) is takes


def test_a_name_that_would_give_an_empty_dag_has_no_route():
    assert Route(command="*").policy("send") is None
    assert Route(command="*").policy("app.") is None
    assert Route(command="*", dag="fixed").policy("send") == Policy(dag_id="fixed")


def test_why_a_route_does_not_take_a_command():
    assert Route().why_not("app.x") is None
    assert Route().why_not("shop.x") == "its pattern 'app.*' does not match"
    assert "would have no name" in Route().why_not("app.")


def test_a_route_and_its_policy_have_the_same_names_and_defaults():
    shared = {field.name for field in fields(Policy)} - {"dag_id"}
    assert shared == {field.name for field in fields(Route)} - {"command", "dag", "_pattern"}
    policy = Route(command="*", dag="d").policy("x")
    assert policy == Policy(dag_id="d")
