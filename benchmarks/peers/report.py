"""Reads: results.jsonl. Writes: the part of docs/benchmarks/peers.md between its markers, and plots beside it.

python -m benchmarks.peers report --out FOLDER [--page docs/benchmarks/peers.md]
"""

import argparse
import statistics
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from benchmarks.peers.judge import Execution, bound_seconds, percentile, spread, unanswered
from benchmarks.peers.results import Line, Results
from benchmarks.peers.ways import WAYS
from benchmarks.plots import bars, colours_of, lines
from stack.config import ROOT

PAGE = ROOT / "docs" / "benchmarks" / "peers.md"
BEGIN, END = "<!-- figures -->", "<!-- end of figures -->"
TITLES = {
    "none": "undisturbed",
    "kills": "the dispatcher killed three times",
    "restart": "Airflow's API restarted",
}
LONE, CHAINED = "lone_seconds", "chained_seconds"
"""What a run takes in an idle Airflow; from start to start of runs that Airflow had in a queue."""
Group = tuple[int, str, str]
Row = Callable[[Sequence[Line]], str]


class Report:
    """Tables and plots of all that a folder has."""

    def __init__(self, found: Iterable[Line]) -> None:
        self._lines = list(found)
        self._groups: defaultdict[Group, defaultdict[str, list[Line]]] = defaultdict(lambda: defaultdict(list))
        for line in sorted(self._of("run"), key=_place):
            self._groups[line["of"], line["distribution"], line["faults"]][line["way"]].append(line)

    def markdown(self, plots: Sequence[str]) -> str:
        """All tables; the names of plots are shown after them."""
        parts = [self._airflow()]
        parts += [self._table(group, ways) for group, ways in self._groups.items()]
        parts += [self._idle()] if self._of("idle") else []
        parts += [f"![{name.removesuffix('.svg').replace('-', ' ')}]({name})" for name in plots]
        return "\n\n".join(parts)

    def plots(self) -> dict[str, str]:
        """By file name: rates, and completed runs over time, of the undisturbed runs."""
        found = {}
        colours = colours_of(dict.fromkeys(line["way"] for line in self._of("run")))
        for (commands, distribution, faults), ways in self._groups.items():
            good = {name: [line for line in runs if line.get("per_minute")] for name, runs in ways.items()}
            good = {name: runs for name, runs in good.items() if runs}
            if faults != "none" or not good:
                continue
            about = f"{commands} commands, {distribution} keys"
            rates = {name: spread([line["per_minute"] for line in runs]) for name, runs in good.items()}
            marks = {name: 60 * runs[0]["commands"] / self._bound(runs[0]) for name, runs in good.items()}
            marked = "thick line: the bound of a way that keeps the order of keys"
            found[f"peers-rate-{commands}-{distribution}.svg"] = bars(
                f"Completed runs per minute: {about}", rates, marks, marked, colours
            )
            same = {name: runs for name, runs in good.items() if runs[0]["commands"] == commands}
            if same:
                found[f"peers-progress-{commands}-{distribution}.svg"] = lines(
                    f"Completed commands: {about}",
                    {name: _moments(_middle(runs)) for name, runs in same.items()},
                    commands,
                    "seconds since the first command was sent",
                    colours,
                )
        return found

    def _of(self, kind: str) -> list[Line]:
        return [line for line in self._lines if line["kind"] == kind]

    def _seconds_of_a_run(self, which: str, repeat: int) -> float:
        """Of the same repeat, else of all."""
        found = self._of("own-time")
        here = [one for one in found if one["repeat"] == repeat] or found
        return statistics.median(one[which] for one in here)

    def _ceiling(self, line: Line) -> float:
        """Of the same repeat, else of all."""
        same = [one for one in self._of("ceiling") if "error" not in one and one["of"] == line["of"]]
        here = [one for one in same if one["repeat"] == line["repeat"]] or same
        return statistics.median(one["per_minute"] for one in here)

    def _bound(self, line: Line, which: str = LONE) -> float:
        return bound_seconds(
            line["commands"],
            line["hottest"],
            ceiling_per_minute=self._ceiling(line),
            own_seconds=self._seconds_of_a_run(which, line["repeat"]),
        )

    def _ratio(self, line: Line, which: str) -> float | None:
        return self._bound(line, which) / line["seconds"] if not line["lost"] and line["seconds"] else None

    def _airflow(self) -> str:
        own = self._of("own-time")
        rows = [
            ("Airflow's own time for a run (from POST to end), s", [one[LONE] for one in own], 2),
            (
                "From start to start when Airflow does queued runs one by one, s",
                [one[CHAINED] for one in own],
                2,
            ),
        ]
        by_size = defaultdict(list)
        for one in self._of("ceiling"):
            if "error" not in one:
                by_size[one["of"]].append(one["per_minute"])
        rows += [(f"Ceiling with {size} runs queued up front, per minute", found, 0) for size, found in by_size.items()]
        return _rows(["Airflow alone", "median (smallest to largest)"], ([name, cell(v, d)] for name, v, d in rows))

    def _table(self, group: Group, ways: dict[str, list[Line]]) -> str:
        commands, distribution, faults = group
        runs = max(len(found) for found in ways.values())
        title = f"### {commands} commands, {distribution} keys, {TITLES[faults]}"
        said = f"Median of {runs} runs each (smallest to largest)." if runs > 1 else "One run each."
        head = ["Way", "Commands", "Lost", "Repeated", "Never started", "Overlaps", "Inversions", "Done per minute"]
        if faults == "none":
            head += ["Share of the bound", "Share of Airflow's own pace", "Wait p50, s", "Wait p99, s"]
        head.append("Answers not 2xx")
        table = _rows(head, (self._row(name, found, faults, runs) for name, found in ways.items()))
        away = [line["away_seconds"] for found in ways.values() for line in found if line.get("away_seconds")]
        told = [f"Airflow's API was away for {cell(away, 1)} s."] if away else []
        return "\n\n".join([title, " ".join([said, *told]), table])

    def _row(self, name: str, found: list[Line], faults: str, runs: int) -> list[str]:
        good = [line for line in found if "error" not in line]
        if not good:
            return [name, f"ended with an error: {found[0]['error']}"]
        counts = ("commands", "lost", "repeated", "never_started", "overlaps", "inversions")
        cells = [cell([line[count] for line in good], 0) for count in counts]
        cells.append(cell([line["per_minute"] for line in good], 0))
        if faults == "none":
            cells += [cell([self._ratio(line, which) for line in good], 2) for which in (LONE, CHAINED)]
            cells += [cell([line[wait] for line in good], 1) for wait in ("wait_p50", "wait_p99")]
        cells.append(self._answers(good))
        notes = []
        if len(found) < runs:
            notes.append("one run" if len(found) == 1 else f"{len(found)} runs")
        if stuck := sum(line["stuck"] for line in good):
            notes.append(f"Airflow stuck in {stuck} of {len(found)}")
        if unfinished := sum(line["unfinished"] for line in good):
            notes.append(f"not finished in {unfinished} of {len(found)}")
        if bad := len(found) - len(good):
            notes.append(f"{bad} ended with an error")
        return [f"{name} ({', '.join(notes)})" if notes else name, *cells]

    @staticmethod
    def _answers(good: Sequence[Line]) -> str:
        kinds: Counter[str] = Counter()
        for line in good:
            kinds.update({one: count for one, count in line["statuses"].items() if not one.startswith("2")})
        total = cell([unanswered(line["statuses"]) for line in good], 0)
        told = ", ".join(f"{'no answer' if one == 'none' else one}: {count}" for one, count in sorted(kinds.items()))
        return f"{total} ({'in all ' if len(good) > 1 else ''}{told})" if told else total

    def _idle(self) -> str:
        rows = []
        for line in self._of("idle"):
            if "error" in line:
                rows.append([line["way"], f"ended with an error: {line['error']}"])
                continue
            rest = [wait - taken for wait, taken in zip(line["waits"], line["accepted"], strict=False)]
            parts = [line["waits"], line["acks"], line["accepted"], rest, line["post_to_start"]]
            told = [_milliseconds(part) for part in parts]
            rows.append([line["way"], str(len(line["waits"])), *told])
        head = ["Way", "Commands", "Until the POST came, ms", "Until Kafka had it (the producer's wait)"]
        head += ["Until taken in", "From there to the POST", "From POST to start, in Airflow"]
        return "### Added latency when idle\n\nEach cell: p50, p99.\n\n" + _rows(head, rows)


def cell(values: Sequence[float | None], digits: int) -> str:
    """The median, and the spread where there is one."""
    there = [value for value in values if value is not None]
    if not there:
        return "-"
    middle, low, high = (f"{value:.{digits}f}" for value in spread(there))
    return middle if low == high else f"{middle} ({low} to {high})"


def _place(line: Line) -> tuple[int, bool, int, int]:
    """The order of tables and of their rows, whatever was run first."""
    names = [way.name for way in WAYS]
    way = names.index(line["way"]) if line["way"] in names else len(names)
    return line["of"], line["distribution"] != "zipf", list(TITLES).index(line["faults"]), way


def put(page: str, figures: str) -> str:
    """The page with new figures between its markers."""
    before, _, rest = page.partition(BEGIN)
    _, found, after = rest.partition(END)
    if not found:
        raise ValueError(f"the page has no {BEGIN} … {END}")
    return f"{before}{BEGIN}\n\n{figures}\n\n{END}{after}"


def main(texts: Sequence[str]) -> None:
    """Write the page and the plots."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("peers"), help="folder of the results")
    parser.add_argument("--page", type=Path, default=PAGE, help="with the markers")
    arguments = parser.parse_args(texts)
    report = Report(Results(arguments.out))
    plots = report.plots()
    for name, text in plots.items():
        (arguments.page.parent / name).write_text(text)
    arguments.page.write_text(put(arguments.page.read_text(), report.markdown(list(plots))))
    print(f"{arguments.page}, {', '.join(plots)}")


def _rows(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    filled = ([*row, *[""] * (len(head) - len(row))] for row in rows)
    return "\n".join(f"| {' | '.join(row)} |" for row in [list(head), ["---"] * len(head), *filled])


def _milliseconds(values: Sequence[float]) -> str:
    middle, high = percentile(values, 50), percentile(values, 99)
    return f"{1000 * middle:.0f}, {1000 * high:.0f}" if middle is not None and high is not None else "-"


def _middle(runs: Sequence[Line]) -> Line:
    return sorted(runs, key=lambda line: line["per_minute"])[(len(runs) - 1) // 2]


def _moments(line: Line) -> list[float]:
    """Seconds at which commands had their first completed run."""
    begun = min(line["sent_at"])
    ends: dict[int, float] = {}
    for one in (Execution(*values) for values in line["executions"]):
        if one.done and one.end is not None:
            ends[one.number] = min(one.end - begun, ends.get(one.number, float("inf")))
    return list(ends.values())
