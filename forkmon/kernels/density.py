"""A distribution function from counts by cell, and the density that it shows."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt
from typing import Final

import numpy as np
from numpy.typing import NDArray

from forkmon.stats.cells import Cells

Floats = NDArray[np.float64]

BINS: Final = 512
OUTSIDE: Final = 0.001
"""Share of the values at either end that may lie outside of the bins."""

MARGIN: Final = 3.0
"""Bandwidths of room beyond the outermost values looked at."""

_KNOTS: Final = 2048
"""Parts of the distribution function that the dip looks at."""


@dataclass(frozen=True, slots=True, eq=False)
class Law:
    """A piecewise linear distribution function, and the cells that it is of."""

    cells: Cells
    x: Floats
    """(2k,) the ends of the cells, one after the other."""
    share: Floats
    """(2k,) of the values up to there; where ends meet it may jump."""
    deviation: float

    def quantiles(self, *levels: float) -> list[float]:
        """Return where the function reaches some levels."""
        return [float(q) for q in np.interp(levels, self.share, self.x)]


@dataclass(frozen=True, slots=True, eq=False)
class Estimate:
    """A density on bins."""

    edges: Floats
    density: Floats
    below: Floats
    """Share of the values below the middle of each bin."""
    bandwidth: float

    def at(self, bin_: int) -> float:
        """Return the middle of a bin."""
        return float(0.5 * (self.edges[bin_] + self.edges[bin_ + 1]))


def law_of(found: Cells) -> Law:
    """Return the distribution function of counts by cell, each spread evenly over its cell."""
    total = float(found.count.sum())
    after = np.cumsum(found.count) / total
    before = np.append(0.0, after[:-1])
    x = np.stack([found.low, found.high], axis=1).ravel()
    share = np.stack([before, after], axis=1).ravel()
    middle, width = 0.5 * (found.low + found.high), found.high - found.low
    weight = found.count / total
    # No dot products: BLAS adds up in an order that depends on its threads.
    mean = float((weight * middle).sum())
    variance = float((weight * ((middle - mean) ** 2 + width * width / 12)).sum())
    return Law(found, x, share, sqrt(variance))


def knots(law: Law) -> tuple[Floats, Floats, Floats]:
    """Return points between which a distribution function is a line, with its limits there.

    Where there are many, those between which it grows by 1 / 2048 at most.
    """
    x, share = law.x, law.share
    if len(x) > 2 * _KNOTS:
        part = np.floor(share * _KNOTS)
        changes = part[1:] != part[:-1]
        kept = np.append(True, changes) | np.append(changes, True)
        x, share = x[kept], share[kept]
    starts = np.flatnonzero(np.append(True, x[1:] > x[:-1]))
    ends = np.append(starts[1:], len(x)) - 1
    return x[starts], share[starts], share[ends]


def estimate_of(law: Law, n: int) -> Estimate:
    """Return the Gaussian kernel estimate over 512 bins.

    Bandwidth 0.9 s n^-1/5 with s the lesser of deviation and IQR / 1.349 (Silverman 1986), at
    least one bin. Where one value holds most elements the IQR is nothing: s is then half of what
    the middle 90 % say.
    """
    low, least, quarter, three_quarters, most, high = law.quantiles(
        OUTSIDE, 0.05, 0.25, 0.75, 0.95, 1 - OUTSIDE
    )
    inner = max((three_quarters - quarter) / 1.349, 0.5 * (most - least) / 3.29)
    narrow = min(law.deviation, inner) if inner > 0 else law.deviation
    bandwidth = max(0.9 * narrow * n**-0.2, (high - low) / (BINS - 2 * MARGIN))
    width = (high - low + 2 * MARGIN * bandwidth) / BINS
    edges = low - MARGIN * bandwidth + width * np.arange(BINS + 1)
    shares = np.asarray(np.interp(edges, law.x, law.share), np.float64)
    reach = min(int(4 * bandwidth / width) + 1, BINS // 2 - 1)
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) * (width / bandwidth)) ** 2)
    density = np.convolve(np.diff(shares), kernel / kernel.sum(), "same") / width
    return Estimate(edges, density, 0.5 * (shares[1:] + shares[:-1]), bandwidth)
