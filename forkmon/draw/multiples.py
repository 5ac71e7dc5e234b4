"""Small multiples: each moment of one tensor over steps in a chart of its own.

Beside them, on the same axis of steps, what the trainer logged.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from math import inf, sqrt

from forkmon.draw import cells
from forkmon.draw.curves import Curve, curves
from forkmon.draw.glyphs import UNICODE, Glyphs
from forkmon.draw.ink import Ink, Line, Span
from forkmon.draw.numbers import share, short
from forkmon.stats.series import Series
from forkmon.text import safe

MOMENTS: tuple[str, ...] = ("mean", "std", "skew", "kurtosis", "l2", "zeros")
"""The statistics of the panel, in reading order."""

TITLES = {
    "mean": "mean",
    "std": "std",
    "skew": "skewness",
    "kurtosis": "excess kurtosis",
    "l2": "L2 norm",
    "zeros": "zeros",
    "min": "minimum",
    "max": "maximum",
    "l1": "L1 norm",
    "nan": "NaN",
    "inf": "infinite",
    "modes": "modes",
    "update": "update (est.)",
    "drift": "drift (est.)",
    "cosine": "cosine (est.)",
}
"""What statistics are called on the screen; estimates from sketches are labelled."""

_LEAST_WIDTH = 31
_LEAST_HEIGHT = 7
_GAP = 2

MOST_LOGGED = 3
"""Curves of the trainer's shown at once: loss, learning rate, gradient norm."""


@dataclass(frozen=True, slots=True)
class Beside:
    """A curve of the trainer's, to be shown beside the moments."""

    label: str
    name: str
    """As the trainer calls it."""
    steps: Sequence[float]
    values: Sequence[float]


@dataclass(frozen=True, slots=True)
class _Cell:
    """The size of one chart and how its axes run."""

    width: int
    height: int
    log_x: bool
    mark: float | None
    span: tuple[float, float] | None
    glyphs: Glyphs


def moment_panel(  # noqa: PLR0913 - one keyword for each thing a key of the panel toggles
    series: Series,
    *,
    width: int,
    height: int,
    log_x: bool = False,
    mark: float | None = None,
    span: tuple[float, float] | None = None,
    selected: str = "std",
    beside: Sequence[Beside] = (),
    lead: bool = False,
    glyphs: Glyphs = UNICODE,
) -> list[Line]:
    """Return `height` lines of `width` cells: charts of the moments, as many as there is room for.

    All six where they fit, else the `selected` one and those that follow it; curves `beside` them
    take up to half of the charts, the first of them the first chart of all if it is to `lead`.
    `span` is the first and the last step shown. The number beside a title is the value at `mark`,
    or the last one.
    """
    if width <= 0 or height <= 0:
        return []
    across, down = _grid(width, height, min(len(beside), MOST_LOGGED))
    shown = _arranged(selected, beside, across * down, lead=lead)
    across = min(across, len(shown))
    down = -(-len(shown) // across)
    if span is None and beside:
        span = _span(series)
    wide = (width - _GAP * (across - 1)) // across
    out: list[Line] = []
    for row in range(down):
        tall = height // down + (1 if row < height % down else 0)
        cell = _Cell(wide, tall, log_x, mark, span, glyphs)
        charts = [_multiple(series, one, cell) for one in shown[row * across :][:across]]
        out.extend(cells.fit(_joined(parts), width, glyphs) for parts in zip(*charts, strict=True))
    return out


def _span(series: Series) -> tuple[float, float] | None:
    """Return the first and the last step of a row; None while there is only one."""
    lo, hi = min(series.steps, default=0), max(series.steps, default=0)
    return (lo, hi) if lo < hi else None


def column(series: Series, name: str) -> tuple[float | None, ...]:
    """Return one statistic over steps; zeros, NaN and infinities as shares of all elements."""
    values = series.values.get(name) or (None,) * len(series.steps)
    counts = series.values.get("n")
    if name not in ("zeros", "nan", "inf") or counts is None:
        return values
    return tuple(
        value / n if value is not None and n else None
        for value, n in zip(values, counts, strict=True)
    )


def _grid(width: int, height: int, beside: int) -> tuple[int, int]:
    rows = max(1, height // _LEAST_HEIGHT)
    for across in (2, 3):
        many = len(MOMENTS) + min(beside, across)
        wide = across * _LEAST_WIDTH + (across - 1) * _GAP
        if beside and width >= wide and rows * across >= many:
            return across, -(-many // across)
    for across in (3, 2):
        if width >= across * _LEAST_WIDTH + (across - 1) * _GAP and rows * across >= len(MOMENTS):
            if across == 3 and rows >= 3:
                continue  # two wide columns read better than three
            return across, len(MOMENTS) // across
    return 1, min(rows, len(MOMENTS) + beside)


def _arranged(
    selected: str, beside: Sequence[Beside], room: int, *, lead: bool
) -> list[str | Beside]:
    """Return what stands in the charts, in reading order."""
    many = min(len(beside), MOST_LOGGED, room // 2 if room > 1 or not lead else 1)
    extra = list(beside[: max(many, room - len(MOMENTS))][:MOST_LOGGED])
    moments = list(_chosen(selected, room - len(extra)))
    if lead and extra:
        return [extra[0], *moments, *extra[1:]]
    if len(moments) == len(extra) and len(extra) > 1:  # two columns, or one above the other
        return [one for pair in zip(moments, extra, strict=True) for one in pair]
    return [*moments, *extra]


def _chosen(selected: str, room: int) -> tuple[str, ...]:
    if selected not in MOMENTS:
        return (selected, *MOMENTS)[:room]
    if room >= len(MOMENTS):
        return MOMENTS
    at = MOMENTS.index(selected)
    return (MOMENTS[at:] + MOMENTS[:at])[:room]


def _multiple(series: Series, one: str | Beside, cell: _Cell) -> list[Line]:
    if isinstance(one, Beside):
        spans = _beside_title(one, cell)
        curve = Curve(one.name, one.steps, one.values, Ink.PREVIOUS)
    else:
        values = column(series, one)
        spans = _title(series, one, values, cell)
        curve = Curve(one, series.steps, values, Ink.ACCENT)
    title = cells.fit(spans, cell.width, cell.glyphs)
    if cell.height < 2:
        return [title]
    chart = curves(
        [curve],
        width=cell.width,
        height=cell.height - 1,
        log_x=cell.log_x,
        glyphs=cell.glyphs,
        mark=cell.mark,
        span=cell.span,
    )
    return [title, *chart]


def _beside_title(one: Beside, cell: _Cell) -> tuple[Span, ...]:
    upto = inf if cell.mark is None else cell.mark
    passed = bisect_right(one.steps, upto)
    value = short(one.values[passed - 1] if passed else None, 8, cell.glyphs)
    own = f"   {safe(one.name, 60)}" if safe(one.name, 60) != one.label else "   logged"
    return Span(one.label, Ink.TITLE), Span(f"  {value}", Ink.TEXT), Span(own, Ink.MUTED)


def _title(
    series: Series, name: str, values: Sequence[float | None], cell: _Cell
) -> tuple[Span, ...]:
    at = _position(series, cell.mark)
    value = values[at] if values else None
    written = short(value, 8, cell.glyphs)
    if name in ("zeros", "nan", "inf") and value is not None and "n" in series.values:
        written = share(value)
    spans = (Span(TITLES.get(name, name), Ink.TITLE), Span(f"  {written}", Ink.TEXT))
    n = series.values["n"][at] if values and "n" in series.values else None
    if name == "l2" and value is not None and n:
        rms = short(value / sqrt(n), 7, cell.glyphs)
        return (*spans, Span(f"   rms {rms}", Ink.MUTED))
    return spans


def _position(series: Series, mark: float | None) -> int:
    """Return the index of the marked step, or of the last one."""
    if mark is None:
        return len(series.steps) - 1
    steps = series.steps
    return next((at for at in range(len(steps) - 1, -1, -1) if steps[at] == mark), len(steps) - 1)


def _joined(parts: Sequence[Line]) -> tuple[Span, ...]:
    gap = (Span(" " * _GAP),)
    return tuple(
        span for index, part in enumerate(parts) for span in ((*gap, *part) if index else part)
    )
