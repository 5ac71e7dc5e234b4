"""Outlines laid over bars: the baseline as a stepped line, the previous step as dashes.

A cell that holds the top of a bar is left to the bar, unless the outline is clearly above it:
the current step is what the panel is about. Over a full cell the outline is drawn on the bar's
colour, so that the bar keeps its shape.
"""

from __future__ import annotations

from collections.abc import Sequence

from forkmon.draw.canvas import Canvas
from forkmon.draw.glyphs import Glyphs
from forkmon.draw.ink import Ink

_EIGHTHS = 8
_CLEARLY = 4
"""Eighths of a row by which an outline must exceed a bar to take its top cell."""

Place = tuple[int, int, int]
"""First column, bottom row, number of rows."""


def draw_outline(
    canvas: Canvas, place: Place, heights: Sequence[int], tops: Sequence[int], glyphs: Glyphs
) -> None:
    """Draw a stepped line at `heights` (eighths of a row) over bars at `tops`."""
    x, bottom, rows = place
    line = [_row(height, rows + 1) for height in heights]
    around = zip([-1, *line[:-1]], line, [*line[1:], -1], strict=True)
    for column, (before, row, after) in enumerate(around):
        for at, glyph in _stroke(before, row, after, glyphs.contour):
            if 0 <= at < rows and _yields(at, heights[column], tops[column]):
                ground = _ground(at, tops[column], glyphs)
                canvas.put(x + column, bottom - at, glyph, Ink.BASELINE, ground)


def draw_dashes(
    canvas: Canvas, place: Place, heights: Sequence[int], tops: Sequence[int], glyphs: Glyphs
) -> None:
    """Draw a dash at each of `heights` (eighths of a row) over bars at `tops`."""
    x, bottom, rows = place
    for column, (height, top) in enumerate(zip(heights, tops, strict=True)):
        row = _row(height, rows + 1)
        if 0 <= row < rows and _yields(row, height, top):
            ground = _ground(row, top, glyphs)
            canvas.put(x + column, bottom - row, glyphs.previous, Ink.PREVIOUS, ground)


def _row(height: int, rows: int) -> int:
    """Return the row a height ends in: -1 for none, the row above the last when off the top."""
    return min(rows - 1, (height - 1) // _EIGHTHS) if height > 0 else -1


def _stroke(before: int, row: int, after: int, contour: str) -> list[tuple[int, str]]:
    """Return the rows and glyphs of one column of a stepped line.

    The higher column of a step carries its upright, so that a symmetric line is drawn so.
    """
    across, upright, up, over, down, foot = tuple(contour)
    if row > before and row > after:
        return [(at, upright) for at in range(max(0, min(before, after)), row + 1)]
    if row > before:
        return [(before, up), *_between(before, row, upright), (row, over)]
    if row > after:
        return [(after, foot), *_between(after, row, upright), (row, down)]
    return [(row, across)]


def _between(low: int, high: int, upright: str) -> list[tuple[int, str]]:
    return [(at, upright) for at in range(low + 1, high)]


def _ground(at: int, top: int, glyphs: Glyphs) -> Ink | None:
    """Return the ink of the bar that fills row `at`; bars of letters have no ground."""
    solid = not glyphs.full.isascii()
    return Ink.ACCENT if solid and top >= (at + 1) * _EIGHTHS else None


def _yields(at: int, height: int, top: int) -> bool:
    """Return whether the bar with its top at `top` leaves row `at` to the outline."""
    bar_row = (top - 1) // _EIGHTHS if top > 0 else -1
    return at != bar_row or height - top >= _CLEARLY
