"""Codes: how often each code of a grid occurs; adding integers, any split gives the same bits."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from forkmon.errors import GridMismatchError
from forkmon.stats import exact, grids, reduced
from forkmon.stats.moments import EMPTY, Moments
from forkmon.stats.reduced import Reduced

Counts = NDArray[np.int64]

SHIFTED_SIZE = 2 * reduced.MAX_KEY + 1
"""Length of a table of counts by reduced key; key k stands at index k + MAX_KEY."""


@dataclass(frozen=True, slots=True, eq=False)
class Codes:
    """Counts of every code of a grid; shape (256,) or (65536,), int64."""

    grid: str
    counts: Counts

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Codes):
            return NotImplemented
        return self.grid == other.grid and bool(np.array_equal(self.counts, other.counts))

    __hash__ = None  # type: ignore[assignment]  # holds an array

    @property
    def exact(self) -> bool:
        """Return whether each code is one value."""
        return grids.grid(self.grid).exact

    def join(self, other: Codes) -> Codes:
        """Return the counts of both; GridMismatchError if their grids differ."""
        if self.grid != other.grid:
            raise GridMismatchError(f"codes on grid {self.grid} joined with {other.grid}")
        return Codes(self.grid, self.counts + other.counts)

    def prefixes(self) -> Counts:
        """Return the counts on the prefix grid (finite codes only): what groups add up."""
        g = grids.grid(self.grid)
        if g.name == grids.PREFIX:
            return np.where(g.finite, self.counts, 0)
        used = np.flatnonzero(self.counts)
        used = used[g.finite[used]]
        out = np.zeros(65_536, np.int64)
        np.add.at(out, _prefix_of(self.grid)[used], self.counts[used])
        return out


def empty(grid: str) -> Codes:
    """Return no counts: the identity of `join` on that grid."""
    return Codes(grid, np.zeros(grids.grid(grid).size, np.int64))


def moments(codes: Codes) -> Moments:
    """Return the moments of the finite values; exact grids only.

    Every product count x value is exact in float64 and their sum rounds once (see `exact`), so the
    mean is correctly rounded and no order of arrival can change a bit.
    """
    g = grids.grid(codes.grid)
    used = np.flatnonzero(codes.counts)
    used = used[g.finite[used]]
    if len(used) == 0:
        return EMPTY
    value, count = g.low[used], codes.counts[used].astype(np.float64)
    n = int(codes.counts[used].sum())
    total, total_abs = exact.sums(np.stack([count * value, count * np.abs(value)]))
    mean = float(total) / n
    d = value - mean
    d2 = count * (d * d)
    mu2, mu3, mu4 = exact.sums(np.stack([d2, d2 * d, d2 * (d * d)])) / n
    return Moments(
        n=n,
        mean=mean,
        mu2=float(mu2),
        mu3=float(mu3),
        mu4=float(mu4),
        lo=float(value.min()),
        hi=float(value.max()),
        mean_abs=float(total_abs) / n,
    )


def zeros(codes: Codes) -> int:
    """Return the number of zeros of either sign; exact grids only."""
    g = grids.grid(codes.grid)
    return int(codes.counts[g.finite & (g.low == 0)].sum())


def nonfinite(codes: Codes) -> tuple[int, int]:
    """Return the numbers of NaN and of infinities; exact grids only."""
    g = grids.grid(codes.grid)
    infinite = int(codes.counts[g.infinite].sum())
    return int(codes.counts[~g.finite].sum()) - infinite, infinite


def distinct(codes: Codes) -> int | None:
    """Return the number of distinct finite values, -0 and +0 being one; None on the prefix grid."""
    g = grids.grid(codes.grid)
    if not g.exact:
        return None
    used = (codes.counts > 0) & g.finite
    both_zeros = int((used & (g.low == 0)).sum()) == 2
    return int(used.sum()) - both_zeros


def quantiles(codes: Codes, levels: tuple[float, ...]) -> tuple[float | None, ...]:
    """Return quantiles of the finite values, one a level; None without values.

    Exact grids: order statistics joined by a line, as `numpy.quantile` does by default. Prefix
    grid: mass spread evenly in each cell, good to one cell (relative 2^-7).
    """
    g = grids.grid(codes.grid)
    used = np.flatnonzero(codes.counts)
    used = used[g.finite[used]]
    used = used[np.argsort(g.low[used], kind="stable")]
    return cell_quantiles(g.low[used], g.high[used], codes.counts[used], levels, exact=g.exact)


def cell_quantiles(
    low: NDArray[np.float64],
    high: NDArray[np.float64],
    count: Counts,
    levels: tuple[float, ...],
    *,
    exact: bool,
) -> tuple[float | None, ...]:
    """Return quantiles from ascending cells [low, high) with positive counts."""
    if len(count) == 0:
        return (None,) * len(levels)
    below = np.cumsum(count) - count
    n = int(count.sum())
    position = np.asarray(levels) * (n - 1)
    if exact:
        rank = np.floor(position).astype(np.int64)
        first = low[np.searchsorted(below, rank, side="right") - 1]
        second = low[np.searchsorted(below, np.minimum(rank + 1, n - 1), side="right") - 1]
        values = first + (second - first) * (position - rank)
    else:
        at = np.searchsorted(below, position, side="right") - 1
        share = np.minimum((position - below[at] + 0.5) / count[at], 1.0)
        values = low[at] + (high[at] - low[at]) * share
    return tuple(float(v) for v in values)


def pivot(median: float | None, quarter: float | None, three_quarters: float | None) -> float:
    """Return the pivot of the reduced form: 0, or the median to 3 digits where |median| > 4 IQR.

    Norm gains sit near 1 and would fall on a handful of cells of a grid that is fine near 0.
    """
    if median is None or quarter is None or three_quarters is None:
        return 0.0
    if abs(median) <= 4 * (three_quarters - quarter) or abs(median) > 1e30:
        return 0.0
    return float(f"{median:.2e}")


def reduce(codes: Codes, at: float) -> Reduced:
    """Return the reduced form around the pivot `at`; on the prefix grid the pivot must be 0."""
    g = grids.grid(codes.grid)
    if at == 0.0:
        return from_prefixes(codes.prefixes())
    if not g.exact:
        raise GridMismatchError("prefix codes cannot be shifted: count the values again")
    used = np.flatnonzero((codes.counts > 0) & g.finite)
    return from_keys(key_of_offsets(g.low[used] - at), codes.counts[used], at)


def from_prefixes(prefixes: Counts) -> Reduced:
    """Return the reduced form, at pivot 0, of counts on the prefix grid (finite codes)."""
    used = np.flatnonzero(prefixes)
    return from_keys(_key_of_prefix()[used], prefixes[used], 0.0)


def from_shifted(counts: Counts, at: float) -> Reduced:
    """Return the reduced form of a table that a kernel counted around a pivot."""
    used = np.flatnonzero(counts)
    return from_keys(used - reduced.MAX_KEY, counts[used], at)


def from_keys(keys: NDArray[np.int64], counts: Counts, at: float) -> Reduced:
    """Return the reduced form of (key, count) pairs in any order, equal keys added up."""
    table = np.zeros(SHIFTED_SIZE, np.int64)
    np.add.at(table, keys + reduced.MAX_KEY, counts)
    used = np.flatnonzero(table)
    return Reduced(at, tuple((used - reduced.MAX_KEY).tolist()), tuple(table[used].tolist()))


def key_of_offsets(offsets: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the reduced key of each finite offset from the pivot; beyond float32 it saturates."""
    limit = float(np.finfo(np.float32).max)
    bits = np.clip(offsets, -limit, limit).astype(np.float32).view(np.uint32)
    magnitude = ((bits & np.uint32(0x7FFFFFFF)) >> np.uint32(reduced.SHIFT)).astype(np.int64)
    return np.where(bits >> np.uint32(31), -magnitude, magnitude)


@cache
def _key_of_prefix() -> NDArray[np.int64]:
    code = np.arange(65_536, dtype=np.int64)
    key = (code & 0x7FFF) >> (reduced.SHIFT - 16)
    return np.where(code >= 0x8000, -key, key)


@cache
def _prefix_of(grid: str) -> NDArray[np.int64]:
    g = grids.grid(grid)
    if grid == "bf16":
        return np.arange(65_536, dtype=np.int64)
    values = np.where(g.finite, g.low, 0.0).astype(np.float32)
    return (values.view(np.uint32) >> np.uint32(16)).astype(np.int64)
