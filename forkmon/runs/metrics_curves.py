"""A logged number over steps, kept small whatever the log's length."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from math import inf, isfinite

Point = tuple[int, float]
"""(step, value)"""

MOST = 512
"""Points kept of a curve: more than a screen has columns."""

STEP_LIMIT = 10**18

_GROUP = 4


class Curve:
    """One number of one log as it comes in: all points of a short log, extremes of a long one.

    Of a long one the lowest and the highest of each stretch stay, so that no spike is lost.
    """

    def __init__(self) -> None:
        self._kept: list[Point] = []
        self._bucket: list[Point] = []
        self._stride = 1

    def add(self, step: int, value: float) -> None:
        """Take a point; one without a finite value or a possible step is left out."""
        if not 0 <= step < STEP_LIMIT or not isfinite(value):
            return
        self._bucket.append((step, value))
        if len(self._bucket) < self._stride:
            return
        self._kept += extremes(self._bucket)
        self._bucket.clear()
        if len(self._kept) > MOST:
            self._kept = thinned(self._kept)
            self._stride = max(_GROUP, 2 * self._stride)

    def purge(self, step: int) -> None:
        """Forget what came from `step` on: the writer goes on from there."""
        self._kept = [point for point in self._kept if point[0] < step]
        self._bucket = [point for point in self._bucket if point[0] < step]

    def points(self) -> list[Point]:
        """Return what is kept in step order; of a step logged twice, the later."""
        last = self._bucket[-1:]
        return sorted(dict([*self._kept, *extremes(self._bucket), *last]).items())


def joined(parts: Iterable[Sequence[Point]]) -> list[Point]:
    """Return the curve of several logs, the oldest first: a later one wins from its first step."""
    whole: list[Point] = []
    for part in parts:
        if part:
            whole[bisect_left(whole, (part[0][0], -inf)) :] = part
    while len(whole) > MOST:
        whole = [*thinned(whole[:-1]), whole[-1]]
    return whole


def thinned(points: Sequence[Point]) -> list[Point]:
    """Return half as many points: the lowest and the highest of each four."""
    return [
        point
        for first in range(0, len(points), _GROUP)
        for point in extremes(points[first : first + _GROUP])
    ]


def extremes(points: Sequence[Point]) -> list[Point]:
    """Return the lowest and the highest of some points, in their order; one where it is both."""
    if len(points) < 2:
        return list(points)
    low = min(range(len(points)), key=lambda i: points[i][1])
    high = max(range(len(points)), key=lambda i: points[i][1])
    return [points[i] for i in sorted({low, high})]
