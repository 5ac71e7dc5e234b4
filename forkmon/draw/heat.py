"""The overview: one statistic of many tensors over steps, a cell for each tensor and step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, isfinite, log10

from forkmon.draw import cells
from forkmon.draw.canvas import Canvas
from forkmon.draw.glyphs import UNICODE, Glyphs
from forkmon.draw.ink import Ink, Line, Span
from forkmon.draw.numbers import short, step

MOST_CELL = 4
"""Widest cell of one step."""
_LABEL_SHARE = 0.34
_LEAST_LABEL = 10
_VALUE = 9
_DECADE = 8.0
"""Positive values that span more than this many times are shaded by their logarithm."""
_CLIPPED = 0.02
"""Share of the values at either end beyond which shades saturate: one wild cell must not blind."""


@dataclass(frozen=True, slots=True)
class HeatRow:
    """One tensor: `values` are parallel to the steps; a missing number is None."""

    label: str
    values: tuple[float | None, ...]
    group: str = ""
    """Written where it changes: what the rows below have in common."""
    badge: str = ""
    """The severity word of its worst alert."""


@dataclass(frozen=True, slots=True)
class Heat:
    """The whole map, and the part of it that is looked at."""

    rows: Sequence[HeatRow]
    steps: Sequence[int]
    row: int = 0
    """The row under the cursor."""
    column: int = 0
    """The step under the cursor, as an index of `steps`."""
    top: int = 0
    """First row drawn."""


@dataclass(frozen=True, slots=True)
class Shades:
    """How values become shades."""

    lo: float
    hi: float
    log: bool

    def level(self, value: float, levels: int) -> int:
        """Return the shade of a value, from 0 (lowest) to `levels` - 1."""
        if self.log and value <= 0:
            return 0
        place = _place(value, self.lo, self.hi, log=self.log)
        return min(levels - 1, max(0, ceil(place * levels) - 1))

    def bounds(self, levels: int) -> list[float]:
        """Return the values at which the shade changes, ascending."""
        parts = [index / levels for index in range(1, levels)]
        if not self.log:
            return [self.lo + (self.hi - self.lo) * part for part in parts]
        low, high = log10(self.lo), log10(self.hi)
        return [10.0 ** (low + (high - low) * part) for part in parts]


@dataclass(frozen=True, slots=True)
class _Frame:
    label: int
    cell: int
    """Width of a step's cell."""
    first: int
    """First step drawn, as an index of the steps."""
    columns: int
    """Steps drawn."""
    height: int
    glyphs: Glyphs


def shades_of(rows: Sequence[HeatRow]) -> Shades:
    """Return shades for all finite values: by their logarithm where they span decades."""
    found = sorted(v for row in rows for v in row.values if v is not None and isfinite(v))
    if not found:
        return Shades(0.0, 1.0, log=False)
    cut = int(len(found) * _CLIPPED)
    lo, hi = found[cut], found[-1 - cut]
    positive = [v for v in found if v > 0]
    if len(positive) > len(found) / 2 and found[0] >= 0:
        low = positive[int(len(positive) * _CLIPPED)]
        if hi > low * _DECADE:
            return Shades(low, hi, log=True)
    return Shades(lo, hi if hi > lo else lo + (abs(lo) or 1.0), log=False)


def heat(
    shown: Heat, *, width: int, height: int, glyphs: Glyphs = UNICODE, by_group: bool = False
) -> list[Line]:
    """Return `height` lines of `width` cells: rows of tensors, columns of steps, values as shade.

    The first line is the scale, the second the steps. `by_group` gives each group of rows a scale
    of its own. The cell under the cursor is accented, its value written at the end of its row.
    """
    if width <= 0 or height <= 0:
        return []
    if not shown.rows or not shown.steps or height < 4 or width < _LEAST_LABEL + _VALUE + 4:
        said = (
            "no numbers yet" if not (shown.rows and shown.steps) else "too small: z gives it room"
        )
        return [
            cells.words(said, width, glyphs=glyphs) if i == 0 else cells.blank(width)
            for i in range(height)
        ]
    frame = _frame(shown, width, height, glyphs)
    scales = _scales(shown.rows, by_group=by_group)
    legend = _legend_by_group(width, glyphs) if by_group else _legend(scales[""], width, glyphs)
    lines = [legend, _step_line(shown, frame, width)]
    last = min(len(shown.rows), shown.top + height - 2)
    group = ""
    for index in range(shown.top, last):
        row = shown.rows[index]
        scale = scales[row.group if by_group else ""]
        lines.append(_row_line(shown, frame, scale, index, new_group=row.group != group))
        group = row.group
    lines += [cells.blank(width)] * (height - len(lines))
    return [cells.fit(line, width, glyphs) for line in lines]


def _scales(rows: Sequence[HeatRow], *, by_group: bool) -> dict[str, Shades]:
    """Return the scale of each group, or one under the empty name."""
    if not by_group:
        return {"": shades_of(rows)}
    groups: dict[str, list[HeatRow]] = {}
    for row in rows:
        groups.setdefault(row.group, []).append(row)
    return {name: shades_of(some) for name, some in groups.items()}


def _legend_by_group(width: int, glyphs: Glyphs) -> Line:
    spans = [Span("each role's lowest ", Ink.MUTED), Span(glyphs.shades[1:])]
    return cells.fit([*spans, Span(" highest", Ink.MUTED)], width, glyphs)


def _label_width(width: int) -> int:
    return max(_LEAST_LABEL, int(width * _LABEL_SHARE)) if width < 90 else 30


def _frame(shown: Heat, width: int, height: int, glyphs: Glyphs) -> _Frame:
    label = _label_width(width)
    room = width - label - _VALUE - 2
    columns = min(len(shown.steps), room)
    cell = min(MOST_CELL, max(1, room // columns))
    # The cursor is kept inside, the newest steps are shown first of all.
    first = min(max(0, len(shown.steps) - columns), max(0, shown.column))
    return _Frame(label, cell, first, columns, height, glyphs)


def _legend(scale: Shades, width: int, glyphs: Glyphs) -> Line:
    levels = len(glyphs.shades) - 1
    spans = [Span("scale ", Ink.MUTED)]
    bounds = scale.bounds(levels)
    for index in range(levels):
        shade = glyphs.shades[index + 1]
        said = f"<{short(bounds[index], 6, glyphs)}" if index < len(bounds) else "above"
        spans += [Span(shade * 2, Ink.TEXT), Span(f" {said}  ", Ink.MUTED)]
    if scale.log:
        spans.append(Span("log", Ink.MUTED))
    return cells.fit(spans, width, glyphs)


def _step_line(shown: Heat, frame: _Frame, width: int) -> Line:
    canvas = Canvas(width, 1)
    x = frame.label + 1
    chosen = min(max(shown.column, frame.first), frame.first + frame.columns - 1)
    _put_step(canvas, x, frame, chosen, shown.steps[chosen], Ink.ACCENT)
    for index in range(frame.first, frame.first + frame.columns):
        _put_step(canvas, x, frame, index, shown.steps[index], Ink.MUTED)
    return canvas.lines()[0]


def _put_step(canvas: Canvas, x: int, frame: _Frame, index: int, value: int, ink: Ink) -> None:
    label = step(value, frame.glyphs)
    at = min(x + (index - frame.first) * frame.cell, canvas.width - len(label))
    if canvas.free(max(0, at - 1), 0, min(len(label) + 2, canvas.width - max(0, at - 1))):
        canvas.put(at, 0, label, ink)


def _row_line(shown: Heat, frame: _Frame, scale: Shades, index: int, *, new_group: bool) -> Line:
    row, glyphs = shown.rows[index], frame.glyphs
    on = index == shown.row
    spans = _label(row, frame, on=on, new_group=new_group)
    for column in range(frame.first, frame.first + frame.columns):
        here = on and column == shown.column
        spans.append(_cell(row.values[column], scale, frame, here=here))
    value = row.values[shown.column] if shown.column < len(row.values) else None
    ink = Ink.ACCENT if on else Ink.MUTED
    spans.append(Span(" " + short(value, _VALUE - 2, glyphs).rjust(_VALUE - 1), ink))
    return tuple(spans)


def _label(row: HeatRow, frame: _Frame, *, on: bool, new_group: bool) -> list[Span]:
    glyphs = frame.glyphs
    badge = glyphs.severity(row.badge) if row.badge else " "
    ink = {"info": Ink.INFO, "warn": Ink.WARN, "error": Ink.ERROR}.get(row.badge, Ink.MUTED)
    room = frame.label - 2
    group = row.group if new_group else ""
    tail = row.label
    head = _ending(group, max(0, room - cells.width(tail) - 1), glyphs)
    gap = " " * max(1, room - cells.width(head) - cells.width(tail))
    text = cells.clip_middle(head + gap + tail, room, glyphs)
    pad = " " * (room - cells.width(text))
    return [Span(text + pad, Ink.ACCENT if on else Ink.TEXT), Span(" " + badge, ink), Span(" ")]


def _ending(text: str, room: int, glyphs: Glyphs) -> str:
    """Return the end of a name: its beginning is what all names have in common."""
    while text and cells.width(text) > room:
        text = glyphs.ellipsis + text.lstrip(glyphs.ellipsis)[1:]
        if text == glyphs.ellipsis:
            break
    return text if cells.width(text) <= room else ""


def _cell(value: float | None, scale: Shades, frame: _Frame, *, here: bool) -> Span:
    glyphs = frame.glyphs
    if value is None:
        return Span((glyphs.nothing + " " * frame.cell)[: frame.cell], Ink.MUTED)
    if not isfinite(value):
        return Span((glyphs.error * frame.cell)[: frame.cell], Ink.ERROR)
    shades = glyphs.shades[1:]
    shade = shades[scale.level(value, len(shades))]
    return Span(shade * frame.cell, Ink.ACCENT if here else Ink.TEXT)


def _place(value: float, lo: float, hi: float, *, log: bool) -> float:
    if log:
        value, lo, hi = log10(value), log10(lo), log10(hi)
    return (value - lo) / (hi - lo) if hi > lo else 0.5
