"""The only door to plotext: unit-square polylines in, lines of spans out.

plotext is one global figure per process, so calls are guarded by a lock and the figure is cleared
on both sides; it raises on inf and on the log of 0, so that it is handed places in 0..1 alone.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from threading import Lock
from typing import Protocol, cast

from forkmon.draw import cells
from forkmon.draw.glyphs import ASCII, Glyphs, to_ascii
from forkmon.draw.ink import Ink, Line, Span

GUTTER = 7
"""Columns left of the plot: six of labels, one of the axis."""

_LOCK = Lock()
_SGR = re.compile(r"\x1b\[([0-9;]*)m")
_INKS = tuple(Ink)
_FIRST_COLOUR = 100
"""plotext's 8-bit colours from here on stand for inks; no terminal sees them."""

Polyline = tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True)
class Stroke:
    """Connected points in the unit square, with how they are drawn."""

    points: Polyline
    marker: str
    ink: Ink


@dataclass(frozen=True, slots=True)
class Ticks:
    """Places in 0..1 and their labels, in parallel."""

    places: tuple[float, ...]
    labels: tuple[str, ...]


class _Plotext(Protocol):
    """The part of plotext 5 used here: it ships no types, and 6 removed most of this."""

    def clear_figure(self) -> None: ...
    def theme(self, theme: str) -> None: ...
    def limit_size(self, width: bool, height: bool) -> None: ...  # noqa: FBT001 - theirs
    def plotsize(self, width: int, height: int) -> None: ...
    def xaxes(self, lower: bool, upper: bool) -> None: ...  # noqa: FBT001 - theirs
    def yaxes(self, left: bool, right: bool) -> None: ...  # noqa: FBT001 - theirs
    def xlim(self, left: float, right: float) -> None: ...
    def ylim(self, lower: float, upper: float) -> None: ...
    def xticks(self, ticks: list[float], labels: list[str]) -> None: ...
    def yticks(self, ticks: list[float], labels: list[str]) -> None: ...
    def vline(self, coordinate: float, color: int) -> None: ...
    def plot(self, xs: list[float], ys: list[float], *, marker: str, color: int) -> None: ...
    def scatter(self, xs: list[float], ys: list[float], *, marker: str, color: int) -> None: ...
    def build(self) -> str: ...


def plot(
    strokes: Sequence[Stroke],
    size: tuple[int, int],
    x_ticks: Ticks,
    y_ticks: Ticks,
    mark: float | None,
    glyphs: Glyphs,
) -> list[Line]:
    """Return `size[1]` lines of `size[0]` cells: the strokes in a plot with a left and low axis."""
    width, height = size
    built = _built(strokes, size, x_ticks, y_ticks, mark)
    rows = built.split("\n")[:height]
    if glyphs is ASCII:
        rows = [to_ascii(row) for row in rows]
    lines = [_line(row, last=index == height - 1) for index, row in enumerate(rows)]
    lines += [()] * (height - len(lines))
    return [cells.fit(line, width, glyphs) for line in lines]


def _built(
    strokes: Sequence[Stroke],
    size: tuple[int, int],
    x_ticks: Ticks,
    y_ticks: Ticks,
    mark: float | None,
) -> str:
    plotext = cast("_Plotext", import_module("plotext"))
    with _LOCK:
        plotext.clear_figure()
        plotext.theme("clear")
        plotext.limit_size(False, False)
        plotext.plotsize(*size)
        plotext.xaxes(True, False)
        plotext.yaxes(True, False)
        plotext.xlim(0, 1)
        plotext.ylim(0, 1)
        # Its own choice of a place for a label is not the same in every process.
        plotext.xticks(list(x_ticks.places), [" "] * len(x_ticks.places))
        plotext.yticks(list(y_ticks.places), [label.rjust(GUTTER - 1) for label in y_ticks.labels])
        if mark is not None:
            plotext.vline(mark, color=_colour(Ink.MUTED))
        for stroke in strokes:
            xs, ys = zip(*stroke.points, strict=True)
            draw = plotext.plot if len(xs) > 1 else plotext.scatter
            draw(list(xs), list(ys), marker=stroke.marker, color=_colour(stroke.ink))
        built = plotext.build()
        plotext.clear_figure()
    return built


def _colour(ink: Ink) -> int:
    return _FIRST_COLOUR + _INKS.index(ink)


def _line(row: str, *, last: bool) -> Line:
    """Return a row of plotext's ANSI text as spans; axes and labels get inks of their own."""
    spans: list[Span] = []
    ink: Ink | None = None
    for index, piece in enumerate(_SGR.split(row)):
        if index % 2:
            ink = _ink(piece)
        elif piece:
            spans.extend(_inked(piece, ink, first=not spans, last=last))
    return tuple(spans)


def _inked(piece: str, ink: Ink | None, *, first: bool, last: bool) -> list[Span]:
    if ink is not None:
        return [Span(piece, ink)]
    if last:
        return [Span(piece, Ink.MUTED)]
    if first and len(piece) >= GUTTER:
        label, axis = piece[: GUTTER - 1], piece[GUTTER - 1 :]
        return [Span(label, Ink.MUTED), Span(axis, Ink.AXIS)]
    return [Span(piece, Ink.AXIS)]


def _ink(code: str) -> Ink | None:
    parts = code.split(";")
    if len(parts) != 3 or parts[:2] != ["38", "5"]:
        return None
    number = int(parts[2]) - _FIRST_COLOUR
    return _INKS[number] if 0 <= number < len(_INKS) else None
