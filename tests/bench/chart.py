"""Draws small panels side by side, one line each, on a common upward scale; the only file that knows drawsvg.

Line (name, points) -> panel -> SVG
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import drawsvg

WIDE, HIGH, LEFT, TOP, FOOT, APART = 250, 210, 56, 64, 58, 34
INK, PALE, BLUE = "#24292f", "#d0d7de", "#0969da"
FONT = {"font_family": "system-ui, sans-serif", "fill": INK}
OVER = {"stroke": "#ffffff", "stroke_width": 3, "paint_order": "stroke"}
"""A rim of paper about what stands on a line."""


@dataclass(frozen=True)
class Line:
    """One panel: x above 0 on a logarithmic scale, y from 0; `doubtful` are the x of points that are drawn hollow."""

    name: str
    points: Sequence[tuple[float, float]]
    doubtful: Sequence[float] = ()


def ticks(most: float) -> list[float]:
    """Return about five round numbers from 0 to a little above the largest."""
    rough = most / 4
    power = 10 ** math.floor(math.log10(rough))
    step = next(power * by for by in (1, 2, 5, 10) if power * by >= rough)
    return [step * n for n in range(math.ceil(most / step) + 1)]


def place(x: float, points: Sequence[tuple[float, float]]) -> float:
    """Return how far right a number stands, 0 to 1."""
    low, high = (math.log10(end(point[0] for point in points)) for end in (min, max))
    return (math.log10(x) - low) / (high - low) if high > low else 0.5


def chart(path: Path, title: str, note: str, lines: Sequence[Line]) -> None:
    """Write the picture; the note stands below its title."""
    marks = ticks(max(y for line in lines for _, y in line.points))
    wide = LEFT + len(lines) * (WIDE + APART)
    picture = drawsvg.Drawing(wide, TOP + HIGH + FOOT, origin=(0, 0), style="background:#ffffff")
    picture.append(drawsvg.Rectangle(0, 0, wide, TOP + HIGH + FOOT, fill="#ffffff"))
    picture.append(drawsvg.Text(title, 15, LEFT, 20, font_weight="bold", **FONT))
    picture.append(drawsvg.Text(note, 11, LEFT, 38, **FONT))
    for number, line in enumerate(lines):
        _panel(picture, line, LEFT + number * (WIDE + APART), marks, labelled=number == 0)
    picture.save_svg(str(path))


def _panel(picture: drawsvg.Drawing, line: Line, left: float, marks: Sequence[float], *, labelled: bool) -> None:
    bottom = TOP + HIGH
    for mark in marks:
        y = bottom - HIGH * mark / marks[-1]
        picture.append(drawsvg.Line(left, y, left + WIDE, y, stroke=PALE))
        if labelled:
            picture.append(drawsvg.Text(f"{mark:g}", 11, left - 6, y + 4, text_anchor="end", **FONT))
    inner = WIDE - 30
    spots = [(left + 15 + inner * place(x, line.points), bottom - HIGH * y / marks[-1]) for x, y in line.points]
    picture.append(drawsvg.Lines(*(at for spot in spots for at in spot), fill="none", stroke=BLUE, stroke_width=2))
    for (x, y), (number, value) in zip(spots, line.points, strict=True):
        inside = "#ffffff" if number in line.doubtful else BLUE
        picture.append(drawsvg.Circle(x, y, 3.5, fill=inside, stroke=BLUE, stroke_width=2))
        picture.append(drawsvg.Text(f"{value:.0f}", 11, x, y - 10, text_anchor="middle", **OVER, **FONT))
        picture.append(drawsvg.Text(_short(number), 11, x, bottom + 17, text_anchor="middle", **FONT))
    picture.append(drawsvg.Text(line.name, 11, left + WIDE / 2, bottom + 40, text_anchor="middle", **FONT))


def _short(number: float) -> str:
    for unit, by in (("M", 1e6), ("k", 1e3)):
        if number >= by:
            return f"{number / by:g}{unit}"
    return f"{number:g}"
