"""Peaks of a density, merged from the least significant on until all that are left are real."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from math import sqrt

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

ROUGHNESS = 0.5 / sqrt(np.pi)
"""Integral of the squared Gaussian kernel: the variance of a density estimate grows with it."""

_FLAT = 1e-9
"""Share of the highest density below which a difference is rounding."""


@dataclass(frozen=True, slots=True)
class Gates:
    """What a valley and its smaller side must reach to count."""

    depth: float
    """Relative to the lower of the two peaks."""
    z: float
    mass: float
    elements: int
    """Of the smaller side, whatever its share."""

    def mass_of(self, n: int) -> float:
        """Return the least share of a mode among n elements."""
        return max(self.mass, self.elements / n)


@dataclass(frozen=True, slots=True)
class Valley:
    """The pass between two neighbouring peaks."""

    at: int
    depth: float
    z: float
    mass: float
    """Of the smaller side, up to the next valleys."""


@dataclass(frozen=True, slots=True)
class Ridge:
    """What is left of a density's peaks: bins of peaks, and of the valleys between them."""

    peaks: tuple[int, ...]
    valleys: tuple[Valley, ...]
    clearest: Valley | None
    """The valley of the largest z, or the last that was given up; None where there was none."""


def ridge(density: Floats, below: Floats, effective: float, n: int, gates: Gates) -> Ridge:
    """Return the peaks whose valleys pass all gates.

    `density` (bins,), `below` (bins,) the share of the values below each bin's middle, `effective`
    the number of values times the bandwidth, in the units of the density.
    """
    found = _Merging(density.tolist(), below.tolist(), effective, *_extremes(density))
    least = gates.mass_of(n)
    last: Valley | None = None
    while found.valleys:
        worst = found.worst(least)
        valley = found.valleys[worst]
        if valley.mass >= least and valley.z >= gates.z:
            worst = found.shallowest()
            valley = found.valleys[worst]
            if valley.depth >= gates.depth:
                break
        last = valley
        found.merge(worst)
    clearest = max(found.valleys, key=lambda v: v.z) if found.valleys else last
    return Ridge(tuple(found.peaks), tuple(found.valleys), clearest)


class _Merging:
    """Peaks on their way to being fewer."""

    def __init__(
        self,
        density: list[float],
        below: list[float],
        effective: float,
        peaks: list[int],
        lows: list[int],
    ) -> None:
        self.peaks = peaks
        self._density = density
        self._effective = effective
        self._shares = [0.0, *(below[low] for low in lows), 1.0]
        """Of the values below each valley, with both ends."""
        self._lows = lows
        self.valleys = [self._valley(i) for i in range(len(lows))]

    def worst(self, least: float) -> int:
        """Return the valley to give up first: too small a side before too low a z."""
        return min(
            range(len(self.valleys)),
            key=lambda i: (self.valleys[i].mass >= least, self.valleys[i].z),
        )

    def shallowest(self) -> int:
        """Return the valley of the least depth."""
        return min(range(len(self.valleys)), key=lambda i: self.valleys[i].depth)

    def merge(self, i: int) -> None:
        """Take a valley away, and the lower of the peaks beside it."""
        left, right = self.peaks[i], self.peaks[i + 1]
        del self.peaks[i if self._density[left] < self._density[right] else i + 1]
        del self._lows[i], self._shares[i + 1], self.valleys[i]
        for beside in (i - 1, i):
            if 0 <= beside < len(self.valleys):
                self.valleys[beside] = self._valley(beside)

    def _valley(self, i: int) -> Valley:
        density, shares, at = self._density, self._shares, self._lows[i]
        top = min(density[self.peaks[i]], density[self.peaks[i + 1]])
        bottom = density[at]
        z = (top - bottom) / sqrt(ROUGHNESS * (top + bottom) / self._effective)
        mass = min(shares[i + 1] - shares[i], shares[i + 2] - shares[i + 1])
        return Valley(at, (top - bottom) / top, z, mass)


def _extremes(density: Floats) -> tuple[list[int], list[int]]:
    """Return the bins of all peaks, and of the lowest point (the middle of it) between each two."""
    heights = np.where(density > _FLAT * density.max(), density, 0.0)
    starts = np.flatnonzero(np.append(True, np.diff(heights) != 0))
    ends = np.append(starts[1:], len(heights)) - 1
    level = np.concatenate([[-1.0], heights[starts], [-1.0]])
    inner = level[1:-1]
    tops = np.flatnonzero((inner > level[:-2]) & (inner > level[2:]))
    middles = (starts + ends) // 2
    lows = [
        int(middles[left + int(np.argmin(inner[left:right]))]) for left, right in pairwise(tops)
    ]
    return [int(m) for m in middles[tops]], lows
