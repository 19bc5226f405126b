import logging
from datetime import timedelta
from pathlib import Path

import pytest

from streamapp.core.errors import ConfigError
from streamapp.core.model import OnFailure, Ordering, Paused, Policy, Reason
from streamapp.core.routing import DEFAULT_ROUTES, Route
from streamapp.routes import KEYS, Routes, RouteTable, WrongRoutes, load_routes

WHOLE = """\
[streamapp]
app_id = "orders"

[[route]]
command = "shop.*"
dag = "shop_{name}"
ordering = "triggered"
on_failure = "block"
max_attempts = 5
retry_delay = "10s"
retry_delay_max = "5m"
retry_on = ["run_failed", "dag_not_found"]
not_before = "1h"
deadline = "2d"
max_in_flight = 3
paused = "reject"
dedupe_for = "90m"

[[route]]
command = "app.*"
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "r.toml"


def wrong(file: Path, text: str) -> list[str]:
    """The problems, each without the folder."""
    file.write_text(text)
    with pytest.raises(ConfigError) as error:
        load_routes(file)
    assert "\n" not in str(error.value)
    found = error.value.problems if isinstance(error.value, WrongRoutes) else [str(error.value)]
    return [problem.removeprefix(f"{file.parent}/") for problem in found]


def test_without_a_file_or_without_routes_in_it_there_is_the_default(file: Path) -> None:
    file.write_text('[streamapp]\napp_id = "orders"\n')
    for path in (None, file):
        assert tuple(one.route for one in load_routes(path)) == DEFAULT_ROUTES


def test_every_key(file: Path) -> None:
    file.write_text(WHOLE)
    first, second = load_routes(file)
    assert first.route == Route(
        command="shop.*",
        dag="shop_{name}",
        ordering=Ordering.TRIGGERED,
        on_failure=OnFailure.BLOCK,
        max_attempts=5,
        retry_delay=timedelta(seconds=10),
        retry_delay_max=timedelta(minutes=5),
        retry_on=frozenset({Reason.RUN_FAILED, Reason.DAG_NOT_FOUND}),
        not_before=timedelta(hours=1),
        deadline=timedelta(days=2),
        max_in_flight=3,
        paused=Paused.REJECT,
        dedupe_for=timedelta(minutes=90),
    )
    assert first.given == set(KEYS)
    assert (second.route, second.given) == (Route(), {"command"})
    assert (first.place, second.place) == (f"{file}:4", f"{file}:19")


def test_defaults_are_those_of_a_route() -> None:
    assert Route(**RouteTable(command="app.*").model_dump()) == Route()
    policy = Route().policy("app.x")
    assert policy == Policy(dag_id="x")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[[route]\n", "r.toml:1: not TOML: Expected ']]' at the end of an array declaration, column 8"),
        ("[route]\ncommand = 'a'\n", "r.toml:1: each route is a table [[route]], with two brackets"),
        ("route = []\n", "r.toml:1: each route is a table [[route]], with two brackets"),
        ("\n[[route]]\ndag = 'a'\n", "r.toml:2: command is missing"),
        ("[[routes]]\n", "r.toml:1: 'routes' is not known: settings belong in a table [streamapp], routes in tables"),
        (
            "route = [{command = 'a', max_attempts = 0}]\n",
            "r.toml:1: max_attempts = '0': must be greater than or equal to 1",
        ),
    ],
)
def test_errors_name_the_line(file: Path, text: str, problem: str) -> None:
    (told,) = wrong(file, text)
    assert told.startswith(problem)


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("retry_dely = '5s'", "'retry_dely' is not a key of a route; did you mean retry_delay?"),
        ("'max_attempt' = 2", "'max_attempt' is not a key of a route; did you mean max_attempts?"),
        ("ordering = 'complete'", "ordering = 'complete': must be 'completed', 'triggered' or 'none'"),
        ("on_failure = 'stop'", "on_failure = 'stop': must be 'dead_letter' or 'block'"),
        ("max_attempts = '3'", "max_attempts = '3': must be a whole number"),
        ("max_attempts = true", "max_attempts = 'True': must be a whole number"),
        ("max_attempts = 1001", "max_attempts = '1001': must be less than or equal to 1000"),
        ("retry_delay = 'soon'", "retry_delay = 'soon': must be a duration such as 30s, 5m, 2h or 1d"),
        ("retry_delay = -3", "retry_delay = '-3': must be longer"),
        ("deadline = '0s'", "deadline = '0s': must be longer"),
        ("deadline = true", "deadline = 'True': must be a duration"),
        ("deadline = '99999d'", "deadline = '99999d': must be at most 3650d"),
        ("retry_delay = '2h'\nretry_delay_max = '1h'", "retry_delay_max must be at least retry_delay"),
        ("deadline = '1m'\nnot_before = '1m'", "deadline must be later than not_before"),
        ("retry_on = 'run_failed'", "retry_on = 'run_failed': must be a list such as [\"run_failed\"]"),
        ("retry_on = ['nonsense']", "retry_on = \"['nonsense']\": must be of: dag_not_found, refused_by_airflow,"),
        ("retry_on = ['run_deleted']", "retry_on = \"['run_deleted']\": run_deleted is not tried again; these may be"),
        ("dag = 'no dag'", "dag = 'no dag': must be the name of a DAG"),
        ("dag = '{dag}'", "dag = '{dag}': must be the name of a DAG"),
        ("dag = ''", "dag = '': must be the name of a DAG"),
    ],
)
def test_errors_name_the_key_in_its_own_table(file: Path, line: str, problem: str) -> None:
    key = line.splitlines()[-1 if "_max" in line else 0].partition(" ")[0]
    text = f"[[route]]\ncommand = 'a'\n\n[[route]]\n# {key}\ncommand = 'b'\n{line}\n\n[[route]]\ncommand = 'c'\n"
    number = text.splitlines().index(line.splitlines()[-1 if "_max" in line else 0]) + 1
    (told,) = wrong(file, text)
    assert told.startswith(f"r.toml:{number}: {problem}")


def test_all_problems_are_told_and_the_first_is_the_error(file: Path) -> None:
    text = "[[route]]\ncommand = ''\nordering = 'x'\n[[route]]\ndag = 'a'\n"
    assert [problem.partition(" ")[0] for problem in wrong(file, text)] == ["r.toml:2:", "r.toml:3:", "r.toml:4:"]
    with pytest.raises(ConfigError, match=r"must not be empty \(and 2 more\)$"):
        load_routes(file)


def test_a_file_that_is_not_there(file: Path) -> None:
    with pytest.raises(ConfigError, match="can't be read"):
        load_routes(file)


def test_a_changed_file_is_taken(file: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    file.write_text("[[route]]\ncommand = 'app.*'\n")
    routes = Routes(file)
    routes.look()
    assert (routes.reloads, caplog.messages) == (0, [])
    file.write_text("[[route]]\ncommand = 'app.*'\nmax_attempts = 3\ndedupe_for = '1h'\n")
    assert routes.find("app.x") == Policy(dag_id="x")
    routes.look()
    assert routes.find("app.x") == Policy(dag_id="x", max_attempts=3, dedupe_for=timedelta(hours=1))
    assert (routes.reloads, len(routes), routes.shortest_memory) == (1, 1, timedelta(hours=1))
    assert caplog.messages == [f"1 routes in force, from {file} as it now is"]


@pytest.mark.parametrize("broken", ["[[route]]\ncommand = 7\n", "[[route\n", None])
def test_a_broken_file_changes_nothing_and_is_told_once(
    file: Path, caplog: pytest.LogCaptureFixture, broken: str | None
) -> None:
    good = "[[route]]\ncommand = 'app.*'\nmax_attempts = 3\n"
    file.write_text(good)
    routes = Routes(file)
    if broken is None:
        file.unlink()
    else:
        file.write_text(broken)
    routes.look()
    routes.look()
    assert routes.find("app.x") == Policy(dag_id="x", max_attempts=3)
    assert len(caplog.messages) == 1
    assert caplog.messages[0].startswith(f"the routes stay as they were: {file}")
    assert routes.problem is not None
    file.write_text(good)
    routes.look()
    assert (routes.problem, routes.reloads) == (None, 0)


def test_without_a_file_there_is_nothing_to_look_at() -> None:
    routes = Routes(None)
    routes.look()
    assert routes.find("app.x") == Policy(dag_id="x")
    assert routes.shortest_memory is None


def test_the_example_is_right() -> None:
    found = load_routes(Path(__file__).resolve().parents[2] / "examples" / "streamapp.toml")
    assert len(found) == 4
