"""One axis of a matrix by its channels: how their norms spread, which stand out, since when."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import log
from typing import TYPE_CHECKING

from forkmon.draw import cells
from forkmon.draw.canvas import Canvas
from forkmon.draw.glyphs import UNICODE, Glyphs
from forkmon.draw.ink import Ink, Line, Span
from forkmon.draw.numbers import count, short
from forkmon.draw.sparkline import sparkline
from forkmon.draw.xaxis import draw_labels

if TYPE_CHECKING:
    from forkmon.stats.channels import Axis

_Q05, _Q25, _Q50, _Q75, _Q95 = 2, 3, 4, 5, 6
"""Where these quantiles stand among `row.QUANTILES`."""

_FARTHEST_BELOW = 1e-3
"""The axis begins no farther below the median: what is lower counts as dead."""

_ALIKE = 1.0 + 1e-6
_EIGHTHS = 8
_TWO_ABREAST = 60
_SPARK, _SPARK_NARROW = 16, 6


@dataclass(frozen=True, slots=True)
class _Log:
    """Norms on a log axis of so many columns."""

    lo: float
    hi: float
    columns: int

    def at(self, value: float) -> int:
        low = log(self.lo)  # differences: a ratio of extremes overflows
        part = (log(max(value, self.lo)) - low) / (log(self.hi) - low)
        return max(0, min(self.columns - 1, round(part * (self.columns - 1))))


def peak_ratio(axis: Axis) -> float | None:
    """Return how many times the median norm the largest one is; None without a median."""
    median = axis.quantiles[_Q50]
    return axis.high / median if median > 0 else None


def axis_lines(
    title: str,
    axis: Axis,
    past: Sequence[Axis | None],
    *,
    width: int,
    height: int,
    glyphs: Glyphs = UNICODE,
) -> list[Line]:
    """Return `height` lines of `width` cells: counts, the spread, the largest channels, the past.

    `past` holds the axis at earlier steps and now, oldest first; the last line shows it where
    there is room.
    """
    if width <= 0 or height <= 0:
        return []
    lines = [
        cells.fit(_head(title, axis, width, glyphs), width, glyphs),
        *_spread(axis, width, glyphs),
    ]
    history = _history(axis, past, width, glyphs)
    room = height - len(lines) - (1 if history else 0)
    lines += _largest(axis, width, max(0, room), glyphs)
    if history and len(lines) < height:
        lines.append(cells.fit(history, width, glyphs))
    lines += [cells.blank(width)] * (height - len(lines))
    return lines[:height]


def legend(width: int, glyphs: Glyphs = UNICODE) -> Line:
    """Return one line that says what the parts of a spread mean."""
    middle, full = glyphs.shades[2], glyphs.full
    spans = (
        Span("norms on a log axis   ", Ink.MUTED),
        Span(glyphs.rule, Ink.ACCENT),
        Span(" all   ", Ink.MUTED),
        Span(middle, Ink.ACCENT),
        Span(" 5 to 95 %   ", Ink.MUTED),
        Span(full, Ink.ACCENT),
        Span(" 25 to 75 %   ", Ink.MUTED),
        Span(glyphs.divider),
        Span(" median", Ink.MUTED),
    )
    return cells.fit(spans, width, glyphs)


def _head(title: str, axis: Axis, width: int, glyphs: Glyphs) -> Line:
    """Return the counts; in few cells with a short title, and as many as fit."""
    parts: list[Line] = [(Span(title, Ink.TITLE), Span(f" {axis.count:,}"))]
    for word, many in (("outliers", axis.outliers), ("dead", axis.dead)):
        ink = Ink.WARN if many else Ink.TEXT
        parts.append((Span(f"{word} ", Ink.MUTED), Span(count(many, glyphs), ink)))
    ratio = peak_ratio(axis)
    if ratio is not None:
        parts.append((Span("max/median ", Ink.MUTED), Span(short(ratio, 5, glyphs))))
    brief = (Span(title.partition(" (")[0], Ink.TITLE), parts[0][1])
    whole = _joined(parts)
    if cells.line_width(whole) <= width:
        return whole
    parts[0] = brief
    while len(parts) > 1 and cells.line_width(_joined(parts)) > width:
        parts.pop()
    return _joined(parts)


def _joined(parts: Sequence[Line]) -> Line:
    gap = Span("   ")
    return tuple(span for i, part in enumerate(parts) for span in ((gap, *part) if i else part))


def _spread(axis: Axis, width: int, glyphs: Glyphs) -> list[Line]:
    """Return the spread of the norms as a box with whiskers, and the numbers under it."""
    scale = _scale(axis, width)
    if scale is None:
        said = "no channels" if axis.count == 0 else f"all norms are {short(axis.high, 7, glyphs)}"
        return [cells.words(said, width, Ink.MUTED, glyphs)]
    q = axis.quantiles
    canvas = Canvas(width, 2)
    _fill(canvas, scale, (axis.low, axis.high), glyphs.rule)
    _fill(canvas, scale, (q[_Q05], q[_Q95]), glyphs.shades[2])
    _fill(canvas, scale, (q[_Q25], q[_Q75]), glyphs.full)
    solid = not glyphs.full.isascii()
    canvas.put(scale.at(q[_Q50]), 0, glyphs.divider, Ink.TEXT, Ink.ACCENT if solid else None)
    if axis.low < scale.lo:
        canvas.put(0, 0, glyphs.left, Ink.WARN)
    for values in ((axis.low, q[_Q50], axis.high), (q[_Q05], q[_Q95])):  # what matters most first
        labels = [short(value, 7, glyphs) for value in values]
        draw_labels(canvas, 1, [scale.at(value) for value in values], labels)
    return canvas.lines()


def _scale(axis: Axis, width: int) -> _Log | None:
    known = [value for value in (axis.low, *axis.quantiles, axis.high) if value > 0]
    if not known:
        return None
    lo = max(min(known), axis.quantiles[_Q50] * _FARTHEST_BELOW)
    return _Log(lo, axis.high, width) if axis.high > lo * _ALIKE else None


def _fill(canvas: Canvas, scale: _Log, ends: tuple[float, float], glyph: str) -> None:
    first, last = scale.at(ends[0]), scale.at(ends[1])
    canvas.put(first, 0, glyph * (last - first + 1), Ink.ACCENT)


def _largest(axis: Axis, width: int, room: int, glyphs: Glyphs) -> list[Line]:
    """Return the largest channels with bars, in two columns where there is width for them."""
    if not axis.top or axis.high <= 0:
        return []
    abreast = 2 if width >= _TWO_ABREAST and room < len(axis.top) else 1
    rows = min(room, -(-len(axis.top) // abreast))
    wide = (width - 2 * (abreast - 1)) // abreast
    drawn = [_channel(axis, i, wide, glyphs) for i in range(len(axis.top))]
    lines: list[Line] = []
    for row in range(rows):
        parts = drawn[row::rows][:abreast]
        spans = [
            span for at, part in enumerate(parts) for span in ((Span("  "),) * bool(at) + part)
        ]
        lines.append(cells.fit(spans, width, glyphs))
    return lines


def _channel(axis: Axis, rank: int, width: int, glyphs: Glyphs) -> Line:
    index, norm = axis.top[rank]
    digits = len(str(max(i for i, _ in axis.top)))
    label = f"#{index:<{digits}} {short(norm, 6, glyphs):>6} "
    room = max(0, width - len(label))
    eighths = round(room * _EIGHTHS * norm / axis.high)
    whole, part = divmod(eighths, _EIGHTHS)
    bar = glyphs.horizontal[-1] * whole + (glyphs.horizontal[part] if part else "")
    return cells.fit((Span(label), Span(bar, Ink.ACCENT)), width, glyphs)


def _history(axis: Axis, past: Sequence[Axis | None], width: int, glyphs: Glyphs) -> Line:
    """Return outliers and the largest norm over steps as sparklines; empty for one step."""
    if sum(item is not None for item in past) < 2:
        return ()
    wide = width >= _TWO_ABREAST
    cells_each = min(_SPARK if wide else _SPARK_NARROW, len(past))
    outliers = [None if item is None else float(item.outliers) for item in past]
    ratios = [None if item is None else peak_ratio(item) for item in past]
    return (
        Span("over steps   outliers " if wide else "outliers ", Ink.MUTED),
        Span(sparkline(outliers, cells_each, glyphs, lo=0.0), Ink.ACCENT),
        Span(f" {count(axis.outliers, glyphs)}"),
        Span("   max/median " if wide else "  max/median ", Ink.MUTED),
        Span(sparkline(ratios, cells_each, glyphs), Ink.ACCENT),
        Span(f" {short(peak_ratio(axis), 5, glyphs)}"),
    )
