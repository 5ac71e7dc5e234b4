"""Sparklines: a series in one row of characters."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite

from forkmon.draw.glyphs import UNICODE, Glyphs

_LEAST_SPAN, _MOST_SPAN = 1e-300, 1e300
"""Outside these a span overflows; such a series is drawn flat."""


def sparkline(
    values: Sequence[float | None],
    width: int,
    glyphs: Glyphs = UNICODE,
    *,
    lo: float | None = None,
    hi: float | None = None,
) -> str:
    """Return `width` characters that show a series, oldest first, set to the right.

    Missing and non-finite values are gaps. Where one character stands for several values it shows
    the one farthest from the middle of the range, so that a spike is never averaged away; the
    last character shows the last value. `lo` and `hi` fix the range, else the values do.
    """
    if width <= 0:
        return ""
    known = [v for v in values if v is not None and isfinite(v)]
    if not known:
        return " " * width
    low = min(known) if lo is None else lo
    high = max(known) if hi is None else hi
    shown = values if len(values) <= width else _buckets(values, width, (low + high) / 2)
    steps = glyphs.spark
    top = len(steps) - 1
    span = high - low
    factor = len(steps) / span if _LEAST_SPAN < span < _MOST_SPAN else 0.0
    middle = steps[top // 2]
    out = [
        " "
        if v is None or not isfinite(v)
        else steps[min(top, max(0, int((v - low) * factor)))]
        if factor
        else middle
        for v in shown
    ]
    return "".join(out).rjust(width)


def _buckets(values: Sequence[float | None], width: int, middle: float) -> list[float | None]:
    size = len(values) / width
    out: list[float | None] = []
    for index in range(width - 1):
        part = values[int(index * size) : int((index + 1) * size)]
        known = [v for v in part if v is not None and isfinite(v)]
        if not known:
            out.append(None)
            continue
        low, high = min(known), max(known)
        out.append(high if high - middle >= middle - low else low)
    out.append(values[-1])
    return out
