"""Quantile bands over steps: how far the values of one tensor reach, the middle half darkest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite
from statistics import median

from forkmon.draw import cells
from forkmon.draw.canvas import Canvas
from forkmon.draw.glyphs import UNICODE, Glyphs
from forkmon.draw.ink import Ink, Line, Span
from forkmon.draw.scale import Linear, Scale, Steps, Symlog, step_labels, tick_labels
from forkmon.draw.xaxis import draw_labels, draw_rule

_GUTTER = 8
_LEAST_WIDTH = _GUTTER + 12
_LEAST_HEIGHT = 6
_SYMLOG_DECADES = 1e-3
"""The symlog axis is linear below this share of its reach, at least."""


@dataclass(frozen=True, slots=True)
class Bands:
    """Quantiles of a tensor at one step, lowest first, an odd number of them; None if unknown."""

    step: int
    values: tuple[float | None, ...]

    def known(self) -> tuple[float, ...] | None:
        """Return the quantiles if all are finite."""
        found = tuple(v for v in self.values if v is not None and isfinite(v))
        return found if found and len(found) == len(self.values) else None


def bands(  # noqa: PLR0913 - one keyword for each thing a key of the panel toggles
    found: Sequence[Bands],
    *,
    width: int,
    height: int,
    glyphs: Glyphs = UNICODE,
    log_x: bool = True,
    log_y: bool = False,
    mark: int | None = None,
) -> list[Line]:
    """Return `height` lines of `width` cells: value upwards, step to the right, bands as shades.

    Each column shows the newest of `found` (in step order) at or before its step. Between the two
    innermost quantiles the shade is darkest, outside the outermost there is none; the median is a
    line. `log_y` makes the axis of values symlog.
    """
    if width <= 0 or height <= 0:
        return []
    shown = [(item.step, known) for item in found if (known := item.known()) is not None]
    if not shown or width < _LEAST_WIDTH or height < _LEAST_HEIGHT:
        said = "no quantiles are kept" if not shown else "too small for bands: z gives them room"
        line = (Span(cells.pad(said, width, "center", glyphs), Ink.MUTED),)
        middle = (height - 1) // 2
        return [line if row == middle else cells.blank(width) for row in range(height)]
    canvas = Canvas(width, height)
    columns, rows = width - _GUTTER - 1, height - 2
    steps = Steps(shown[0][0], max(shown[-1][0], shown[0][0] + 1), log=log_x)
    values = _axis([known for _, known in shown], log=log_y)
    at = [min(columns - 1, round(steps.place(step) * (columns - 1))) for step, _ in shown]
    index = 0
    for column in range(columns):
        while index + 1 < len(at) and at[index + 1] <= column:
            index += 1
        _draw_column(canvas, column, rows, [values.place(v) for v in shown[index][1]], glyphs)
    if mark is not None:
        column = _GUTTER + min(columns - 1, max(0, round(steps.place(mark) * (columns - 1))))
        for row in range(rows):
            if canvas.free(column, row, 1):
                canvas.put(column, row, glyphs.mark, Ink.MUTED)
    _draw_axes(canvas, (columns, rows), values, steps, glyphs)
    return canvas.lines()


def _axis(known: Sequence[tuple[float, ...]], *, log: bool) -> Scale:
    lo, hi = min(item[0] for item in known), max(item[-1] for item in known)
    if not lo < hi:
        room = abs(lo) * 0.1 or 1.0
        return Linear(lo - room, hi + room)
    if not log:
        return Linear(lo, hi)
    half = len(known[0]) // 4
    inner = median(max(abs(item[half]), abs(item[-1 - half])) for item in known)
    return Symlog(lo, hi, max(inner, max(abs(lo), abs(hi)) * _SYMLOG_DECADES))


def _draw_column(
    canvas: Canvas, column: int, rows: int, places: Sequence[float], glyphs: Glyphs
) -> None:
    """Shade one column: the depth of a row is how many quantiles lie outside of it."""
    middle = len(places) // 2
    shades = glyphs.shades
    tops = [min(rows - 1, max(0, int((1 - place) * rows))) for place in places]
    for depth in range(middle):
        level = min(len(shades) - 2, 1 + depth * (len(shades) - 2) // max(1, middle - 1))
        for row in range(tops[-1 - depth], tops[depth] + 1):
            canvas.put(_GUTTER + column, row, shades[level], Ink.TEXT)
    half = int((1 - places[middle]) * 2 * rows) % 2
    canvas.put(_GUTTER + column, tops[middle], glyphs.halves[half], Ink.ACCENT, Ink.TEXT)


def _draw_axes(
    canvas: Canvas, size: tuple[int, int], values: Scale, steps: Steps, glyphs: Glyphs
) -> None:
    columns, rows = size
    for y in range(rows):
        canvas.put(_GUTTER - 1, y, glyphs.divider, Ink.AXIS)
    ticks = values.ticks(max(2, rows // 3))
    for tick, label in zip(ticks, tick_labels(ticks, glyphs), strict=True):
        if 0 <= values.place(tick) <= 1 and len(label) < _GUTTER:
            row = min(rows - 1, int((1 - values.place(tick)) * rows))
            canvas.put(0, row, label.rjust(_GUTTER - 1), Ink.MUTED)
            canvas.put(_GUTTER - 1, row, glyphs.y_tick, Ink.AXIS)
    found = steps.ticks(max(2, columns // 8))
    places = [min(columns - 1, max(0, round(steps.place(t) * (columns - 1)))) for t in found]
    draw_rule(canvas, _GUTTER, rows, places, columns, glyphs)
    labels = step_labels(found, glyphs)
    draw_labels(canvas, rows + 1, [_GUTTER + place for place in places], labels)
