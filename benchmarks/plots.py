"""Reads and writes nothing. Two kinds of SVG: bars with whiskers, and lines that climb."""

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from itertools import cycle

COLOURS = ("#4e79a7", "#f28e2b", "#e15759", "#76b7b2", "#59a14f", "#b07aa1", "#9c755f", "#edc948")
WIDTH = 760
LEFT = 150
RIGHT = 90
ROW = 28
HEIGHT = 380
TICKS = 5


def bars(
    title: str,
    rows: Mapping[str, tuple[float, float, float]],
    marks: Mapping[str, float],
    marked: str,
    colours: Mapping[str, str],
) -> str:
    """Median, smallest and largest for each name; a tick for each name in `marks`, explained by `marked`."""
    top = _nice(max([high for _, _, high in rows.values()] + list(marks.values())))
    scale = (WIDTH - LEFT - RIGHT) / top
    parts = [_text(WIDTH / 2, 24, title, size=15, anchor="middle")]
    y = 44.0
    for name, (middle, low, high) in rows.items():
        parts += [
            _text(LEFT - 8, y + 15, name, anchor="end"),
            f'<rect x="{LEFT}" y="{y + 2:.0f}" width="{middle * scale:.1f}" height="18" fill="{colours[name]}"/>',
            _line(LEFT + low * scale, y + 11, LEFT + high * scale, y + 11, "#222"),
            _text(LEFT + high * scale + 6, y + 15, f"{middle:.0f}"),
        ]
        if name in marks:
            x = LEFT + marks[name] * scale
            parts.append(_line(x, y, x, y + 22, "#222", width=2.5))
        y += ROW
    for value in (top * tick / TICKS for tick in range(TICKS + 1)):
        parts.append(_line(LEFT + value * scale, 44, LEFT + value * scale, y, "#ddd"))
        parts.append(_text(LEFT + value * scale, y + 16, f"{value:g}", anchor="middle", size=11))
    parts.append(_text(LEFT, y + 38, f"thin line: smallest to largest; {marked}", size=11))
    return _svg(parts, y + 50)


def lines(
    title: str, series: Mapping[str, Sequence[float]], whole: int, across: str, colours: Mapping[str, str]
) -> str:
    """For each name, the moments at which the next of `whole` things was done."""
    last = _nice(max(max(moments, default=0.0) for moments in series.values()))
    across_scale, up_scale = (WIDTH - 60 - LEFT) / last, (HEIGHT - 100) / whole
    bottom = HEIGHT - 50
    parts = [_text(WIDTH / 2, 24, title, size=15, anchor="middle")]
    for tick in range(TICKS + 1):
        x, y = 60 + last * tick / TICKS * across_scale, bottom - whole * tick / TICKS * up_scale
        parts += [
            _line(60, y, WIDTH - LEFT, y, "#ddd"),
            _text(x, bottom + 16, f"{last * tick / TICKS:g}", anchor="middle", size=11),
            _text(54, y + 4, f"{whole * tick / TICKS:g}", anchor="end", size=11),
        ]
    for row, (name, moments) in enumerate(series.items()):
        colour = colours[name]
        points = ["60," + f"{bottom}"]
        for count, moment in enumerate(sorted(moments), start=1):
            points.append(f"{60 + moment * across_scale:.1f},{bottom - count * up_scale:.1f}")
        parts.append(f'<polyline points="{" ".join(points)}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts.append(_line(WIDTH - LEFT + 10, 60 + row * 20, WIDTH - LEFT + 26, 60 + row * 20, colour, width=3))
        parts.append(_text(WIDTH - LEFT + 32, 64 + row * 20, name))
    parts.append(_text((60 + WIDTH - LEFT) / 2, HEIGHT - 12, across, anchor="middle", size=11))
    return _svg(parts, HEIGHT)


def _svg(parts: Sequence[str], height: float) -> str:
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:.0f}" font-family="sans-serif">'
    return "\n".join([head, '<rect width="100%" height="100%" fill="#fff"/>', *parts, "</svg>", ""])


def _text(x: float, y: float, text: str, *, anchor: str = "start", size: int = 12) -> str:
    place = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}"'
    return f'<text {place} fill="#222">{escape(text)}</text>'


def _line(x1: float, y1: float, x2: float, y2: float, colour: str, *, width: float = 1) -> str:
    ends = f'x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"'
    return f'<line {ends} stroke="{colour}" stroke-width="{width}"/>'


def colours_of(names: Iterable[str]) -> dict[str, str]:
    """The same colour for a name in all plots."""
    return dict(zip(names, cycle(COLOURS), strict=False))


def _nice(value: float) -> float:
    """The next round number above."""
    step = 1.0
    while step * 10 < value:
        step *= 10
    return next((factor * step for factor in (1, 1.5, 2, 3, 4, 5, 6, 8, 10) if factor * step >= value), value)
