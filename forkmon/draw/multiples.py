"""Small multiples: each moment of one tensor over steps in a chart of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

from forkmon.draw import cells
from forkmon.draw.curves import Curve, curves
from forkmon.draw.glyphs import UNICODE, Glyphs
from forkmon.draw.ink import Ink, Line, Span
from forkmon.draw.numbers import share, short
from forkmon.stats.series import Series

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
    "update": "update (est.)",
    "drift": "drift (est.)",
    "cosine": "cosine (est.)",
}
"""What statistics are called on the screen; estimates from sketches are labelled."""

_LEAST_WIDTH = 31
_LEAST_HEIGHT = 7
_GAP = 2


@dataclass(frozen=True, slots=True)
class _Cell:
    """The size of one chart and how its axes run."""

    width: int
    height: int
    log_x: bool
    mark: float | None
    glyphs: Glyphs


def moment_panel(  # noqa: PLR0913 - one keyword for each thing a key of the panel toggles
    series: Series,
    *,
    width: int,
    height: int,
    log_x: bool = False,
    mark: float | None = None,
    selected: str = "std",
    glyphs: Glyphs = UNICODE,
) -> list[Line]:
    """Return `height` lines of `width` cells: charts of the moments, as many as there is room for.

    All six where they fit, else the `selected` one and those that follow it. The number beside a
    title is the value at `mark`, or the last one.
    """
    if width <= 0 or height <= 0:
        return []
    across, down = _grid(width, height)
    names = _chosen(selected, across * down)
    across = min(across, len(names))
    down = -(-len(names) // across)
    wide = (width - _GAP * (across - 1)) // across
    out: list[Line] = []
    for row in range(down):
        tall = height // down + (1 if row < height % down else 0)
        cell = _Cell(wide, tall, log_x, mark, glyphs)
        charts = [_multiple(series, name, cell) for name in names[row * across :][:across]]
        out.extend(cells.fit(_joined(parts), width, glyphs) for parts in zip(*charts, strict=True))
    return out


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


def _grid(width: int, height: int) -> tuple[int, int]:
    rows = max(1, height // _LEAST_HEIGHT)
    for across in (3, 2):
        if width >= across * _LEAST_WIDTH + (across - 1) * _GAP and rows * across >= len(MOMENTS):
            if across == 3 and rows >= 3:
                continue  # two wide columns read better than three
            return across, len(MOMENTS) // across
    return 1, min(rows, len(MOMENTS))


def _chosen(selected: str, room: int) -> tuple[str, ...]:
    if selected not in MOMENTS:
        return (selected, *MOMENTS)[:room]
    if room >= len(MOMENTS):
        return MOMENTS
    at = MOMENTS.index(selected)
    return (MOMENTS[at:] + MOMENTS[:at])[:room]


def _multiple(series: Series, name: str, cell: _Cell) -> list[Line]:
    values = column(series, name)
    title = cells.fit(_title(series, name, values, cell), cell.width, cell.glyphs)
    if cell.height < 2:
        return [title]
    chart = curves(
        [Curve(name, series.steps, values, Ink.ACCENT)],
        width=cell.width,
        height=cell.height - 1,
        log_x=cell.log_x,
        glyphs=cell.glyphs,
        mark=cell.mark,
    )
    return [title, *chart]


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
