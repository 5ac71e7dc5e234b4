"""Cells: where the values of a tensor may lie, told by its counts; ground for modality.

A stored number stands for all numbers that were rounded to it. Spread evenly over that cell, from
the midpoint to its lower neighbour to the midpoint to its upper one (cells beside a power of two
are lopsided), the values of a coarse type have the shape that they had before rounding; taken as
they are, every grid point is a mode. Spreading evenly instead of at random needs no seed, and no
order of the elements can change a bit.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from forkmon.stats import grids, reduced
from forkmon.stats.codes import Codes
from forkmon.stats.reduced import Reduced

Floats = NDArray[np.float64]

SINGLE_BITS = 23
"""Mantissa bits of a float32."""

COARSE_BITS = 10
"""Values with no more mantissa bits than float16's were rounded to it, or to bfloat16."""

BRAIN_BITS = 7
"""Mantissa bits of bfloat16."""


@dataclass(frozen=True, slots=True, eq=False)
class Cells:
    """Counts of values in ascending intervals, given as offsets from `origin`.

    (k,) arrays; intervals may touch, never overlap, and each holds a value.
    """

    low: Floats
    high: Floats
    count: Floats
    origin: float = 0.0
    grid: str = grids.PREFIX
    """The grid of the values' own type, in whose steps distances are told."""

    @property
    def n(self) -> int:
        """Return the number of values."""
        return int(self.count.sum())

    def steps_between(self, low: float, high: float) -> float:
        """Return how many rounding cells lie between two offsets."""
        ends = np.array([low, high]) + self.origin
        if self.grid != grids.PREFIX:
            first, last = np.searchsorted(_edges(self.grid)[0], ends)
        else:
            first, last = _ordinals(ends)
        return float(last - first)


def of_codes(codes: Codes) -> Cells:
    """Return the rounding cells of an exact grid's values, or the prefix cells themselves."""
    g = grids.grid(codes.grid)
    count = codes.counts[g.order]
    if g.exact:
        low, high = _edges(codes.grid)
        zeros = np.flatnonzero(g.low[g.order] == 0)
        if len(zeros) == 2:  # of either sign, one value
            count[zeros[0]] += count[zeros[1]]
            count[zeros[1]] = 0
    else:
        low, high = g.low[g.order], g.high[g.order]
    used = np.flatnonzero(count)
    return Cells(low[used], high[used], count[used].astype(np.float64), 0.0, codes.grid)


def of_reduced(counts: Reduced) -> Cells:
    """Return the cells of counts around a pivot."""
    keys = np.array(counts.keys, np.int64)
    magnitude = np.abs(keys)
    inner, outer = _reduced_edges(magnitude), _reduced_edges(magnitude + 1)
    low = np.where(keys > 0, inner, -outer)
    high = np.where(keys < 0, -inner, outer)
    return Cells(low, high, np.array(counts.counts, np.float64), counts.pivot)


def of_values(values: Floats) -> Cells:
    """Return the rounding cells of finite values as float32 numbers.

    For values that were not rounded to a coarser type, such as the norms of channels.
    """
    limit = float(np.finfo(np.float32).max)
    single = np.clip(values[np.isfinite(values)], -limit, limit).astype(np.float32)
    found, count = np.unique(single, return_counts=True)
    ends = [np.nextafter(found, np.float32(end)) for end in (-limit, limit)]
    low, high = (0.5 * (found.astype(np.float64) + end) for end in ends)
    return Cells(low, high, count.astype(np.float64))


def on_grid(values: Floats, grid: str) -> Cells:
    """Return the rounding cells of finite values that lie on an exact grid."""
    found, count = np.unique(values[np.isfinite(values)] + 0.0, return_counts=True)
    g = grids.grid(grid)
    at = np.searchsorted(g.low[g.order], found)
    low, high = _edges(grid)
    return Cells(low[at], high[at], count.astype(np.float64), 0.0, grid)


def mantissa_bits(values: NDArray[np.float32]) -> int:
    """Return how many mantissa bits a sample of float32 values uses: 7, up to 10, or 23.

    A checkpoint saved as float32 may hold what was rounded to a coarser type before.
    """
    finite = values[np.isfinite(values)]
    if not len(finite):
        return SINGLE_BITS
    used = int(np.bitwise_or.reduce(finite.view(np.uint32), initial=0)) & 0x7FFFFF
    spare = (used & -used).bit_length() - 1 if used else SINGLE_BITS
    bits = max(SINGLE_BITS - spare, BRAIN_BITS)
    return bits if bits <= COARSE_BITS else SINGLE_BITS


@cache
def _edges(grid: str) -> tuple[Floats, Floats]:
    """Return the lower and upper ends of the rounding cells of a grid's ordered values."""
    g = grids.grid(grid)
    values = g.low[g.order]
    distinct = np.unique(values)
    middle = distinct[:-1] + 0.5 * np.diff(distinct)
    low = np.append(2 * distinct[0] - middle[0], middle)
    high = np.append(middle, 2 * distinct[-1] - middle[-1])
    at = np.searchsorted(distinct, values)
    return low[at], high[at]


def _reduced_edges(keys: NDArray[np.int64]) -> Floats:
    bits = (keys << reduced.SHIFT).astype(np.uint32)
    edges = bits.view(np.float32).astype(np.float64)
    return np.where(keys > reduced.MAX_KEY, 2.0**128, edges)


def _ordinals(values: Floats) -> NDArray[np.int64]:
    """Return the place of each value among all float32 numbers."""
    limit = float(np.finfo(np.float32).max)
    bits = np.clip(values, -limit, limit).astype(np.float32).view(np.uint32).astype(np.int64)
    return np.where(bits >> 31, -(bits & 0x7FFFFFFF), bits)
