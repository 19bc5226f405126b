import xml.etree.ElementTree as ET

import pytest

from benchmarks.peers.report import Report, cell, put
from benchmarks.peers.results import Results

SIZE = {"of": 120, "distribution": "zipf"}
STATUSES = {"200": 90, "none": 12, "503": 3}
OWN = {"kind": "own-time", "lone_seconds": 1.0, "chained_seconds": 1.1}
CEILING = {"kind": "ceiling", "of": 120, "distribution": None, "per_minute": 300.0}


def line(way, *, seconds, repeat=0, faults="none", **figures):
    return {
        "kind": "run", "way": way, "repeat": repeat, "faults": faults, **SIZE, "commands": 120, "hottest": 45,
        "lost": 0, "repeated": 0, "never_started": 0, "overlaps": 0, "inversions": 0, "seconds": seconds,
        "per_minute": seconds and 7200 / seconds, "wait_p50": 20.0, "wait_p99": 50.0, "stuck": False,
        "unfinished": False, "away_seconds": None, "statuses": {"200": 240}, "sent_at": [10.0, 10.1],
        "executions": [[0, 11.0, 12.0, True, "success"], [1, 12.0, 13.0, True, "success"]],
    } | figures  # fmt: skip


def row_of(markdown, way):
    return next(
        [cell.strip() for cell in row.strip("|").split("|")] for row in markdown.splitlines() if f"| {way}" in row
    )


@pytest.fixture
def report():
    repeats = range(3)
    return Report([
        *({**OWN, "repeat": repeat} for repeat in repeats),
        *({**CEILING, "repeat": repeat} for repeat in repeats),
        *(line("hold", seconds=seconds, repeat=repeat) for repeat, seconds in enumerate((90.0, 60.0, 50.0))),
        line("concurrent-32", seconds=40.0, lost=27, stuck=True, unfinished=True, statuses=STATUSES),
        line("loop", seconds=None, per_minute=None, error="AssertionError()"),
    ])  # fmt: skip


def test_ratio_and_spread(report):
    row = row_of(report.markdown([]), "hold")
    assert row[7] == "120 (80 to 144)"
    assert row[8] == "0.75 (0.50 to 0.90)", "the hottest key's 45 runs of 1 s, over the time that it took"


def test_what_lost_commands_has_no_ratio_and_what_hung_says_so(report):
    row = row_of(report.markdown([]), "concurrent-32")
    assert row[0] == "concurrent-32 (one run, Airflow stuck in 1 of 1, not finished in 1 of 1)"
    assert row[2] == "27"
    assert row[8] == "-"
    assert row[-1] == "15 (503: 3, no answer: 12)"


def test_rows_and_tables_come_in_the_ways_order_whatever_was_run_first():
    lines = [
        line("streamapp-1", seconds=40.0, faults="kills"),
        line("streamapp-1", seconds=40.0),
        line("loop", seconds=50.0),
    ]
    page = Report([{**OWN, "repeat": 0}, {**CEILING, "repeat": 0}, *lines]).markdown([])
    places = [page.index(text) for text in ("undisturbed", "| loop", "| streamapp-1", "killed three times")]
    assert places == sorted(places)


def test_an_error_is_told(report):
    assert row_of(report.markdown([]), "loop")[1] == "ended with an error: AssertionError()"


def test_plots_are_drawings_with_all_names(report):
    plots = report.plots()
    assert set(plots) == {"peers-rate-120-zipf.svg", "peers-progress-120-zipf.svg"}
    for text in plots.values():
        words = {element.text for element in ET.fromstring(text).iter() if element.text}
        assert {"hold", "concurrent-32"} <= words
        assert "loop" not in words


def test_figures_go_between_the_markers():
    page = "before\n<!-- figures -->\nold\n<!-- end of figures -->\nafter\n"
    assert put(page, "new") == "before\n<!-- figures -->\n\nnew\n\n<!-- end of figures -->\nafter\n"
    with pytest.raises(ValueError, match="the page has no"):
        put("before", "new")


@pytest.mark.parametrize(
    ("values", "shown"), [([], "-"), ([None], "-"), ([2, 2], "2"), ([1, 2, 4], "2 (1 to 4)"), ([None, 3], "3")]
)
def test_cell(values, shown):
    assert cell(values, 0) == shown


def test_results_are_found_again(tmp_path):
    names = {"kind": "run", "way": "hold", "repeat": 0}
    Results(tmp_path / "new").add(names, {"lost": 0})
    again = Results(tmp_path / "new")
    assert again.has(**names)
    assert not again.has(**names | {"repeat": 1})
    assert list(again) == [names | {"lost": 0}]
