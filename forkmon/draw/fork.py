"""The fork diagram: a tensor's distribution over steps, its modes as branches, where they split."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from typing import Literal

from forkmon.draw import bars, cells
from forkmon.draw.canvas import Canvas
from forkmon.draw.density import Density, density_of
from forkmon.draw.glyphs import UNICODE, Glyphs
from forkmon.draw.ink import Ink, Line, Span
from forkmon.draw.numbers import share
from forkmon.draw.scale import Linear, Scale, Steps, robust_range, step_labels, symlog, tick_labels
from forkmon.draw.xaxis import draw_labels, draw_rule
from forkmon.stats.reduced import Reduced

_GUTTER = 8
_MARGIN = 7
"""Cells right of the diagram, where the branches are labelled with their shares."""
_LEAST_WIDTH = _GUTTER + _MARGIN + 12
_LEAST_HEIGHT = 7
_TRACE = 2e-4
"""Share of the values below which a cell is a speck, not a shade."""


@dataclass(frozen=True, slots=True)
class Branch:
    """A mode at one step: where it is, and its share of the values."""

    position: float
    mass: float


@dataclass(frozen=True, slots=True)
class Slice:
    """A tensor at one step."""

    step: int
    reduced: Reduced
    branches: tuple[Branch, ...] = ()
    """Its modes by position; drawn where there are several."""


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened at a step: `text` is written below it, with a glyph before."""

    step: int
    text: str
    glyph: str
    ink: Ink


@dataclass(frozen=True, slots=True)
class _Frame:
    """The diagram's place on the canvas, and its scales."""

    columns: int
    rows: int
    values: Scale
    steps: Steps
    glyphs: Glyphs

    def column(self, step: float) -> int:
        """Return the column of a step, from 0."""
        return min(self.columns - 1, max(0, round(self.steps.place(step) * (self.columns - 1))))

    def half_row(self, value: float) -> int | None:
        """Return the half row of a value from the top, from 0; None beyond the axis."""
        place = self.values.place(value)
        if not 0 <= place <= 1:
            return None
        return min(2 * self.rows - 1, int((1 - place) * 2 * self.rows))


def fork(  # noqa: PLR0913 - one keyword for each thing a key of the panel toggles
    slices: Sequence[Slice],
    *,
    width: int,
    height: int,
    glyphs: Glyphs = UNICODE,
    log_x: bool = True,
    scale: Literal["linear", "symlog"] = "linear",
    events: Sequence[Event] = (),
    mark: int | None = None,
) -> list[Line]:
    """Return `height` lines of `width` cells: value upwards, step to the right, density as shade.

    Each column shows the newest of `slices` (in step order) at or before its step; shades are
    relative to the densest cell of their column. A cell's density is per unit of value. `mark`
    is the step that a vertical line marks.
    """
    if width <= 0 or height <= 0:
        return []
    shown = [(item, density_of(item.reduced)) for item in slices if item.reduced.keys]
    if not shown or width < _LEAST_WIDTH or height < _LEAST_HEIGHT:
        said = "no finite values" if not shown else "too small for a fork diagram: z gives it room"
        return _said(said, width, height, glyphs)
    frame = _frame(shown, width, height, glyphs, log_x=log_x, scale=scale)
    canvas = Canvas(width, height)
    held = _held(shown, frame)
    for column, index in enumerate(held):
        _draw_column(canvas, frame, column, shown[index][1])
    if mark is not None:
        at = _GUTTER + frame.column(mark)
        for row in range(frame.rows):
            if canvas.free(at, row, 1):
                canvas.put(at, row, glyphs.mark, Ink.ACCENT)
    for column, index in enumerate(held):
        _draw_branches(canvas, frame, column, shown[index][0])
    _draw_shares(canvas, frame, shown[held[-1]][0])
    _draw_axes(canvas, frame, events)
    return canvas.lines()


def _said(text: str, width: int, height: int, glyphs: Glyphs) -> list[Line]:
    middle = (height - 1) // 2
    line = (Span(cells.pad(text, width, "center", glyphs), Ink.MUTED),)
    return [line if row == middle else cells.blank(width) for row in range(height)]


def _frame(
    shown: Sequence[tuple[Slice, Density]], width: int, height: int, glyphs: Glyphs,
    *, log_x: bool, scale: str,
) -> _Frame:  # fmt: skip
    densities = [density for _, density in shown]
    lo, hi = robust_range(densities, whole=scale == "symlog")
    values = symlog(densities[::-1], lo, hi) if scale == "symlog" else Linear(lo, hi)
    steps = Steps(shown[0][0].step, max(shown[-1][0].step, shown[0][0].step + 1), log=log_x)
    margin = _MARGIN if len(shown[-1][0].branches) > 1 else 1
    return _Frame(width - _GUTTER - margin, height - 3, values, steps, glyphs)


def _held(shown: Sequence[tuple[Slice, Density]], frame: _Frame) -> list[int]:
    """Return, for each column, the index of the slice that it shows."""
    places = [frame.column(item.step) for item, _ in shown]
    held: list[int] = []
    index = 0
    for column in range(frame.columns):
        while index + 1 < len(places) and places[index + 1] <= column:
            index += 1
        held.append(index)
    return held


def _draw_column(canvas: Canvas, frame: _Frame, column: int, density: Density) -> None:
    profile = bars.profile(density, bars.edges(frame.values, frame.rows))
    heights = list(profile.heights)
    at = profile.columns.atom_column
    if at is not None:
        heights[at] = profile.atom_height
    peak = max(heights, default=0.0)
    masses = profile.columns.masses
    for row, height in enumerate(heights):
        if height <= 0 or peak <= 0:
            continue
        speck = row != at and masses[row] < _TRACE * density.n
        shade = frame.glyphs.trace if speck else _shade(height / peak, frame.glyphs)
        ink = Ink.MUTED if speck else Ink.TEXT
        canvas.put(_GUTTER + column, frame.rows - 1 - row, shade, ink)


def _shade(part: float, glyphs: Glyphs) -> str:
    """Return the shade of a density relative to the densest: by its root, so that tails show."""
    levels = len(glyphs.shades) - 1
    return glyphs.shades[min(levels, max(1, ceil(levels * part**0.5 - 0.25)))]


def _draw_branches(canvas: Canvas, frame: _Frame, column: int, item: Slice) -> None:
    if len(item.branches) < 2:
        return
    for branch in item.branches:
        half = frame.half_row(branch.position)
        if half is not None:
            glyph = frame.glyphs.halves[half % 2]
            canvas.put(_GUTTER + column, half // 2, glyph, Ink.ACCENT)


def _draw_shares(canvas: Canvas, frame: _Frame, newest: Slice) -> None:
    if len(newest.branches) < 2:
        return
    for branch in newest.branches:
        half = frame.half_row(branch.position)
        label = f"{frame.glyphs.left}{share(round(branch.mass * 1000), 1000)}"
        x = _GUTTER + frame.columns + 1
        if half is not None and canvas.free(x, half // 2, len(label)):
            canvas.put(x, half // 2, label, Ink.ACCENT)


def _draw_axes(canvas: Canvas, frame: _Frame, events: Sequence[Event]) -> None:
    glyphs = frame.glyphs
    for y in range(frame.rows):
        canvas.put(_GUTTER - 1, y, glyphs.divider, Ink.AXIS)
    ticks = frame.values.ticks(max(2, frame.rows // 3))
    for tick, label in zip(ticks, tick_labels(ticks, glyphs), strict=True):
        half = frame.half_row(tick)
        if half is not None and len(label) < _GUTTER:
            canvas.put(0, half // 2, label.rjust(_GUTTER - 1), Ink.MUTED)
            canvas.put(_GUTTER - 1, half // 2, glyphs.y_tick, Ink.AXIS)
    steps = frame.steps.ticks(max(2, frame.columns // 8))
    places = [frame.column(step) for step in steps]
    draw_rule(canvas, _GUTTER, frame.rows, places, frame.columns, glyphs)
    labels = step_labels(steps, glyphs)
    draw_labels(canvas, frame.rows + 1, [_GUTTER + place for place in places], labels)
    _draw_events(canvas, frame, events)


def _draw_events(canvas: Canvas, frame: _Frame, events: Sequence[Event]) -> None:
    """Mark events on the axis and name them below it, in order, each as near as there is room.

    Where there is not enough, the last ones are named.
    """
    y = frame.rows + 2
    end = canvas.width
    for event in reversed(events):
        column = _GUTTER + frame.column(event.step)
        canvas.put(column, frame.rows, event.glyph, event.ink)
        said = f"{event.glyph} {event.text}"
        x = min(column, end - len(said))
        if x >= 0:
            canvas.put(x, y, said, event.ink)
            end = x - 2
