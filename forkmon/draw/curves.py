"""Line charts over steps, with axes: one or several curves in one chart."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from math import ceil, floor, isfinite, log10

from forkmon.draw import cells, plotting
from forkmon.draw.glyphs import UNICODE, Glyphs
from forkmon.draw.ink import Ink, Line, Span
from forkmon.draw.plotting import GUTTER, Stroke, Ticks
from forkmon.draw.scale import Linear, Steps, nice_ticks, step_labels, tick_labels
from forkmon.draw.sparkline import sparkline

LEAST_WIDTH = GUTTER + 8
LEAST_HEIGHT = 4
"""Below either a chart is one sparkline."""

_HUGE = 1e300
_DOTS = 2
"""Dots a braille cell has across: more points than that in one column are thinned."""


@dataclass(frozen=True, slots=True)
class Curve:
    """A named series: parallel steps and values; missing and non-finite values are gaps."""

    name: str
    xs: Sequence[float]
    ys: Sequence[float | None]
    ink: Ink = Ink.TEXT


@dataclass(frozen=True, slots=True)
class _LogValues:
    """Positive values by their logarithm."""

    lo: float
    hi: float

    def place(self, value: float) -> float:
        low, high = log10(self.lo), log10(self.hi)
        return (log10(value) - low) / (high - low)

    def ticks(self, about: int) -> list[float]:
        first, last = ceil(log10(self.lo) - 1e-9), floor(log10(self.hi) + 1e-9)
        if last - first < 1:
            return [tick for tick in nice_ticks(self.lo, self.hi, about) if tick > 0]
        every = max(1, -(-(last - first + 1) // max(1, about)))
        return [10.0**power for power in range(first, last + 1, every)]


def curves(  # noqa: PLR0913 - one keyword for each thing a key of the panel toggles
    series: Sequence[Curve],
    *,
    width: int,
    height: int,
    log_x: bool = False,
    log_y: bool = False,
    glyphs: Glyphs = UNICODE,
    x_label: str = "step",
    mark: float | None = None,
    span: tuple[float, float] | None = None,
) -> list[Line]:
    """Return `height` lines of `width` cells: curves over steps, with axes.

    `span` is the first and the last step of the axis, those of the curves without it; points
    outside are left out, so that charts above each other can share an axis. `log_x` spaces steps
    as log(step + 1). Values at or below 0 leave a logarithmic y axis, and a line above the chart
    counts them. `mark` is the step that a vertical line marks.
    """
    if width <= 0 or height <= 0:
        return []
    kept = [_finite(_within(curve, span), log_y=log_y) for curve in series]
    points = sum(value is not None for curve in kept for value in curve.ys)
    if points < 2:
        return _too_few(points, width, height, glyphs)
    if width < LEAST_WIDTH or height < LEAST_HEIGHT:
        return _small(kept, width, height, glyphs)
    head = _header(series, _dropped(series) if log_y else 0, width, glyphs)
    below = height - len(head)
    if below < LEAST_HEIGHT:
        head, below = [], height
    across = _Across(_step_scale(kept, span, log=log_x), x_label, mark)
    return head + _chart(kept, (width, below), across, glyphs, log_y=log_y)


@dataclass(frozen=True, slots=True)
class _Across:
    """The axis of steps, its name, and the step that is marked on it."""

    steps: Steps
    label: str
    mark: float | None


def _chart(
    series: Sequence[Curve], size: tuple[int, int], across: _Across, glyphs: Glyphs, *, log_y: bool
) -> list[Line]:
    width, height = size
    columns, rows = width - GUTTER, height - 2
    steps, mark = across.steps, across.mark
    values = _value_scale(series, log=log_y)
    strokes = list(_strokes(series, steps, values, columns, glyphs))
    y_values = _value_ticks(series, values, max(2, min(rows // 2, 6)))
    y_ticks = Ticks(tuple(map(values.place, y_values)), tuple(tick_labels(y_values, glyphs)))
    at = None if mark is None or not steps.lo <= mark <= steps.hi else steps.place(mark)
    x_ticks = _step_ticks(steps, columns, glyphs)
    lines = plotting.plot(strokes, size, x_ticks, y_ticks, at, glyphs)
    return [*lines[:-1], _foot(x_ticks, columns, across.label, glyphs)]


def _within(curve: Curve, span: tuple[float, float] | None) -> Curve:
    if span is None:
        return curve
    pairs = zip(curve.xs, curve.ys, strict=True)
    inside = [(x, y) for x, y in pairs if span[0] <= x <= span[1]]
    return replace(curve, xs=[x for x, _ in inside], ys=[y for _, y in inside])


def _finite(curve: Curve, *, log_y: bool) -> Curve:
    ys = [
        max(-_HUGE, min(_HUGE, y))
        if y is not None and isfinite(y) and isfinite(x) and (y > 0 or not log_y)
        else None
        for x, y in zip(curve.xs, curve.ys, strict=True)
    ]
    return replace(curve, ys=ys)


def _dropped(series: Iterable[Curve]) -> int:
    return sum(y is not None and isfinite(y) and y <= 0 for curve in series for y in curve.ys)


def _step_scale(series: Iterable[Curve], span: tuple[float, float] | None, *, log: bool) -> Steps:
    if span is not None and span[0] < span[1]:
        return Steps(*span, log)
    used = [x for curve in series for x, y in zip(curve.xs, curve.ys, strict=True) if y is not None]
    lo, hi = min(used), max(used)
    return Steps(lo, hi, log) if lo < hi else Steps(lo - 1, hi + 1)


def _value_scale(series: Iterable[Curve], *, log: bool) -> Linear | _LogValues:
    used = [y for curve in series for y in curve.ys if y is not None]
    lo, hi = min(used), max(used)
    if log:
        return _LogValues(lo, hi) if hi > lo * 1.0001 else _LogValues(lo / 2, hi * 2)
    least = max(abs(lo), abs(hi)) * 1e-9
    if hi - lo > least:
        return Linear(lo, hi)
    room = max(abs(lo), abs(hi)) * 0.1 or 1.0  # a constant runs through the middle
    return Linear(lo - room, hi + room)


def _value_ticks(series: Iterable[Curve], values: Linear | _LogValues, about: int) -> list[float]:
    """Return round values, or the one value of a constant."""
    used = {y for curve in series for y in curve.ys if y is not None}
    return list(used) if len(used) == 1 else values.ticks(about)


def _strokes(
    series: Sequence[Curve],
    steps: Steps,
    values: Linear | _LogValues,
    columns: int,
    glyphs: Glyphs,
) -> Iterator[Stroke]:
    markers = glyphs.curve_markers
    for index, curve in enumerate(series):
        marker = markers[index % len(markers)]
        pairs = zip(curve.xs, curve.ys, strict=True)
        for known, run in groupby(pairs, key=lambda pair: pair[1] is not None):
            if not known:
                continue
            points = [(steps.place(x), values.place(y)) for x, y in run if y is not None]
            thinned = _thinned(points, columns * _DOTS)
            yield Stroke(thinned, marker if len(thinned) > 1 else glyphs.point, curve.ink)


def _thinned(points: list[tuple[float, float]], slots: int) -> plotting.Polyline:
    """Return points that draw the same line: first, last, lowest and highest of each slot."""
    if len(points) <= 4 * slots:
        return tuple(points)
    out: list[tuple[float, float]] = []
    for _, group in groupby(points, key=lambda point: int(point[0] * slots)):
        run = list(group)
        chosen = {0, len(run) - 1}
        chosen.add(min(range(len(run)), key=lambda at: run[at][1]))
        chosen.add(max(range(len(run)), key=lambda at: run[at][1]))
        out.extend(run[at] for at in sorted(chosen))
    return tuple(out)


def _step_ticks(steps: Steps, columns: int, glyphs: Glyphs) -> Ticks:
    """Return as many round steps as there is room for labels that do not touch."""
    best = Ticks((), ())
    for about in range(max(2, columns // 4), 0, -1):
        found = [tick for tick in steps.ticks(about) if steps.lo <= tick <= steps.hi]
        best = Ticks(tuple(map(steps.place, found)), tuple(step_labels(found, glyphs)))
        if _apart(best, columns):
            return best
    return Ticks(best.places[-1:], best.labels[-1:])


def _apart(ticks: Ticks, columns: int) -> bool:
    """Return whether labels below their ticks leave a gap between each other."""
    end = -1
    for start, label in zip(_starts(ticks, columns), ticks.labels, strict=True):
        if start <= end:
            return False
        end = start + len(label)
    return True


def _starts(ticks: Ticks, columns: int) -> list[int]:
    """Return the first column of each label: centred below its tick, moved inside at the ends."""
    return [
        max(0, min(columns - len(label), round(place * (columns - 1)) - (len(label) - 1) // 2))
        for place, label in zip(ticks.places, ticks.labels, strict=True)
    ]


def _foot(ticks: Ticks, columns: int, name: str, glyphs: Glyphs) -> Line:
    """Return the line below the chart: the axis' name in the gutter, labels below their ticks."""
    text = ""
    for start, label in zip(_starts(ticks, columns), ticks.labels, strict=True):
        text = text.ljust(start) + label
    gutter = cells.pad(name, GUTTER - 1, "right", glyphs)
    return (Span(f"{gutter} {text[:columns].ljust(columns)}", Ink.MUTED),)


def _header(series: Sequence[Curve], dropped: int, width: int, glyphs: Glyphs) -> list[Line]:
    spans: list[Span] = []
    if len(series) > 1:
        for index, curve in enumerate(series):
            marker = glyphs.curve_markers[index % len(glyphs.curve_markers)]
            sign = "⠤" if marker == "braille" else marker
            spans.append(Span(f"{sign} {curve.name}   ", curve.ink))
    if dropped:
        values = (
            "1 value at or below 0 is" if dropped == 1 else f"{dropped:,} values at or below 0 are"
        )
        spans.append(Span(f"{values} off the log axis", Ink.WARN))
    return [cells.fit(spans, width, glyphs)] if spans else []


def _too_few(points: int, width: int, height: int, glyphs: Glyphs) -> list[Line]:
    said = "one point so far; a curve needs two" if points else "no values"
    middle = (height - 1) // 2
    line = (Span(cells.pad(said, width, "center", glyphs), Ink.MUTED),)
    return [line if row == middle else cells.blank(width) for row in range(height)]


def _small(series: Sequence[Curve], width: int, height: int, glyphs: Glyphs) -> list[Line]:
    drawn = [(Span(sparkline(curve.ys, width, glyphs), curve.ink),) for curve in series]
    return [*drawn[:height], *[cells.blank(width)] * (height - len(drawn))]
