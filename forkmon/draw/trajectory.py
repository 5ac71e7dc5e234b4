"""A path in the plane: a run's checkpoints as points, its branches as lines between them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import hypot

from forkmon.draw import cells
from forkmon.draw.canvas import Canvas
from forkmon.draw.glyphs import UNICODE, Glyphs
from forkmon.draw.ink import Ink, Line, Span
from forkmon.draw.numbers import short

_LEAST_WIDTH = 24
_LEAST_HEIGHT = 6
_BRAILLE = 0x2800
_DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))
"""The bits of a braille cell's dots by row and column."""
_CELL = 2.0
"""How many times as tall as wide a cell is."""


@dataclass(frozen=True, slots=True)
class Point:
    """One checkpoint."""

    x: float
    y: float
    label: str = ""
    marked: bool = False
    """The one looked at."""
    baseline: bool = False


@dataclass(frozen=True, slots=True)
class Track:
    """Checkpoints in order; `side` tracks are branches that were left or came from elsewhere."""

    points: tuple[Point, ...]
    side: bool = False


def trajectory(
    tracks: Sequence[Track], *, width: int, height: int, glyphs: Glyphs = UNICODE
) -> list[Line]:
    """Return `height` lines of `width` cells: the tracks, equal distances equally long both ways.

    Labels are written where there is room: the marked point and the baseline first, then the
    newest.
    """
    if width <= 0 or height <= 0:
        return []
    points = [point for track in tracks for point in track.points]
    if len(points) < 2 or width < _LEAST_WIDTH or height < _LEAST_HEIGHT:
        said = "a path needs two checkpoints" if len(points) < 2 else "too small: z gives it room"
        line = (Span(cells.pad(said, width, "center", glyphs), Ink.MUTED),)
        middle = (height - 1) // 2
        return [line if row == middle else cells.blank(width) for row in range(height)]
    frame = _frame(points, width, height - 1)
    canvas = Canvas(width, height)
    for track in sorted(tracks, key=lambda track: not track.side):  # the lineage over its branches
        _draw_line(canvas, frame, track, glyphs)
    for track in sorted(tracks, key=lambda track: not track.side):
        for point in track.points:
            glyph = glyphs.idle if track.side else glyphs.point
            canvas.put(*frame.cell(point), glyph, Ink.PREVIOUS if track.side else Ink.TEXT)
    for point in points:
        if point.baseline:
            canvas.put(*frame.cell(point), glyphs.full, Ink.BASELINE)
    for point in points:
        if point.marked:
            canvas.put(*frame.cell(point), glyphs.live, Ink.ACCENT)
    _draw_labels(canvas, frame, points)
    _draw_ruler(canvas, frame, glyphs)
    return canvas.lines()


@dataclass(frozen=True, slots=True)
class _Frame:
    """How places become cells."""

    left: float
    top: float
    scale: float
    """Cells across for a distance of 1."""
    width: int
    height: int

    def dot(self, point: Point) -> tuple[float, float]:
        """Return a point in cells, from the upper left."""
        return (point.x - self.left) * self.scale, (self.top - point.y) * self.scale / _CELL

    def cell(self, point: Point) -> tuple[int, int]:
        """Return the cell of a point."""
        x, y = self.dot(point)
        return min(self.width - 1, max(0, int(x))), min(self.height - 1, max(0, int(y)))


def _frame(points: Iterable[Point], width: int, height: int) -> _Frame:
    xs, ys = [p.x for p in points], [p.y for p in points]
    across, up = max(xs) - min(xs), max(ys) - min(ys)
    room, tall = width - 9, (height - 2) * _CELL
    scale = min(room / across if across else 1e9, tall / up if up else 1e9)
    if scale >= 1e9:
        scale = 1.0
    left = min(xs) - (width - across * scale) / 2 / scale
    top = max(ys) + (height * _CELL - up * scale) / 2 / scale
    return _Frame(left, top, scale, width, height)


def _draw_line(canvas: Canvas, frame: _Frame, track: Track, glyphs: Glyphs) -> None:
    dots: dict[tuple[int, int], int] = {}
    places = [frame.dot(point) for point in track.points]
    for (x0, y0), (x1, y1) in pairwise(places):
        many = max(1, int(hypot((x1 - x0) * 2, (y1 - y0) * 4)))
        every = 2 if track.side else 1
        for index in range(0, many + 1, every):
            x, y = x0 + (x1 - x0) * index / many, y0 + (y1 - y0) * index / many
            cell = int(x), int(y)
            bit = _DOTS[min(3, int((y - cell[1]) * 4))][min(1, int((x - cell[0]) * 2))]
            dots[cell] = dots.get(cell, 0) | bit
    ink = Ink.PREVIOUS if track.side else Ink.MUTED
    for (x, y), bits in dots.items():
        char = "." if glyphs.minus == "-" else chr(_BRAILLE | bits)
        if 0 <= y < frame.height:
            canvas.put(x, y, char, ink)


def _draw_labels(canvas: Canvas, frame: _Frame, points: Sequence[Point]) -> None:
    order = sorted(range(len(points)), key=lambda i: (not points[i].marked, not points[i].baseline))
    first = [i for i in order if points[i].marked or points[i].baseline]
    rest = [i for i in range(len(points) - 1, -1, -1) if i not in first]
    for i in [*first, *rest]:
        point = points[i]
        x, y = frame.cell(point)
        ink = Ink.ACCENT if point.marked else Ink.BASELINE if point.baseline else Ink.MUTED
        many = len(point.label)
        for at, row in (
            (x + 2, y),
            (x - many - 1, y),
            (x - many // 2, y - 1),
            (x - many // 2, y + 1),
        ):
            if point.label and row < frame.height and canvas.free(max(0, at - 1), row, many + 1):
                canvas.put(max(0, at), row, point.label, ink)
                break


def _draw_ruler(canvas: Canvas, frame: _Frame, glyphs: Glyphs) -> None:
    """Draw a length of the last line and say how far it is."""
    cells_long = max(4, frame.width // 6)
    said = f"  {short(cells_long / frame.scale, 7, glyphs)} apart, either way"
    rule = glyphs.corner + glyphs.rule * (cells_long - 2) + glyphs.divider
    canvas.put(1, frame.height, rule, Ink.AXIS)
    canvas.put(1 + cells_long, frame.height, said, Ink.MUTED)
